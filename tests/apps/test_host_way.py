"""What leaves by the way the host itself goes: translated by the host's own kernel, and answered."""

from ipaddress import ip_address

import pytest

from tests.fabrics import TWO_HOSTS, world
from weft.apps import packet as p
from weft.apps.world import World

THROUGH = (
    TWO_HOSTS
    + """
segments:
  default: {mode: nat, subnets: [192.168.122.0/24], uplink: host}
  office: {mode: nat, subnets: [192.168.123.0/24], uplink: physnet}
guests:
  one: {host: kvm1, nics: [{segment: default, ip: 192.168.122.10}]}
  two: {host: kvm2, nics: [{segment: default, ip: 192.168.122.11}]}
  web: {host: kvm1, nics: [{segment: office, ip: 192.168.123.10}]}
"""
)
OUTSIDE = ip_address("203.0.113.1")


@pytest.fixture
def here() -> World:
    return world(THROUGH)


@pytest.mark.parametrize("guest", ["one.eth0", "two.eth0", "web.eth0"])
def test_guests_reach_outside_by_their_hosts_way_or_by_an_uplink(here: World, guest: str) -> None:
    assert here.pings(guest, OUTSIDE)


def test_guests_of_different_hosts_reach_each_other(here: World) -> None:
    assert here.pings("one.eth0", ip_address("192.168.122.11"))


def test_outside_sees_the_host_and_begins_nothing(here: World) -> None:
    me, hop = here.stations["one.eth0"], here.stations["default@kvm1"]
    walk = here.send("one.eth0", p.segment_of("tcp", me.mac, hop.mac, me.own[0], OUTSIDE, 5555, 80))
    seen = [delivery.packet["ip_src"] for delivery in walk.delivered if delivery.station.name == "outside"]
    assert seen == [int(here.stations["kvm1"].own[0])]
    host, outside = here.stations["kvm1"], here.stations["outside"]
    asks = p.segment_of("tcp", outside.mac, host.mac, OUTSIDE, me.own[0], 40000, 80)
    assert "one.eth0" not in here.send("outside", asks).to


def test_another_nat_segment_does_not_reach_in(here: World) -> None:
    assert not here.pings("web.eth0", ip_address("192.168.122.10"))
