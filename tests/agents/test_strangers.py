"""Ports that the file does not name, as the agent reports them."""

import json
from dataclasses import replace

import pytest

from tests.agents.hosts import Host
from tests.agents.test_plan import wanted
from weft.agents.observed import Domain, Port, Virt
from weft.agents.states import states

MAC = "52:54:00:aa:bb:01"
VNET = Port("vnet7", "br-weft", False, "", {}, 7, "", "db", MAC)


def reported(port: Port) -> dict[str, str]:
    host = Host()
    host.converge(wanted())
    host.ports[port.name] = port
    found = states(wanted(), host.observe(), {})
    return {key: said for key, text in found.items() if key.startswith("stranger/") for said in [json.loads(text)]}


def test_a_port_that_says_its_segment_and_mac_is_reported_with_them() -> None:
    assert reported(VNET) == {"stranger/vnet7": {"state": "wired", "reason": "", "segment": "db", "mac": MAC}}


@pytest.mark.parametrize(
    "port",
    [replace(VNET, profile=""), replace(VNET, bridge="br-theirs"), replace(VNET, ours=True), replace(VNET, name="web1-eth0")],
    ids=["says no segment", "on another bridge", "is ours", "is an endpoint's"],
)
def test_other_ports_are_no_strangers(port: Port) -> None:
    assert reported(port) == {}


def test_a_port_whose_mac_is_not_said_waits_for_it() -> None:
    said = reported(replace(VNET, attached_mac=""))["stranger/vnet7"]
    assert (said["state"], said["mac"]) == ("waiting", "")
    assert "attached-mac" in said["reason"]


UUID = "6e8e1c2a-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("known", "runs", "left"),
    [
        ({UUID: Domain("vm1", True, True)}, True, False),
        ({UUID: Domain("vm1", False, True)}, False, False),
        ({UUID: Domain("vm1", False, True, left=True)}, False, True),
        ({}, False, False),
    ],
    ids=["runs", "comes", "has left", "is not known yet"],
)
def test_of_a_guest_that_moves_each_host_says_whether_it_runs_there(known: dict[str, Domain], runs: bool, left: bool) -> None:
    host = Host()
    host.converge(wanted())
    host.ports["vnet7"] = replace(VNET, vm=UUID)
    said = json.loads(states(wanted(), replace(host.observe(), virt=Virt("", {}, known)), {})["stranger/vnet7"])
    assert (said["runs"], said.get("left", False)) == (runs, left)


def test_nothing_is_planned_for_a_stranger_but_that_the_kernel_leaves_it_alone() -> None:
    host = Host()
    host.converge(wanted())
    host.ports["vnet7"] = VNET
    host.links[""]["vnet7"] = replace(host.links[""]["docker0"], name="vnet7", addresses=())
    assert {type(action.step).__name__ for action in host.converge(wanted())} == {"Deafen"}
