"""From one segment to another, by the router that every host has."""

from ipaddress import ip_address

import pytest

from tests.cases import Case, answers, echo, routed, who_has
from tests.fabrics import TWO_HOSTS, world
from weft.apps import packet as p
from weft.apps.flow import mac_number
from weft.apps.packet import Packet
from weft.apps.world import World
from weft.topology.names import link_local

JOINED = (
    TWO_HOSTS
    + """
segments:
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
  branch: {mode: routed, subnets: [192.168.2.0/24, "fd00:2::/64"], ra: false, uplink: physnet}
  shop: {mode: routed, subnets: [192.168.3.0/24, "fd00:3::/64"], ra: false, uplink: physnet}
  cells: {mode: routed, subnets: [192.168.4.0/24], uplink: physnet}
  db: {mode: isolated, subnets: [10.0.9.0/24]}
guests:
  office1: {host: kvm1, nics: [{segment: office, ip: 192.168.122.10}]}
  office2: {host: kvm2, nics: [{segment: office, ip: 192.168.122.11}]}
  branch1: {host: kvm1, nics: [{segment: branch, ip: [192.168.2.10, "fd00:2::10"]}]}
  branch2: {host: kvm2, nics: [{segment: branch, ip: [192.168.2.11, "fd00:2::11"]}]}
  shop2: {host: kvm2, nics: [{segment: shop, ip: [192.168.3.11, "fd00:3::11"]}]}
  cell1: {host: kvm1, nics: [{segment: cells, ip: 192.168.4.10}]}
  cell2: {host: kvm2, nics: [{segment: cells, ip: 192.168.4.11}]}
  cell3: {host: kvm1, nics: [{segment: cells, ip: 192.168.4.12}]}
  db2: {host: kvm2, nics: [{segment: db, ip: 10.0.9.6}]}
  db1: {host: kvm1, nics: [{segment: db, ip: 10.0.9.5}]}
  both: {host: kvm2, nics: [{segment: branch, ip: 192.168.2.20}, {segment: shop, ip: 192.168.3.20}]}
"""
)


