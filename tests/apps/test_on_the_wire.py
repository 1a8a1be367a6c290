"""Guests on a NIC itself, met by others over the wire: also by those of their own host."""

import pytest

from tests.fabrics import TWO_HOSTS, fabric, facts, world
from weft.apps.compile import Compiler
from weft.apps.text import flow_text
from weft.apps.world import World

TEXT = (
    TWO_HOSTS.replace("[nic0]}}}\n  kvm2", "[nic0]}}, macvtap: {nic1: {uplink: physnet}}}\n  kvm2")
    + """
segments:
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  flat: {mode: bridged, uplink: physnet}
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
guests:
  lan1: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.1/24}]}
  lan2: {host: kvm2, nics: [{segment: lan, ip: 10.5.0.2/24}]}
  own: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.9/24, attach: {macvtap: nic1}}]}
  flat1: {host: kvm1, nics: [{segment: flat, ip: 203.0.113.51/24, attach: {macvtap: nic1}}]}
  web1: {host: kvm2, nics: [{segment: office, ip: 192.168.122.10}]}
"""
)


@pytest.fixture
def here() -> World:
    return world(TEXT)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("lan1.eth0", "own.eth0"),
        ("lan2.eth0", "own.eth0"),
        ("own.eth0", "lan1.eth0"),
        ("own.eth0", "lan2.eth0"),
        ("flat1.eth0", "outside"),
        ("outside", "flat1.eth0"),
        ("web1.eth0", "flat1.eth0"),
    ],
)
def test_it_is_met_over_the_wire(here: World, source: str, target: str) -> None:
    assert here.pings(source, here.stations[target].own[0])


def test_it_keeps_to_the_vlan_of_its_segment(here: World) -> None:
    assert not here.pings("own.eth0", here.stations["flat1.eth0"].own[0])
    assert not here.pings("outside", here.stations["own.eth0"].own[0])


def test_what_its_card_limits_is_no_business_of_flows() -> None:
    card = TEXT.replace("macvtap: {nic1: {uplink: physnet}}", "sriov: {nic1: {vfs: 2, uplink: physnet}}").replace("macvtap: nic1", "vf: nic1")
    limited = compiled(card + "qos: [{endpoint: own.eth0, direction: out, rate: 5mbit}]\n")
    assert [text for text in limited if "meter" in text] == []


def test_it_has_no_port_in_any_flow() -> None:
    assert [text for text in compiled(TEXT) if "own-eth0" in text or "flat1-eth0" in text] == []


def compiled(text: str) -> list[str]:
    made = fabric(text)
    return [flow_text(flow) for program in Compiler().compile(made, facts(made)).values() for flow in program.flows()]
