"""A host whose NIC is in a Linux bridge of its own: its guests are on the wire beside it, and it is no guest of theirs."""

from ipaddress import ip_address

import pytest

from tests.fabrics import TWO_HOSTS, world
from weft.apps import packet as p
from weft.apps.world import World

TEXT = (
    TWO_HOSTS.replace("kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [nic0]}}}", "kvm1: {uplinks: {physnet: {bridge: br0}}}")
    + """
segments:
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  flat: {mode: bridged, uplink: physnet}
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: host, span: host}
guests:
  lan1: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.1/24}]}
  lan2: {host: kvm2, nics: [{segment: lan, ip: 10.5.0.2/24}]}
  flat1: {host: kvm1, nics: [{segment: flat, ip: 203.0.113.51/24}]}
  flat2: {host: kvm2, nics: [{segment: flat, ip: 203.0.113.52/24}]}
  web1: {host: kvm1, nics: [{segment: office, ip: 192.168.122.10}]}
"""
)
OUTSIDE = ip_address("203.0.113.1")


@pytest.fixture
def here() -> World:
    return world(TEXT)


@pytest.mark.parametrize(("source", "target"), [("lan1", "lan2"), ("lan2", "lan1"), ("flat1", "flat2"), ("flat2", "flat1")])
def test_guests_meet_those_of_other_hosts_on_the_wire(here: World, source: str, target: str) -> None:
    assert here.pings(f"{source}.eth0", here.stations[f"{target}.eth0"].own[0])
    assert not here.pings("lan1.eth0", here.stations["flat2.eth0"].own[0])


@pytest.mark.parametrize("guest", ["flat1.eth0", "flat2.eth0"])
def test_the_host_is_reached_on_its_own_bridge(here: World, guest: str) -> None:
    assert here.stations["kvm1"].place == ("wire", "physnet/kvm1")
    assert here.pings(guest, here.stations["kvm1"].own[0])
    assert here.pings("kvm1", here.stations[guest].own[0])


def test_a_guest_that_wears_the_hosts_mac_is_not_heard(here: World) -> None:
    host, me = here.stations["kvm1"], here.stations["flat1.eth0"]
    sent = p.segment_of("udp", host.mac, here.stations["flat2.eth0"].mac, me.own[0], here.stations["flat2.eth0"].own[0], 1, 2)
    assert here.send("flat1.eth0", sent).to == ()


def test_what_leaves_by_the_host_leaves_by_its_bridge_and_is_answered(here: World) -> None:
    assert here.pings("web1.eth0", OUTSIDE)
    assert not here.pings("outside", here.stations["web1.eth0"].own[0])