CASES = (
    Case("routed on this host", "office1.eth0", routed("office1.eth0", "branch1.eth0"), ("branch1.eth0",)),
    Case("routed to another host", "branch1.eth0", routed("branch1.eth0", "shop2.eth0"), ("shop2.eth0",)),
    Case("routed to another host over IPv6", "branch1.eth0", routed("branch1.eth0", "shop2.eth0", 6), ("shop2.eth0",)),
    Case("routed within its own segment", "branch1.eth0", routed("branch1.eth0", "branch2.eth0"), ("branch2.eth0",)),
    Case("too far already", "branch1.eth0", routed("branch1.eth0", "shop2.eth0", nw_ttl=1), ("branch@kvm1",)),
    Case("too far already over IPv6", "branch1.eth0", routed("branch1.eth0", "shop2.eth0", 6, nw_ttl=1), ("branch@kvm1",)),
    Case("just not too far", "branch1.eth0", routed("branch1.eth0", "shop2.eth0", nw_ttl=2), ("shop2.eth0",)),
    Case("for the gateway itself", "branch1.eth0", routed("branch1.eth0", "192.168.2.1", nw_ttl=1), ("branch@kvm1",)),
    Case("to an isolated segment", "branch1.eth0", routed("branch1.eth0", "db1.eth0", nw_ttl=1), ("branch@kvm1",)),
    Case("from an isolated segment", "db1.eth0", routed("db1.eth0", "branch1.eth0"), ("db@kvm1",)),
    Case("who has the gateway", "branch2.eth0", who_has("branch2.eth0", "192.168.2.1"), ("branch@kvm2",)),
    Case("the gateway asks on another host", "branch@kvm1", who_has("branch@kvm1", "branch2.eth0"), ("branch2.eth0",)),
    Case("the gateway asks over IPv6", "branch@kvm1", who_has("branch@kvm1", "branch2.eth0", 6), ("branch2.eth0",)),
    Case("the gateway asks for nobody", "branch@kvm1", who_has("branch@kvm1", "192.168.2.99"), ("branch1.eth0",)),
    Case("an answer to the gateway", "branch2.eth0", answers("branch2.eth0", "branch@kvm1"), ("branch@kvm1", "branch@kvm2")),
    Case("the gateway brings a packet", "branch@kvm1", echo("branch@kvm1", "branch2.eth0"), ("branch2.eth0",)),
    Case("the gateway answers over a tunnel", "branch@kvm1", answers("branch@kvm1", "branch2.eth0"), ()),
    Case("an isolated gateway over a tunnel", "db@kvm1", who_has("db@kvm1", "db2.eth0"), ()),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_each_goes_where_it_should(here: World, case: Case) -> None:
    assert set(here.send(case.sender, case.packet(here)).to) == set(case.to)


TUNNEL = ("kvm2/br-weft", "t.kvm1")


@pytest.fixture
def here() -> World:
    return world(JOINED)


def pings(here: World, source: str, target: str, version: int = 4) -> bool:
    return here.pings(source, next(own for own in here.stations[target].own if own.version == version))


@pytest.mark.parametrize(
    ("source", "target", "version"),
    [
        ("branch1.eth0", "shop2.eth0", 4),
        ("branch1.eth0", "shop2.eth0", 6),
        ("shop2.eth0", "branch1.eth0", 4),
        ("shop2.eth0", "branch2.eth0", 4),
        ("shop2.eth0", "branch2.eth0", 6),
        ("branch1.eth0", "branch2.eth0", 4),
        ("office1.eth0", "branch1.eth0", 4),
        ("office2.eth0", "branch1.eth0", 4),
        ("cell1.eth0", "shop2.eth0", 4),
        ("branch1.eth0", "cell1.eth0", 4),
    ],
)
def test_guests_of_joined_segments_reach_each_other(here: World, source: str, target: str, version: int) -> None:
    assert pings(here, source, target, version)


def test_a_routed_packet_comes_from_the_gateway_of_its_receivers_segment_one_hop_older(here: World) -> None:
    for name in ("branch1.eth0", "branch2.eth0"):
        (delivery,) = here.send(name, routed(name, "shop2.eth0")(here)).delivered
        assert delivery.packet["eth_src"] == mac_number(here.fabric.segments["shop"].gateway_mac)
        assert delivery.packet["eth_dst"] == mac_number(here.stations["shop2.eth0"].mac)
        assert delivery.packet["nw_ttl"] == 63


def test_an_address_that_nobody_has_is_the_service_namespaces_to_judge(here: World) -> None:
    lost = routed("branch1.eth0", "shop2.eth0", ip_dst=int(ip_address("192.168.3.99")))(here)
    assert "branch@kvm1" in here.send("branch1.eth0", lost).to


def test_a_link_local_sender_is_not_routed(here: World) -> None:
    local = int(link_local(here.stations["branch1.eth0"].mac))
    assert here.send("branch1.eth0", routed("branch1.eth0", "shop2.eth0", 6, ipv6_src=local)(here)).to == ("branch@kvm1",)


def test_a_guest_answers_by_the_nic_that_its_kernel_chooses(here: World) -> None:
    """Both NICs of `both` have a gateway; its default route is by the first, where its second address is forged."""
    assert pings(here, "office1.eth0", "both.eth0")
    assert not pings(here, "office1.eth0", "both.eth1")
    assert pings(here, "shop2.eth0", "both.eth1")


# ---- the gateway across hosts


def test_what_a_gateway_says_of_itself_stays_on_its_host(here: World) -> None:
    gateway, guest = here.stations["branch@kvm1"], here.stations["branch2.eth0"]
    arp = p.answer(p.question(guest.mac, guest.own[0], gateway.own[0]), gateway.mac, gateway.own)
    assert arp is not None
    assert here.send(gateway.name, arp).to == ()
    six = p.echo(gateway.mac, guest.mac, gateway.own[1], guest.own[1])
    for kind in (134, 136, 137):
        assert here.send(gateway.name, {**six, "icmpv6_type": kind}).to == ()
    broadcast = {**p.question(gateway.mac, gateway.own[0], ip_address("192.168.2.99"))}
    assert here.send(gateway.name, broadcast).to == ("branch1.eth0",)


def from_another_host(here: World, version: int = 4) -> Packet:
    """A ping for shop2 as the router of kvm1 hands it to kvm2."""
    packet, shop = routed("branch1.eth0", "shop2.eth0", version)(here), here.fabric.segments["shop"]
    macs = {"eth_src": mac_number(shop.gateway_mac), "eth_dst": mac_number(here.stations["shop2.eth0"].mac)}
    return {**packet, **macs, "tun_id": shop.id}


@pytest.mark.parametrize("version", [4, 6])
def test_what_another_host_has_routed_comes_in(here: World, version: int) -> None:
    assert here.enter(TUNNEL, from_another_host(here, version)).to == ("shop2.eth0",)


@pytest.mark.parametrize("kind", [{"eth_type": 0x88CC}, {"eth_dst": p.BROADCAST}, {"icmpv6_type": 134}, {"icmpv6_type": 137}])
def test_another_host_is_not_believed_to_be_the_gateway(here: World, kind: dict[str, int]) -> None:
    assert here.enter(TUNNEL, {**from_another_host(here, 6), **kind}).to == ()


def test_another_hosts_gateway_does_not_answer_for_ours(here: World) -> None:
    reply = answers("shop@kvm1", "shop2.eth0")(here)
    assert here.enter(TUNNEL, {**reply, "tun_id": here.fabric.segments["shop"].id}).to == ()
    asked = {**who_has("shop@kvm1", "shop2.eth0")(here), "eth_dst": reply["eth_dst"], "tun_id": here.fabric.segments["shop"].id}
    assert here.enter(TUNNEL, asked).to == ("shop2.eth0",)
