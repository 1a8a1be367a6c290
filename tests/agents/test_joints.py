"""A Linux bridge of the host's as an uplink's neighbour: one more port in it, and nothing else of it changes."""

from dataclasses import replace

import pytest

from tests.agents.hosts import HOST, NIC, Host
from tests.fabrics import fabric
from weft.agents import steps as s
from weft.agents.observed import HERE, Bridge, Link
from weft.agents.plan import Wanted
from weft.agents.states import states
from weft.topology.rows import host_rows

FILE = """
fabric: test
segments: {lan: {mode: bridged, uplink: physnet, vlan: 5}}
hosts: {kvm1: {uplinks: {physnet: {bridge: br0}}}}
guests: {web1: {host: kvm1, nics: [{segment: lan, attach: netns}]}}
"""
BR0 = Link("br0", "bridge", NIC.mac, 1500, True, "", NIC.addresses, NIC.routes)
JOINED = host_rows(fabric(FILE))[HOST]
KEPT = host_rows(fabric(FILE.replace("bridge: br0", "nics: [nic0]")))[HOST]


def machine(*before: Wanted) -> Host:
    """Its NIC is in br0, which has its addresses."""
    host = Host()
    host.links[HERE] |= {"br0": BR0, "nic0": replace(NIC, addresses=(), routes=(), master="br0")}
    for wanted in before:
        host.converge(wanted)
    return host


def test_a_cable_leads_from_the_uplinks_bridge_into_the_linux_bridge_which_stays_as_it_was() -> None:
    host = machine(JOINED)
    assert host.ports["j.physnet"].bridge == "wx-physnet"
    assert host.links[HERE]["n.physnet"].master == "br0"
    assert host.links[HERE]["br0"] == BR0
    assert "j.physnet" in host.deaf
    assert "n.physnet" not in host.deaf
    assert host.plan(JOINED).actions == []


def test_it_changes_nothing_of_how_the_host_is_reached() -> None:
    assert machine().plan(JOINED).changes == ()
    assert machine(JOINED).plan({}).changes == ()


@pytest.mark.parametrize("after", range(12))
def test_an_agent_killed_at_any_step_converges_to_the_same(after: int) -> None:
    whole, cut = machine(JOINED), machine()
    for action in cut.plan(JOINED).actions[:after]:
        cut.do(action)
    cut.converge(JOINED)
    assert cut.observe().links == whole.observe().links
    assert cut.bridges == whole.bridges


def test_what_is_released_leaves_the_linux_bridge_behind_as_it_was() -> None:
    host = machine()
    before = dict(host.links[HERE])
    host.converge(JOINED)
    host.converge({})
    assert host.links[HERE] == before
    assert "wx-physnet" not in host.bridges


def test_a_port_that_somebody_took_out_of_the_linux_bridge_comes_back() -> None:
    host = machine(JOINED)
    host.links[HERE]["n.physnet"] = replace(host.links[HERE]["n.physnet"], master="")
    assert [action.step for action in host.converge(JOINED)] == [s.Enslave("n.physnet", "br0")]


def test_a_cable_that_somebody_removed_comes_back() -> None:
    host = machine(JOINED)
    del host.links[HERE]["n.physnet"], host.links[HERE]["j.physnet"]
    done = [type(action.step) for action in host.converge(JOINED)]
    assert [step for step in done if step is not s.Deafen] == [s.MakeJoint, s.RemovePort, s.AddPort]
    assert host.links[HERE]["n.physnet"].master == "br0"


def test_a_linux_bridge_that_grows_is_not_held_small() -> None:
    host = machine(JOINED)
    host.links[HERE]["br0"] = replace(BR0, mtu=9000)
    assert [action.step for action in host.converge(JOINED)] == [s.SetUp("n.physnet", 9000)]


NOT_SO = {
    "there is no Linux bridge br0: ip link add br0 type bridge": None,
    "br0 is no Linux bridge: name it under nics": replace(BR0, kind="bond"),
    "Linux bridge br0 has mtu 1400 and the uplink 1500: mtu: 1400 for it": replace(BR0, mtu=1400),
}


@pytest.mark.parametrize("reason", NOT_SO)
def test_what_is_no_neighbour_is_said_and_the_rest_is_carried_out(reason: str) -> None:
    host = machine()
    link = NOT_SO[reason]
    host.links[HERE].pop("br0")
    host.links[HERE] |= {} if link is None else {"br0": link}
    failures = host.plan(JOINED).failures
    assert failures == {"uplink/physnet": ("failed", reason)}
    host.converge(JOINED)
    assert "br-weft" in host.bridges
    said = dict(states(JOINED, host.observe(), failures))
    assert reason in said["uplink/physnet"]


def test_a_bridge_of_open_vswitch_is_no_linux_bridge() -> None:
    host = machine()
    host.bridges["br0"] = Bridge("br0", False, 7, None, None, False)
    assert host.plan(JOINED).failures["uplink/physnet"][1] == "br0 is a bridge of Open vSwitch: name its NIC, or a Linux bridge"


def test_a_linux_bridge_that_is_gone_for_a_moment_keeps_its_neighbour_waiting() -> None:
    host = machine(JOINED)
    gone = host.links[HERE].pop("br0")
    host.links[HERE]["n.physnet"] = replace(host.links[HERE]["n.physnet"], master="")
    host.converge(JOINED)
    assert "wx-physnet" in host.bridges
    host.links[HERE]["br0"] = gone
    host.converge(JOINED)
    assert host.links[HERE]["n.physnet"].master == "br0"


def test_the_nic_itself_may_be_taken_instead_once_it_left_the_linux_bridge() -> None:
    host = machine(JOINED)
    assert "is in Linux bridge br0: take it out first" in host.plan(KEPT).failures["uplink/physnet"][1]
    host.links[HERE]["nic0"] = NIC
    host.links[HERE]["br0"] = replace(BR0, addresses=(), routes=())
    host.converge(KEPT)
    assert host.links[HERE]["wx-physnet"].addresses == NIC.addresses
    assert not {"j.physnet", "n.physnet"} & host.links[HERE].keys()
