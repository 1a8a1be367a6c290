"""libvirt's pools on a host in memory: what they give away, what they never do, and who is left in peace."""

import json
import re
from dataclasses import replace

import pytest

from tests.agents.hosts import HOST, Host, with_cards
from tests.agents.test_direct import CARDS, SEGMENTS
from tests.fabrics import fabric
from weft.agents import steps as s
from weft.agents.observed import HERE, Domain, Function, Link, Virt
from weft.agents.plan import Wanted
from weft.agents.states import states
from weft.topology.hostrow import VfSpec
from weft.topology.rows import host_rows

POOLS = (
    CARDS.replace("kvm1: {", "kvm1: {libvirt: qemu:///system, ")
    .replace("{vfs: 4, uplink: physnet}", "{vfs: 4, uplink: physnet, pool: [lan, flat]}")
    .replace("nic2: {uplink: physnet}", "nic2: {uplink: physnet, pool: [lan, flat]}")
    + SEGMENTS
)
FAST = "  fast: {host: kvm1, nics: [{segment: lan, attach: {vf: nic1}}]}\n"
NOBODY_ELSE = "  vm1: {host: kvm1, nics: [{segment: flat}]}\n"
FUNCTIONS = [f"0000:01:10.{number}" for number in range(4)]
VM = "11111111-2222-3333-4444-555555555555"


def wanted(text: str = POOLS, guests: str = FAST) -> Wanted:
    return host_rows(fabric(text + NOBODY_ELSE + guests))[HOST]


@pytest.fixture
def host() -> Host:
    made = with_cards()
    made.virt = Virt()
    return made


def gives(host: Host, which: str = "live") -> list[str]:
    """PCI addresses in the network of the card."""
    assert host.virt is not None
    found = re.findall(r"bus=.0x(..). slot=.0x(..). function=.0x(.).", getattr(host.virt.networks["test-nic1"], which) or "")
    return [f"0000:{bus}:{slot}.{function}" for bus, slot, function in found]


def said(host: Host, rows: Wanted, key: str) -> tuple[str, str]:
    told = json.loads(states(rows, host.observe(), host.plan(rows).failures)[key])
    return told["state"], told["reason"]


def lend(host: Host, number: int, guest: str = "vm9", **changed: object) -> Function:
    """A guest has taken a function out of the pool."""
    assert host.virt is not None
    function = replace(host.functions["nic1"][number], busy="a virtual machine has it (vfio-pci)", **changed)  # type: ignore[arg-type]
    host.functions["nic1"][number] = function
    network = host.virt.networks["test-nic1"]
    host._network("test-nic1", replace(network, lent={**network.lent, function.pci: guest}))
    return function


def given_back(host: Host) -> None:
    assert host.virt is not None
    host._network("test-nic1", replace(host.virt.networks["test-nic1"], lent={}))
    host.functions["nic1"] = [replace(function, busy="") for function in host.functions["nic1"]]


def own(rows: Wanted) -> str:
    spec = rows["vf/fast.eth0"]
    assert isinstance(spec, VfSpec)
    return FUNCTIONS[spec.number]


def test_a_pool_gives_the_functions_that_the_file_gives_to_nobody(host: Host) -> None:
    rows = wanted()
    host.converge(rows)
    assert gives(host) == [pci for pci in FUNCTIONS if pci != own(rows)]
    assert host.plan(rows).actions == []
    assert said(host, rows, "network/test-nic1") == ("wired", "")


def test_macvtaps_of_a_pool_are_on_the_nic_or_a_vlan_of_it_that_the_agent_makes(host: Host) -> None:
    rows = wanted()
    host.converge(rows)
    assert host.virt is not None
    for name, device in (("test-lan-nic2", "nic2.5"), ("test-flat-nic2", "nic2")):
        network = host.virt.networks[name]
        assert f'<interface dev="{device}" />' in (network.live or "")
        assert network.autostart
        assert host.links[HERE][device].up
        assert said(host, rows, f"lower/{device}") == said(host, rows, f"network/{name}") == ("wired", "")


STEPS = 16


@pytest.mark.parametrize("after", range(STEPS))
def test_an_agent_killed_after_any_step_goes_on(after: int, host: Host) -> None:
    rows, left = wanted(), after
    while left and (actions := host.plan(rows).actions[:left]):
        for action in actions:
            host.do(action)
            left -= 1
    host.converge(rows)
    assert {said(host, rows, key)[0] for key in rows if key.partition("/")[0] in ("network", "lower", "card", "vf")} == {"wired"}


def test_what_somebody_took_past_the_pool_is_not_given_away(host: Host) -> None:
    rows = wanted()
    host.converge(rows)
    other = next(pci for pci in FUNCTIONS if pci != own(rows))
    number = FUNCTIONS.index(other)
    host.functions["nic1"][number] = replace(host.functions["nic1"][number], busy="its interface nic1v has an address")
    host.converge(rows)
    assert other not in gives(host)


def test_what_a_guest_has_out_of_the_pool_stays_in_it_and_is_left_as_libvirt_set_it(host: Host) -> None:
    rows = wanted()
    host.converge(rows)
    number = next(number for number, pci in enumerate(FUNCTIONS) if pci != own(rows))
    lend(host, number, mac="52:54:00:00:00:07", vlan=9, spoofchk=False)
    assert host.plan(rows).actions == []
    (row,) = [each for each in json.loads(states(rows, host.observe(), {})["card/nic1"])["functions"] if each["number"] == number]
    assert row["busy"] == "guest vm9 has it"


