"""libvirt's networks: from what it has to what it should have, and what is never touched."""

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.agents.hosts import HOST, Host
from tests.fabrics import TWO_HOSTS, fabric
from weft.agents import steps as s
from weft.agents.observed import Domain, Network, Port, Virt
from weft.agents.plan import Wanted
from weft.agents.states import states
from weft.topology.libvirt_xml import bridge_network, mark_of, same
from weft.topology.rows import host_rows

SEGMENTS = """
segments:
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
  db: {mode: isolated, subnets: [10.0.9.0/24]}
guests:
  web1: {host: kvm1, nics: [{segment: db, ip: 10.0.9.4, mac: "52:54:00:00:09:04", attach: libvirt}]}
"""
MAC, VM = "52:54:00:00:09:04", "11111111-2222-3333-4444-555555555555"
FOREIGN = Network("<network><name>default</name><uuid>x</uuid><bridge name='virbr0'/></network>", None, False)


def wanted(text: str = SEGMENTS) -> Wanted:
    return host_rows(fabric(TWO_HOSTS.replace("kvm1: {", "kvm1: {libvirt: qemu:///system, ") + text))[HOST]


def host(networks: Iterable[str] = ()) -> Host:
    """Its libvirt has its own `default`, and a guest that is plugged into these."""
    made = Host()
    made.virt = Virt("", {"default": FOREIGN}, {VM: Domain("web1", True, True, frozenset(networks))})
    return made


def said(here: Host, spec: Wanted) -> dict[str, dict[str, str]]:
    return {key: json.loads(text) for key, text in states(spec, here.observe(), here.plan(spec).failures).items()}


def networks(here: Host) -> dict[str, Network]:
    assert here.virt is not None
    return dict(here.virt.networks)


def test_every_segment_is_a_network_that_runs_and_starts_with_libvirt_and_others_are_left_alone() -> None:
    here = host()
    here.converge(wanted())
    assert {name for name, found in networks(here).items() if found.live and found.autostart} == {"test-office", "test-db"}
    assert networks(here)["default"] == FOREIGN
    assert here.plan(wanted()).actions == []
    assert {said(here, wanted())[key]["state"] for key in ("libvirt/kvm1", "network/test-db", "network/test-office")} == {"wired"}


STEPS = len(host().converge(wanted()))


@pytest.mark.parametrize("after", range(STEPS))
def test_an_agent_killed_after_any_step_converges_to_the_same_networks(after: int) -> None:
    here, left = host(), after
    while left:
        for action in here.plan(wanted()).actions[:left]:
            here.do(action)
            left -= 1
    here.converge(wanted())
    whole = host()
    whole.converge(wanted())
    assert networks(here) == networks(whole)


def test_a_network_that_somebody_removed_stopped_or_changed_comes_back() -> None:
    here = host()
    here.converge(wanted())
    whole = networks(here)
    for spoilt in (None, replace(whole["test-db"], live=None), Network(FOREIGN.defined.replace("default", "test-db"), None, False)):
        here._network("test-db", spoilt)
        if spoilt is None or mark_of(spoilt.defined):
            here.converge(wanted())
            assert networks(here) == whole


def test_a_network_of_somebody_else_by_a_name_of_ours_is_left_and_said() -> None:
    here = host()
    here._network("test-db", FOREIGN)
    here.converge(wanted())
    assert networks(here)["test-db"] == FOREIGN
    told = said(here, wanted())
    assert (told["network/test-db"]["state"], told["network/test-office"]["state"]) == ("failed", "wired")
    assert "not weft's" in told["network/test-db"]["reason"]


