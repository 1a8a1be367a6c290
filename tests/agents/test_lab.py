"""How a lab comes up, and what of it can be broken."""

import socket
from pathlib import Path

import pytest

from tests.fabrics import TWO_HOSTS, fabric
from weft.agents.lab import Lab, answers, fail, heal, lay_out
from weft.topology.errors import WeftError

MADE = Lab("shop", "/shop.yaml", {"kvm1": ("ens224", "ens256"), "kvm2": ()}, ())


def test_a_server_answers_once_it_listens_and_not_when_its_socket_is_there(tmp_path: Path) -> None:
    door = tmp_path / "door.sock"
    with socket.socket(socket.AF_UNIX) as server:
        assert not answers(door)
        server.bind(str(door))
        assert not answers(door)
        server.listen()
        assert answers(door)


@pytest.mark.parametrize(("bond", "speaks"), [("lacp", True), ("active-backup", False), ("balance-slb", False)])
def test_the_wires_have_a_switch_of_their_own_only_where_somebody_speaks_lacp(bond: str, speaks: bool) -> None:
    made = lay_out(fabric(TWO_HOSTS.replace("nics: [nic0]}", f"nics: [nic0, nic1], bond: {bond}}}", 1), lab=True), "/test.yaml")
    assert ("wires/ovs-vswitchd" in [process.name for process in made.processes]) == speaks
    assert made.hosts == {"kvm1": ("nic0", "nic1"), "kvm2": ("nic0",)}


@pytest.mark.parametrize("do", [fail, heal])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kvm9", 'lab shop has no host "kvm9": it has kvm1, kvm2'),
        ("kvm9/ens224", 'lab shop has no host "kvm9": it has kvm1, kvm2'),
        ("kvm1/ens9", 'host "kvm1" of lab shop has no NIC "ens9": it has ens224, ens256'),
        ("kvm1/", 'host "kvm1" of lab shop has no NIC "": it has ens224, ens256'),
        ("kvm2/ens224", 'host "kvm2" of lab shop has no NIC "ens224": it has none'),
    ],
)
def test_a_cable_that_is_not_there_is_refused_with_those_that_are(do: object, name: str, said: str) -> None:
    with pytest.raises(WeftError) as refused:
        do(MADE, "link", name)  # type: ignore[operator]
    assert refused.value.lines == (said,)
