"""Several NICs as one: how a host comes to a bond, changes it while it is in use, and leaves it."""

from dataclasses import replace

import pytest

from tests.agents.hosts import HOST, NIC, Host
from tests.fabrics import EVERY_SEGMENT, fabric
from weft.agents import steps as s
from weft.agents.observed import HERE, Link
from weft.agents.plan import Wanted
from weft.agents.states import states
from weft.topology.rows import host_rows

ALONE = "kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [nic0]}}}"
SECOND = Link("nic1", "", "0e:00:00:00:00:1a", 1500, True, "")


def wanted(uplink: str) -> Wanted:
    text = EVERY_SEGMENT.replace(ALONE, ALONE.replace("nics: [nic0]", uplink))
    return host_rows(fabric(text, lab=True))[HOST]


NONE, BOND = wanted("nics: [nic0]"), wanted("nics: [nic0, nic1], bond: active-backup")
LACP, OTHER = wanted("nics: [nic0, nic1], bond: lacp"), wanted("nics: [nic1], bond: active-backup")
WAYS = {"to a bond": (NONE, BOND), "to lacp": (BOND, LACP), "a NIC out": (BOND, OTHER), "to no bond": (LACP, NONE), "released": (BOND, {})}


def machine(*before: Wanted) -> Host:
    host = Host()
    host.links[HERE]["nic1"] = SECOND
    for each in before:
        host.converge(each)
    return host


def cut_off(after: int, before: Wanted, then: Wanted) -> Host:
    """A host that was as `before` says, and whose agent was killed after so many steps towards `then`."""
    host = machine(before)
    for action in host.plan(then).actions[:after]:
        host.do(action)
    return host


def test_a_bond_is_one_port_with_the_hosts_addresses_behind_it() -> None:
    host = machine(BOND)
    assert [member.name for member in host.ports["b.physnet"].members] == ["nic0", "nic1"]
    assert set(host.links[HERE]["wx-physnet"].addresses) == set(NIC.addresses)
    assert {"nic0", "nic1"} <= host.deaf
    assert host.plan(BOND).actions == []


@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("way", WAYS)
def test_an_agent_killed_at_any_step_of_a_change_converges_to_the_same(way: str, after: int) -> None:
    before, then = WAYS[way]
    whole, cut = machine(before, then), cut_off(after, before, then)
    cut.converge(then)
    assert cut.observe().links == whole.observe().links
    assert {name: (port.bridge, port.bond, port.members) for name, port in cut.ports.items()} == {
        name: (port.bridge, port.bond, port.members) for name, port in whole.ports.items()
    }
    assert cut.plan(then).actions == []


@pytest.mark.parametrize(("before", "then"), [(BOND, LACP), (LACP, BOND), (BOND, OTHER)])
def test_a_bond_in_use_is_changed_in_place(before: Wanted, then: Wanted) -> None:
    changes = [action.step for action in machine(before).converge(then)]
    assert [step for step in changes if isinstance(step, s.SetBond)]
    assert not [step for step in changes if isinstance(step, s.AddBond | s.RemovePort | s.MoveAddresses)]


@pytest.mark.parametrize("way", WAYS)
def test_the_hosts_addresses_are_somewhere_at_every_step(way: str) -> None:
    before, then = WAYS[way]
    host = machine(before)
    for _ in range(10):
        for action in host.plan(then).actions:
            host.do(action)
            assert {address for link in host.links[HERE].values() for address in link.addresses} >= set(NIC.addresses)


def test_a_bond_goes_on_without_a_nic_that_is_not_there_says_so_and_takes_it_when_it_comes() -> None:
    host = machine(BOND)
    del host.links[HERE]["nic0"]
    done = host.converge(BOND)
    assert [action.step for action in done if isinstance(action.step, s.SetBond | s.SetBridge)] == [
        s.SetBond("b.physnet", "active-backup", ("nic1",)),
    ]
    assert "NIC nic0 does not exist: the bond goes on without it" in states(BOND, host.observe(), {})["uplink/physnet"]
    host.links[HERE]["nic0"] = replace(NIC, addresses=(), routes=())
    host.converge(BOND)
    assert [member.name for member in host.ports["b.physnet"].members] == ["nic0", "nic1"]


def test_a_nic_of_a_linux_bridge_or_kernel_bond_is_left_there() -> None:
    host = machine()
    for kind, what in (("bridge", "Linux bridge"), ("bond", "kernel bond")):
        host.links[HERE]["other0"] = replace(SECOND, name="other0", kind=kind)
        host.links[HERE]["nic1"] = replace(SECOND, master="other0")
        state, reason = host.plan(BOND).failures["uplink/physnet"]
        assert (state, f"NIC nic1 is in {what} other0: take it out first" in reason) == ("failed", True)
        assert not [action for action in host.plan(BOND).actions if "nic" in action.object]


def test_a_vlan_device_is_a_nic_once_what_it_is_on_is_up() -> None:
    host, rows = machine(), wanted("nics: [nic1.100]")
    host.links[HERE]["nic1"] = replace(SECOND, up=False, index=5)
    host.links[HERE]["nic1.100"] = replace(NIC, name="nic1.100", kind="vlan", up=False, index=6, over=5)
    why = "NIC nic1.100 is a VLAN of nic1, which is down: ip link set nic1 up"
    assert host.plan(rows).failures["uplink/physnet"] == ("failed", why)
    host.links[HERE]["nic1"] = replace(SECOND, index=5)
    host.converge(rows)
    assert set(host.links[HERE]["wx-physnet"].addresses) == set(NIC.addresses)


def test_an_uplink_that_cannot_change_stays_as_it_is() -> None:
    host = machine(NONE)
    planned = host.plan(wanted("nics: [nic7]"))
    assert planned.failures["uplink/physnet"] == ("failed", "NIC nic7 does not exist")
    assert not [action for action in planned.actions if isinstance(action.step, s.RemovePort | s.MoveAddresses)]


def test_an_address_of_the_file_is_replaced_by_the_next_one() -> None:
    host = machine(wanted("nics: [nic0], address: 198.51.100.7/24"))
    host.converge(wanted("nics: [nic0], address: 198.51.100.8/24"))
    there = host.links[HERE]["wx-physnet"].addresses
    assert "198.51.100.8/24" in there
    assert "198.51.100.7/24" not in there
