"""What a plan says of uplinks that were put back."""

import json

from weft.cli.changes import tried_again
from weft.topology.hostrow import UplinkSpec, to_json

PUT_BACK = "put back: the store tcp:198.18.0.1:6641 did not answer within 30 s"
KEY = "uplink/physnet"


def uplink(nic: str = "nic0", exit: str | None = None) -> str:
    return to_json(UplinkSpec("physnet", "wx-physnet", 1, "br-weft", (nic,), "none", nic, "keep", None, 1500, "p.physnet", "q.physnet", exit))


def again(before: dict[str, str], after: dict[str, str], reason: str = PUT_BACK) -> list[dict[str, str]]:
    said = {"kvm1": {KEY: json.dumps({"state": "failed", "reason": reason}), "bridge/br-weft": json.dumps({"state": "wired"})}}
    return tried_again(said, {"kvm1": {"wanted": before}}, {"kvm1": after}).get("kvm1", [])


def test_what_was_put_back_is_tried_again_by_the_same_file_and_its_reason_is_said() -> None:
    assert again({KEY: uplink()}, {KEY: uplink()}) == [{"action": "retry", "object": KEY, "detail": PUT_BACK}]


def test_what_failed_for_another_reason_is_tried_all_the_time() -> None:
    assert again({KEY: uplink()}, {KEY: uplink()}, "NIC nic0 does not exist") == []


def test_another_way_to_be_reached_is_no_second_try_and_another_exit_of_guests_is() -> None:
    assert again({KEY: uplink()}, {KEY: uplink("nic1")}) == []
    assert again({KEY: uplink()}, {}) == []
    assert len(again({KEY: uplink()}, {KEY: uplink(exit="x.physnet")})) == 1


def test_a_release_that_was_put_back_is_tried_again_too() -> None:
    assert len(again({}, {})) == 1