def test_a_function_that_the_file_gives_to_somebody_while_a_guest_of_the_pool_has_it_is_waited_for(host: Host) -> None:
    host.converge(wanted(guests=""))
    rows = wanted()
    lent = lend(host, FUNCTIONS.index(own(rows)), mac="52:54:00:00:00:07", vlan=9)
    host.converge(rows)
    assert host.functions["nic1"][lent.number] == lent
    reason = f"nic1 VF {lent.number} is in use: libvirt gave it to guest vm9 out of its pool"
    assert said(host, rows, "vf/fast.eth0") == ("waiting", reason)
    assert gives(host) == FUNCTIONS  # it runs on as it was: a guest is in it
    assert gives(host, "defined") == [pci for pci in FUNCTIONS if pci != own(rows)]
    assert said(host, rows, "network/test-nic1") == ("wired", "its new definition holds once vm9 left it")
    given_back(host)
    host.converge(rows)
    assert gives(host) == gives(host, "defined")
    assert said(host, rows, "vf/fast.eth0") == ("wired", "")


def test_while_libvirt_does_not_answer_a_function_in_use_is_not_taken(host: Host) -> None:
    host.converge(wanted(guests=""))
    rows = wanted()
    lent = lend(host, FUNCTIONS.index(own(rows)), mac="52:54:00:00:00:07", vlan=9)
    host.virt = Virt("libvirt does not answer")
    host.converge(rows)
    assert host.functions["nic1"][lent.number] == lent
    assert "whose that is libvirt does not say: libvirt does not answer" in said(host, rows, "vf/fast.eth0")[1]


def test_a_pool_without_a_free_function_waits_and_says_so(host: Host) -> None:
    rows = wanted(POOLS.replace("vfs: 4", "vfs: 1"))
    host.converge(rows)
    reason = "no virtual function of nic1 is free: guests of the file have them, or somebody else (weft show nics)"
    assert said(host, rows, "network/test-nic1") == ("waiting", reason)
    assert host.virt is not None
    assert "test-nic1" not in host.virt.networks


def test_a_pool_of_a_card_that_cannot_have_them_fails_for_the_same_reason(host: Host) -> None:
    host.totals["nic1"] = 3
    rows = wanted()
    host.converge(rows)
    assert said(host, rows, "network/test-nic1") == said(host, rows, "card/nic1") == (
        "failed", "NIC nic1 has 3 virtual functions at most, and 4 are asked for",
    )  # fmt: skip


def test_the_number_stays_while_a_guest_of_the_pool_has_one_and_names_it(host: Host) -> None:
    host.converge(wanted(guests=""))
    lend(host, 1)
    rows = wanted(POOLS.replace("vfs: 4", "vfs: 2"), "")
    host.converge(rows)
    assert len(host.functions["nic1"]) == 4
    assert said(host, rows, "card/nic1")[1].endswith("number 1 (0000:01:10.1) is in use: guest vm9 has it")


def test_a_nic_in_a_bridge_has_no_pool(host: Host) -> None:
    host.ports["nic2"] = replace(host.ports["vnet0"], name="nic2")
    rows = wanted()
    host.converge(rows)
    why = "NIC nic2 is in bridge br-theirs, where it carries no macvtap: take it out"
    assert said(host, rows, "network/test-lan-nic2") == said(host, rows, "lower/nic2.5") == ("failed", why)


def test_a_pool_that_is_gone_goes_with_its_last_guest_and_so_does_the_vlan_below_it(host: Host) -> None:
    host.converge(wanted())
    assert host.virt is not None
    host.virt = replace(host.virt, domains={VM: Domain("vm9", True, True, frozenset({"test-lan-nic2"}))})
    lower = host.links[HERE]["nic2.5"]
    host.links[HERE]["macvtap0"] = Link("macvtap0", "macvtap", "52:54:00:00:00:07", 1500, True, "", index=77, over=lower.index, mode="bridge")
    fewer = wanted(POOLS.replace(", pool: [lan, flat]}}}\n", "}}}\n"))
    host.converge(fewer)
    assert host.virt.networks.keys() == {"test-flat", "test-lan", "test-lan-nic2", "test-nic1"}
    assert host.links[HERE]["nic2.5"] == lower
    host.virt = replace(host.virt, domains={})
    del host.links[HERE]["macvtap0"]
    host.converge(fewer)
    assert host.virt.networks.keys() == {"test-flat", "test-lan", "test-nic1"}
    assert "nic2.5" not in host.links[HERE]


def test_a_vlan_that_somebody_set_down_is_set_up_and_not_made_anew_below_its_guests(host: Host) -> None:
    rows = wanted()
    host.converge(rows)
    host.links[HERE]["nic2.5"] = replace(host.links[HERE]["nic2.5"], up=False)
    assert [action.step for action in host.converge(rows)] == [s.SetUp("nic2.5", 1500)]


def test_a_network_of_another_fabric_by_the_name_of_a_pool_is_left_and_said(host: Host) -> None:
    host.converge(wanted())
    assert host.virt is not None
    found = host.virt.networks["test-nic1"]
    taken = replace(found, defined=found.defined.replace('fabric="test"', 'fabric="other"'))
    host._network("test-nic1", taken)
    rows = wanted()
    host.converge(rows)
    assert host.virt.networks["test-nic1"] == taken
    assert said(host, rows, "network/test-nic1") == ("failed", "libvirt's network test-nic1 is NIC nic1 of fabric other")
