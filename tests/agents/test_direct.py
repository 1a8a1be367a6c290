"""Macvtaps and virtual functions on a host in memory: made, set, kept, and never taken from who uses them."""

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.agents.hosts import HOST, Host, with_cards
from tests.fabrics import TWO_HOSTS, fabric
from weft.agents import steps as s
from weft.agents.observed import HERE, Function
from weft.agents.plan import Wanted
from weft.agents.states import states
from weft.topology.rows import host_rows

CARDS = TWO_HOSTS.replace(
    "uplinks: {physnet: {nics: [nic0]}}}\n  kvm2",
    "uplinks: {physnet: {nics: [nic0]}}, sriov: {nic1: {vfs: 4, uplink: physnet}}, macvtap: {nic2: {uplink: physnet}}}\n  kvm2",
)
SEGMENTS = "segments:\n  lan: {mode: bridged, uplink: physnet, vlan: 5}\n  flat: {mode: bridged, uplink: physnet}\nguests:\n"
FAST = "  fast: {host: kvm1, nics: [{segment: lan, attach: {vf: nic1}}]}\n"
TAPS = (
    "  one: {host: kvm1, nics: [{segment: lan, attach: {macvtap: nic2}}]}\n"
    "  two: {host: kvm1, nics: [{segment: lan, attach: {macvtap: nic2, mode: private}}]}\n"
    "  bare: {host: kvm1, nics: [{segment: flat, attach: {macvtap: nic2, mode: vepa}}]}\n"
)


def wanted(guests: str = FAST + TAPS, qos: str = "") -> Wanted:
    return host_rows(fabric(CARDS + SEGMENTS + guests + qos))[HOST]


@pytest.fixture
def host() -> Host:
    return with_cards()


def reasons(host: Host, rows: Wanted, kinds: Iterable[str] = ("card", "vf", "macvtap")) -> dict[str, tuple[str, str]]:
    said = states(rows, host.observe(), host.plan(rows).failures)
    found = {key: json.loads(text) for key, text in said.items() if key.partition("/")[0] in kinds}
    return {key: (each["state"], each["reason"]) for key, each in found.items()}


def function(host: Host, number: int, **changed: object) -> Function:
    host.functions["nic1"][number] = replace(host.functions["nic1"][number], **changed)  # type: ignore[arg-type]
    return host.functions["nic1"][number]


def test_cards_functions_and_macvtaps_are_made_and_then_left_alone(host: Host) -> None:
    rows = wanted()
    host.converge(rows)
    assert host.plan(rows).actions == []
    assert {state for state, _ in reasons(host, rows).values()} == {"wired"}
    assert len(host.functions["nic1"]) == 4
    assert host.links[HERE]["nic1"].up
    assert {name: host.links[HERE][name].mode for name in ("one-eth0", "two-eth0", "bare-eth0")} == {
        "one-eth0": "bridge", "two-eth0": "private", "bare-eth0": "vepa",
    }  # fmt: skip


def test_one_vlan_of_a_nic_is_made_once_below_all_that_is_on_it(host: Host) -> None:
    done = host.converge(wanted())
    assert [action.object for action in done if isinstance(action.step, s.MakeVlan)] == ["nic2.5"]
    vlan = host.links[HERE]["nic2.5"].index
    assert [host.links[HERE][name].over for name in ("one-eth0", "two-eth0", "bare-eth0")] == [vlan, vlan, 2]


def test_a_function_is_held_to_mac_vlan_and_rate(host: Host) -> None:
    rows = wanted(qos="qos: [{endpoint: fast.eth0, direction: out, rate: 50mbit}]\n")
    host.converge(rows)
    (own,) = [function for function in host.functions["nic1"] if function.mac == rows["vf/fast.eth0"].mac]  # type: ignore[union-attr]
    assert (own.vlan, own.rate, own.spoofchk, own.trust) == (5, 50, True, False)


def test_who_may_send_from_any_address_is_trusted(host: Host) -> None:
    host.converge(wanted(FAST.replace("attach", "spoof: true, attach")))
    assert [function.number for function in host.functions["nic1"] if function.trust and not function.spoofchk]


@pytest.mark.parametrize("after", range(14))
def test_an_agent_killed_after_any_step_goes_on(after: int, host: Host) -> None:
    rows = wanted(FAST + TAPS)
    left = after
    while left and (actions := host.plan(rows).actions[:left]):
        for action in actions:
            host.do(action)
            left -= 1
    host.converge(rows)
    assert {state for state, _ in reasons(host, rows).values()} == {"wired"}


def test_what_is_not_wanted_any_more_goes_and_the_function_is_nobodys(host: Host) -> None:
    host.converge(wanted())
    host.converge(wanted(""))
    assert not {"one-eth0", "nic2.5"} & host.links[HERE].keys()
    assert {(function.vlan, function.rate) for function in host.functions["nic1"]} == {(0, 0)}