def test_a_network_is_not_stopped_under_a_guest_and_says_so() -> None:
    old = bridge_network("test", "db", "br-old")
    here = host(["test-db"])
    here._network("test-db", Network(old, old, True))
    here.converge(wanted())
    assert networks(here)["test-db"].live == old
    assert same(bridge_network("test", "db", "br-weft"), networks(here)["test-db"].defined)
    assert said(here, wanted())["network/test-db"]["reason"] == "its new definition holds once web1 left it"
    here.virt = replace(here.virt or Virt(), domains={})
    here.converge(wanted())
    assert same(bridge_network("test", "db", "br-weft"), networks(here)["test-db"].live or "")


def test_a_network_of_a_segment_that_is_gone_goes_once_nobody_is_in_it() -> None:
    here = host(["test-db"])
    here.converge(wanted())
    fewer = {key: spec for key, spec in wanted().items() if key != "network/test-db"}
    here.converge(fewer)
    assert "test-db" in networks(here)
    assert said(here, fewer)["libvirt/kvm1"]["reason"] == "networks that stay as long as guests are in them: test-db (web1)"
    here.virt = replace(here.virt or Virt(), domains={})
    here.converge(fewer)
    assert networks(here).keys() == {"default", "test-office"}


def test_while_libvirt_is_away_the_rest_is_done_and_every_network_says_why_it_is_not() -> None:
    here = Host()
    here.virt = Virt("libvirt at qemu:///system does not answer")
    here.converge(wanted())
    told = said(here, wanted())
    assert {key: word["state"] for key, word in told.items() if word["state"] == "failed"} == dict.fromkeys(
        ("libvirt/kvm1", "network/test-office", "network/test-db"), "failed"
    )
    assert told["bridge/br-weft"]["state"] == "wired"


VNET = Port("vnet7", "br-weft", False, "", {}, 7, "", "db", MAC, vm=VM)


@pytest.mark.parametrize(
    ("port", "state", "reason"),
    [
        (VNET, "wired", ""),
        (replace(VNET, profile="office"), "failed", "libvirt has it in the network of segment office, the file says db"),
        (replace(VNET, attached_mac="52:54:00:00:00:01"), "waiting", f"guest web1 has no NIC with MAC {MAC}"),
    ],
)
def test_a_guest_of_the_file_is_the_port_with_its_mac(port: Port, state: str, reason: str) -> None:
    here = host()
    here.converge(wanted())
    here.ports[port.name] = port
    told = said(here, wanted())["endpoint/web1.eth0"]
    assert (told["state"], told["reason"]) == (state, reason)


def test_a_guest_that_is_not_started_or_not_there_is_waited_for() -> None:
    here = host()
    here.converge(wanted())
    for domains, reason in (({VM: Domain("web1", False, False)}, "guest web1 is not started"), ({}, "libvirt has no guest web1 here")):
        here.virt = replace(here.virt or Virt(), domains=domains)
        assert said(here, wanted())["endpoint/web1.eth0"] == {"state": "waiting", "reason": reason}


def test_a_port_is_told_with_the_name_of_its_guest() -> None:
    here = host()
    here.converge(wanted())
    here.ports["vnet7"] = VNET
    told = said(here, wanted())["stranger/vnet7"]
    assert (told["guest"], told["runs"], told["segment"]) == ("web1", True, "db")


def gone(here: Host) -> list[str]:
    return [action.step.name for action in here.plan(wanted()).actions if isinstance(action.step, s.RemovePort)]


def test_the_port_of_a_guest_that_died_with_libvirt_is_removed() -> None:
    here = host()
    here.converge(wanted())
    here.ports["vnet7"] = VNET
    assert gone(here) == []  # its guest runs: its device is made in this moment
    here.virt = replace(here.virt or Virt(), domains={})
    assert gone(here) == ["vnet7"]
    here.links[""]["vnet7"] = replace(here.links[""]["docker0"], name="vnet7")
    assert gone(here) == []  # its device is there
    del here.links[""]["vnet7"]
    here.ports["vnet7"] = replace(VNET, vm="")
    assert gone(here) == []  # not of libvirt
    here.ports["vnet7"], here.virt = VNET, Virt("libvirt does not answer")
    assert gone(here) == []
