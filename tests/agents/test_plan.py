"""From what a host has to what it should have, carried out on a host in memory and cut off at every step."""

import json
from dataclasses import replace

import pytest

from tests.agents.hosts import FOREIGN, HOST, NIC, Host
from tests.fabrics import EVERY_SEGMENT, fabric
from weft.agents import steps as s
from weft.agents.observed import HERE
from weft.agents.plan import Wanted
from weft.agents.states import states
from weft.topology.hostrow import UplinkSpec
from weft.topology.rows import host_rows


def wanted(lab: bool = True) -> Wanted:
    return host_rows(fabric(EVERY_SEGMENT, lab))[HOST]


STEPS = len(Host().converge(wanted()))


def test_a_fresh_host_is_brought_to_what_it_should_have_and_then_left_alone() -> None:
    host = Host()
    host.converge(wanted())
    assert host.plan(wanted()).actions == []
    reported = {key: json.loads(text) for key, text in states(wanted(), host.observe(), {}).items()}
    assert {key: said["reason"] for key, said in reported.items() if said["state"] != "wired"} == {}
    assert reported["uplink/physnet"]["translate"] == "203.0.113.11"


def cut_off(after: int) -> Host:
    """A host whose agent was killed after so many steps."""
    host, left = Host(), after
    while left:
        for action in host.plan(wanted()).actions[:left]:
            host.do(action)
            left -= 1
    return host


@pytest.mark.parametrize("after", range(STEPS))
def test_an_agent_killed_after_any_step_converges_to_the_same(after: int) -> None:
    whole, cut = Host(), cut_off(after)
    whole.converge(wanted())
    cut.converge(wanted())
    assert cut.observe().links == whole.observe().links
    assert cut.observe().based == whole.observe().based
    assert cut.ports.keys() == whole.ports.keys()
    assert cut.plan(wanted()).actions == []


@pytest.mark.parametrize("after", range(STEPS))
def test_what_is_not_wanted_any_more_goes_from_any_point_and_the_nic_has_its_addresses_back(after: int) -> None:
    host, fresh = cut_off(after), Host()
    host.converge({})
    assert host.bridges == fresh.bridges
    assert host.ports == fresh.ports
    assert host.links[HERE].keys() == fresh.links[HERE].keys()
    assert set(host.links[HERE]["nic0"].addresses) == set(NIC.addresses)
    assert set(host.links[HERE]["nic0"].routes) == set(NIC.routes)


def test_the_base_flow_is_there_before_the_nic_is() -> None:
    done = [action.step for action in Host().converge(wanted())]
    base = next(number for number, step in enumerate(done) if isinstance(step, s.BaseFlows))
    nic = next(number for number, step in enumerate(done) if isinstance(step, s.AddPort) and step.name == "nic0")
    assert base < nic


def test_bridges_are_secure_and_know_their_controller_from_the_start() -> None:
    host = Host()
    host.converge(wanted())
    ours = [bridge for bridge in host.bridges.values() if bridge.ours]
    assert {bridge.name for bridge in ours} == {"br-weft", "wx-physnet"}
    assert all(bridge.settings and bridge.controller for bridge in ours)


def test_what_is_not_ours_is_never_touched() -> None:
    host, fresh = Host(), Host()
    done = host.converge(wanted())
    host.converge({})
    assert host.links[HERE]["docker0"] == FOREIGN
    assert host.bridges["br-theirs"] == fresh.bridges["br-theirs"]
    assert not [action for action in done if "theirs" in action.object or "docker0" in action.object]


def test_a_nic_that_is_not_there_fails_alone_and_is_taken_when_it_comes() -> None:
    host = Host()
    del host.links[HERE]["nic0"]
    planned = host.plan(wanted())
    assert planned.failures["uplink/physnet"] == ("failed", "NIC nic0 does not exist")
    host.converge(wanted())
    assert "br-weft" in host.bridges
    host.links[HERE]["nic0"] = NIC
    host.converge(wanted())
    assert host.ports["nic0"].bridge == "wx-physnet"


def test_a_nic_of_another_bridge_is_left_there() -> None:
    host = Host()
    host.ports["nic0"] = replace(host.ports["vnet0"], name="nic0")
    state, reason = host.plan(wanted()).failures["uplink/physnet"]
    assert (state, reason) == ("failed", "NIC nic0 is in bridge br-theirs: take it out first")


def test_a_port_that_somebody_removed_comes_back() -> None:
    host = Host()
    host.converge(wanted())
    host.do(s.Action("remove", "t.kvm2", "", s.RemovePort("br-weft", "t.kvm2")))
    assert {action.object for action in host.converge(wanted())} == {"t.kvm2"}


def test_another_controller_is_put_right() -> None:
    host = Host()
    host.converge(wanted())
    bridge = host.bridges["br-weft"]
    host.do(s.Action("change", "br-weft", "", s.SetBridge("br-weft", bridge.dpid, "tcp:192.0.2.1:6653", None)))
    assert [type(action.step) for action in host.converge(wanted())] == [s.SetBridge]


def test_one_more_guest_takes_only_its_own_steps() -> None:
    host = Host()
    host.converge(wanted())
    more = host_rows(fabric(EVERY_SEGMENT + "  db3: {host: kvm1, nics: [{segment: db, ip: 10.0.9.7}]}\n", lab=True))[HOST]
    done = host.converge(more)
    assert {type(action.step) for action in done} == {s.MakeVeth, s.Deafen, s.SetInside, s.AddPort}
    assert {action.object for action in done} <= {"db3-eth0", "eth0"}


def test_on_the_kernel_datapath_no_device_is_deaf() -> None:
    host = Host()
    host.datapath = "system"
    assert not [action for action in host.converge(wanted()) if isinstance(action.step, s.Deafen)]


def test_a_tap_is_made_for_a_guest_on_a_real_host() -> None:
    made = [action.step.name for action in Host().converge(wanted(lab=False)) if isinstance(action.step, s.MakeTap)]
    assert "web1-eth0" in made
    assert any(isinstance(spec, UplinkSpec) for spec in wanted(lab=False).values())
