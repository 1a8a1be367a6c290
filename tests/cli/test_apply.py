"""What `weft apply` says of those who are not done, and what it refuses for a lab that runs."""

import time
from typing import Any

import pytest

from tests.fabrics import TWO_HOSTS, fabric
from weft.cli.apply import RARELY, behind, failed, until
from weft.cli.changes import fits
from weft.topology.errors import WeftError
from weft.topology.store import Progress

FABRIC = fabric(TWO_HOSTS)
SERIAL = 3


def host(seen: float = 0, applied: int = SERIAL) -> dict[str, Any]:
    return {"wanted_serial": SERIAL, "applied_serial": applied, "seen": time.time() - seen}


def progress(**hosts: dict[str, Any]) -> Progress:
    """Hosts as given, `kvm1` done where nothing else is said, and every switch in sync."""
    rows = [(one.dpid, *(uplink.dpid for uplink in one.uplinks.values())) for one in FABRIC.hosts.values()]
    synced = {"connected": True, "synced_serial": SERIAL, "drift": ""}
    return Progress({"kvm1": host(), "kvm2": host()} | hosts, {f"{dpid:016x}": synced for dpids in rows for dpid in dpids})


def test_nobody_is_waited_for_when_all_are_done() -> None:
    assert behind(progress(), FABRIC, SERIAL) == []


def test_an_agent_at_work_and_one_that_is_gone_are_told_apart() -> None:
    ((_, busy),) = behind(progress(kvm2=host(seen=2, applied=1)), FABRIC, SERIAL)
    ((_, gone),) = behind(progress(kvm2=host(seen=90, applied=1)), FABRIC, SERIAL)
    assert busy.startswith("host kvm2: its agent is not done") and "does it run?" not in busy
    assert gone.startswith("host kvm2: ") and gone.endswith("90 s ago: does it run?")


def test_a_host_that_left_the_file_is_waited_for_while_its_agent_lives() -> None:
    assert behind(progress(old=host(applied=1)), FABRIC, SERIAL) != []
    assert behind(progress(old=host(seen=90, applied=1)), FABRIC, SERIAL) == []


def test_what_a_host_failed_to_do_is_said_with_its_reason_once() -> None:
    nic, port = '{"state": "failed", "reason": "there is no NIC nic0"}', '{"state": "waiting", "reason": "there is no port"}'
    reported = {"kvm1": {"uplink/physnet": nic, "service/office": nic, "bridge/br-weft": '{"state": "wired"}', "endpoint/web.eth0": port}}
    assert failed(reported, FABRIC) == [("kvm1", "host kvm1: uplink/physnet, service/office: there is no NIC nic0")]


class Store:
    """Hosts that are done, and one of which says that something failed, a while after they were asked."""

    def __init__(self, seconds: float) -> None:
        self._done = time.monotonic() + seconds

    async def select(self, _: str, table: str, columns: tuple[str, ...], where: object = ()) -> list[dict[str, Any]]:
        done = time.monotonic() > self._done
        known = progress(kvm2=host(applied=SERIAL if done else 1))
        if table == "Switch":
            return [{"dpid": dpid, **row} for dpid, row in known.switches.items()]
        said = {"network/db": '{"state": "failed", "reason": "libvirt does not answer"}'} if done else {}
        return [{"name": name, "state": said if name == "kvm2" else {}, **row} for name, row in known.hosts.items()]


async def test_what_fails_in_the_same_moment_that_the_last_host_is_done_is_said() -> None:
    with pytest.raises(WeftError, match="not applied: host kvm2: network/db: libvirt does not answer"):
        await until(Store(2 * RARELY), FABRIC, SERIAL, 10)  # type: ignore[arg-type]


def test_a_lab_gets_no_host_and_no_nic_by_apply() -> None:
    fits(FABRIC, {"kvm1": ["nic0"], "kvm2": ["nic0"]}, "test.yaml")
    with pytest.raises(WeftError) as refused:
        fits(FABRIC, {"kvm1": ["nic1"]}, "test.yaml")
    assert [line.partition(": ")[2] for line in refused.value.lines] == [
        'host "kvm1" has no NIC nic0 in the lab that runs: weft lab down test, then weft lab up test.yaml',
        'host "kvm2" is not in the lab that runs: weft lab down test, then weft lab up test.yaml',
    ]