def test_another_mode_makes_the_macvtap_anew(host: Host) -> None:
    host.converge(wanted())
    done = host.converge(wanted(FAST + TAPS.replace("mode: vepa", "mode: bridge")))
    assert [action.object for action in done] == ["bare-eth0"]


def test_more_functions_than_the_card_has_fail_in_one_line_and_the_rest_is_done(host: Host) -> None:
    host.totals["nic1"] = 3
    rows = wanted()
    host.converge(rows)
    why = "NIC nic1 has 3 virtual functions at most, and 4 are asked for"
    assert reasons(host, rows, ("card", "vf")) == {"card/nic1": ("failed", why), "vf/fast.eth0": ("failed", why)}
    assert "one-eth0" in host.links[HERE]


def test_a_nic_without_functions_is_named(host: Host) -> None:
    host.totals.clear()
    assert "has no virtual functions: no such card" in reasons(host, wanted())["card/nic1"][1]


def test_the_number_is_not_changed_while_one_is_in_use_and_is_when_it_is_free(host: Host) -> None:
    fewer = host_rows(fabric((CARDS + SEGMENTS + FAST).replace("vfs: 4", "vfs: 2")))[HOST]
    host.converge(wanted(FAST))
    used = function(host, 1, driver="vfio-pci", busy="a virtual machine has it (vfio-pci)")
    host.converge(fewer)
    state, why = reasons(host, fewer)["card/nic1"]
    assert (state, len(host.functions["nic1"])) == ("failed", 4)
    assert why == f"NIC nic1 has 4 virtual functions and is to have 2, but number 1 ({used.pci}) is in use: {used.busy}"
    function(host, 1, busy="", driver="igbvf")
    host.converge(fewer)
    assert len(host.functions["nic1"]) == 2


def test_nobody_loses_a_function_for_a_number_that_cannot_be_had(host: Host) -> None:
    rows = wanted(FAST)
    host.converge(rows)
    number = rows["vf/fast.eth0"].number  # type: ignore[union-attr]
    used = function(host, number, netdev="", busy="it is in another namespace")
    for vfs in (1, 2, 3, 8):
        other = host_rows(fabric((CARDS + SEGMENTS + FAST).replace("vfs: 4", f"vfs: {vfs}")))[HOST]
        host.converge(other)
        assert host.functions["nic1"][number] == used
        assert {state for state, _ in reasons(host, other, ("card", "vf")).values()} == {"failed"}


def test_what_libvirt_set_for_a_machine_of_its_pool_is_left_alone(host: Host) -> None:
    host.converge(wanted(""))
    function(host, 2, mac="52:54:00:00:00:07", vlan=9, busy="a virtual machine has it (vfio-pci)")
    assert host.plan(wanted("")).actions == []


def test_a_mac_that_moves_is_taken_from_the_function_that_had_it(host: Host) -> None:
    rows = wanted(FAST)
    mac, number = rows["vf/fast.eth0"].mac, rows["vf/fast.eth0"].number  # type: ignore[union-attr]
    host.converge(wanted(""))
    other = (number + 1) % 4
    function(host, other, mac=mac, busy="a virtual machine has it (vfio-pci)")
    host.converge(rows)
    assert [function.number for function in host.functions["nic1"] if function.mac == mac] == [number]


def test_what_a_driver_does_not_do_is_no_failure_and_is_said(host: Host) -> None:
    rows = wanted(FAST)
    host.converge(wanted(""))
    for number in range(4):
        function(host, number, spoofchk=None, trust=None)
    host.converge(rows)
    assert reasons(host, rows)["vf/fast.eth0"] == ("wired", "its card checks no source addresses")


def test_a_nic_in_a_bridge_carries_no_macvtap(host: Host) -> None:
    host.ports["nic2"] = replace(host.ports["vnet0"], name="nic2")
    why = "NIC nic2 is in bridge br-theirs, where it carries no macvtap: take it out"
    assert set(reasons(host, wanted(TAPS), ("macvtap",)).values()) == {("failed", why)}


def test_a_function_whose_interface_is_free_starts_anew_to_see_its_mac(host: Host) -> None:
    host.converge(wanted(""))
    for number in range(4):
        function(host, number, netdev=f"nic1v{number}")
    (done,) = [action.step for action in host.converge(wanted(FAST)) if isinstance(action.step, s.SetFunction)]
    assert done.rebind


def test_a_function_hears_of_the_cable_what_the_file_says_and_of_nobody_the_truth(host: Host) -> None:
    rows = wanted(FAST.replace("vf: nic1", "vf: nic1, link: down"))
    host.converge(rows)
    (own,) = [function for function in host.functions["nic1"] if function.mac == rows["vf/fast.eth0"].mac]  # type: ignore[union-attr]
    assert own.link == "down"
    function(host, own.number, link="up")
    assert reasons(host, rows)["vf/fast.eth0"] == ("waiting", f"nic1 VF {own.number} is not set yet: link")
    host.converge(rows)
    assert host.functions["nic1"][own.number].link == "down"
    host.converge(wanted(""))
    assert {function.link for function in host.functions["nic1"]} == {"auto"}
