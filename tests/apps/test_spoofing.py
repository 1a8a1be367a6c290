"""What a guest may send, and what it may not."""

from ipaddress import ip_address

import pytest

from tests.fabrics import EVERY_SEGMENT, world
from weft.apps import packet as p
from weft.apps.flow import mac_number
from weft.apps.packet import Packet
from weft.apps.world import World

OTHER_MAC = "0e:00:00:00:00:99"
DB1, DB2 = ip_address("10.0.9.5"), ip_address("10.0.9.6")


@pytest.fixture
def here() -> World:
    return world(EVERY_SEGMENT)


def broadcast(here: World, name: str, **changed: int) -> Packet:
    me = here.stations[name]
    packet = p.segment_of("udp", me.mac, p.BROADCAST, me.own[0], ip_address("10.0.9.255"), 1000, 1000)
    return {**packet, **changed}


@pytest.mark.parametrize(
    "forged",
    [
        {"eth_src": mac_number(OTHER_MAC)},
        {"ip_src": int(DB1)},
        {"ip_src": 0},
        {"vlan_vid": 0x1005},
        {"udp_src": 67, "udp_dst": 68},
        {"eth_src": 0x010000000001},
    ],
    ids=["mac", "address", "no address", "tag", "dhcp answer", "group sender"],
)
def test_a_forged_packet_is_dropped(here: World, forged: dict[str, int]) -> None:
    assert here.send("db2.eth0", broadcast(here, "db2.eth0")).to != ()
    assert here.send("db2.eth0", broadcast(here, "db2.eth0", **forged)).to == ()


@pytest.mark.parametrize("forged", [{"arp_spa": int(DB1)}, {"arp_sha": mac_number(OTHER_MAC)}], ids=["address", "mac"])
def test_forged_arp_is_dropped(here: World, forged: dict[str, int]) -> None:
    me = here.stations["db2.eth0"]
    question = p.question(me.mac, DB2, DB1)
    assert here.send("db2.eth0", question).to == ("db1.eth0",)
    assert here.send("db2.eth0", {**question, **forged}).to == ()


def test_a_probe_for_a_free_address_is_let_through_and_a_claim_is_not(here: World) -> None:
    me = here.stations["db2.eth0"]
    probe = {**p.question(me.mac, DB2, DB1), "arp_spa": 0}
    assert here.send("db2.eth0", probe).to == ("db1.eth0",)
    claim = {**probe, "arp_op": 2, "arp_spa": int(DB1)}
    assert here.send("db2.eth0", claim).to == ()


@pytest.mark.parametrize(
    "forged",
    [
        {"nd_target": int(ip_address("fd00:9::12"))},
        {"nd_tll": mac_number(OTHER_MAC)},
        {"ipv6_src": int(ip_address("fd00:9::12"))},
        {"icmpv6_type": 134},
    ],
    ids=["target", "link-layer address", "source", "router advertisement"],
)
def test_a_forged_neighbour_advertisement_is_dropped(here: World, forged: dict[str, int]) -> None:
    one, two = here.stations["six1.eth0"], here.stations["six2.eth0"]
    advert = p.answer(p.question(two.mac, two.own[0], one.own[0]), one.mac, one.own)
    assert advert is not None
    assert here.send("six1.eth0", advert).to == ("six2.eth0",)
    assert here.send("six1.eth0", {**advert, **forged}).to == ()


def test_a_guest_does_not_answer_as_a_dhcp_server_for_ipv6(here: World) -> None:
    one, two = here.stations["six1.eth0"], here.stations["six2.eth0"]
    packet = p.segment_of("udp", one.mac, two.mac, one.own[0], two.own[0], 546, 547)
    assert here.send("six1.eth0", packet).to == ("six2.eth0",)
    assert here.send("six1.eth0", {**packet, "udp_src": 547, "udp_dst": 546}).to == ()


def test_ipv6_of_a_guest_without_it_is_dropped(here: World) -> None:
    me = here.stations["db2.eth0"]
    packet = p.echo(me.mac, p.BROADCAST, ip_address("fe80::1"), ip_address("ff02::1"))
    assert here.send("db2.eth0", packet).to == ()


def test_a_router_guest_may_send_from_anywhere_but_as_the_gateway(here: World) -> None:
    packet = p.echo(OTHER_MAC, p.BROADCAST, ip_address("198.51.100.7"), ip_address("203.0.113.255"))
    assert "flat1.eth0" in here.send("router.eth0", packet).to
    gateway = here.fabric.segments["flat"].gateway_mac
    assert here.send("router.eth0", {**packet, "eth_src": mac_number(gateway)}).to == ()


def test_a_guest_of_this_host_does_not_come_in_by_the_wire(here: World) -> None:
    flat = here.stations["flat1.eth0"]
    packet = p.echo(flat.mac, p.BROADCAST, flat.own[0], ip_address("203.0.113.255"))
    assert "router.eth0" in here.send("outside", packet).to  # on kvm2 it may be a guest that moves
    assert "flat1.eth0" not in here.send("outside", packet).to
