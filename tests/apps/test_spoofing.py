"""What a guest may send, and what it may not."""

from ipaddress import ip_address

import pytest

from tests.cases import Case, Make, own, routed, who_has
from tests.cases import broadcast as to_all
from tests.fabrics import EVERY_SEGMENT, TWO_HOSTS, world
from weft.apps import packet as p
from weft.apps.flow import mac_number
from weft.apps.packet import Packet
from weft.apps.world import World

OTHER_MAC = "0e:00:00:00:00:99"
DB1, DB2 = ip_address("10.0.9.5"), ip_address("10.0.9.6")


SENDERS = (
    TWO_HOSTS
    + """
segments:
  db: {mode: isolated, subnets: [10.0.9.0/24, "fd00:9::/64"], ra: false}
  lan: {mode: bridged, uplink: physnet, vlan: 5, subnets: [10.5.0.0/24, "fd00:5::/64"]}
guests:
  db1: {host: kvm1, nics: [{segment: db, ip: [10.0.9.4, "fd00:9::4"]}]}
  db2: {host: kvm1, nics: [{segment: db, ip: [10.0.9.5, "fd00:9::5"]}]}
  db3: {host: kvm2, nics: [{segment: db, ip: [10.0.9.6, "fd00:9::6"]}]}
  lan1: {host: kvm1, nics: [{segment: lan, ip: [10.5.0.11, "fd00:5::11"]}]}
  lan2: {host: kvm2, nics: [{segment: lan, ip: [10.5.0.12, "fd00:5::12"]}]}
  free: {host: kvm1, nics: [{segment: lan}]}
  fw: {host: kvm2, nics: [{segment: lan, spoof: true}]}
"""
)
ALL_DB, ALL_LAN = ("db2.eth0", "db3.eth0"), ("lan1.eth0", "lan2.eth0", "fw.eth0")


def frame(source: str, ethertype: int, **changed: int) -> Make:
    return lambda here: {**p.frame(here.stations[source].mac, p.BROADCAST, ethertype), **changed}


def from_free(version: int = 4, **changed: int) -> Make:
    """What the guest whose addresses nobody knows sends to all, from an address that is nobody's."""
    mine = ip_address("10.5.0.99" if version == 4 else "fd00:5::99")
    everybody = ip_address("255.255.255.255" if version == 4 else "ff02::1")
    return lambda here: {
        **p.segment_of("udp", here.stations["free.eth0"].mac, p.BROADCAST, mine, everybody, 1000, 1000),
        **changed,
    }


def free_asks(**changed: int) -> Make:
    return lambda here: {
        **p.question(here.stations["free.eth0"].mac, ip_address("10.5.0.99"), ip_address("10.5.0.98")),
        **changed,
    }


def free_says(target: str, **changed: int) -> Make:
    """A neighbour advertisement to all."""
    def make(here: World) -> Packet:
        mac, to = here.stations["free.eth0"].mac, ip_address("ff02::1")
        nd = {"nw_ttl": 255, "icmpv6_type": 136, "icmpv6_code": 0, "nd_target": int(ip_address(target)), "nd_tll": mac_number(mac)}
        return {**p.datagram(mac, p.BROADCAST, ip_address("fd00:5::99"), to, 58), **nd, **changed}

    return make


def icmp(source: str, kind: int, version: int = 4, **changed: int) -> Make:
    """An ICMP message to all from the sender's own address."""
    def make(here: World) -> Packet:
        to = ip_address("255.255.255.255" if version == 4 else "ff02::1")
        return {**p.echo(here.stations[source].mac, p.BROADCAST, own(here, source, version), to, (kind, kind)), **changed}

    return make


STP, PVST, PAUSE = 0x0180C2000000, 0x01000CCCCCCD, 0x0180C2000001

CASES = (
    Case("honest: to all", "db1.eth0", to_all("db1.eth0"), ALL_DB),
    Case("honest: an ICMP message", "db1.eth0", icmp("db1.eth0", 8), ALL_DB),
    Case("honest: an ICMPv6 message", "db1.eth0", icmp("db1.eth0", 128, 6), ALL_DB),
    Case("honest: who has", "db1.eth0", who_has("db1.eth0", "db2.eth0"), ("db2.eth0",)),
    Case("a priority tag", "db1.eth0", to_all("db1.eth0", vlan_vid=0x1000, vlan_pcp=5), ()),
    Case("a VLAN tag", "db1.eth0", to_all("db1.eth0", vlan_vid=0x1005), ()),
    Case("a DHCP answer", "db1.eth0", to_all("db1.eth0", udp_src=67, udp_dst=68), ()),
    Case("a DHCP answer in pieces", "db1.eth0", to_all("db1.eth0", udp_src=67, udp_dst=68, first_piece=1), ()),
    Case("honest: a packet in pieces", "db1.eth0", to_all("db1.eth0", first_piece=1), ALL_DB),
    Case("a router advertisement behind a header", "db1.eth0", icmp("db1.eth0", 134, 6, extension=60), ()),
    Case("a router advertisement behind another", "db1.eth0", icmp("db1.eth0", 134, 6, extension=0), ()),
    Case("honest: behind a header", "db1.eth0", icmp("db1.eth0", 128, 6, extension=60), ALL_DB),
    Case("a router advertisement", "db1.eth0", icmp("db1.eth0", 134, 6), ()),
    Case("an ICMPv6 redirect", "db1.eth0", icmp("db1.eth0", 137, 6), ()),
    Case("an ICMP redirect", "db1.eth0", icmp("db1.eth0", 5), ()),
    Case("the gateway's address", "db1.eth0", to_all("db1.eth0", ip_src=int(ip_address("10.0.9.1"))), ()),
    Case("a link-local address", "db1.eth0", to_all("db1.eth0", ip_src=int(ip_address("169.254.1.1"))), ()),
    Case("ARP for the gateway", "db1.eth0", who_has("db1.eth0", "db2.eth0", arp_spa=int(ip_address("10.0.9.1"))), ()),
    Case("ARP with another MAC", "db1.eth0", who_has("db1.eth0", "db2.eth0", arp_sha=0x0E0000000099), ()),
    Case("a neighbour's address by the gateway", "db1.eth0", routed("db1.eth0", "db2.eth0", ip_src=int(ip_address("10.0.9.6"))), ()),
    Case("spanning tree", "db1.eth0", frame("db1.eth0", 0x88B5, eth_dst=STP), ()),
    Case("LLDP", "db1.eth0", frame("db1.eth0", 0x88CC), ()),
    Case("honest: without known addresses, to all", "free.eth0", from_free(), ALL_LAN),
    Case("honest: without known addresses, IPv6", "free.eth0", from_free(6), ALL_LAN),
    Case("honest: without known addresses, who has", "free.eth0", free_asks(), ALL_LAN),
    Case("honest: without known addresses, here I am", "free.eth0", free_says("fd00:5::99"), ALL_LAN),
    Case("honest: another protocol", "free.eth0", frame("free.eth0", 0x88B5), ALL_LAN),
    Case("unknown: a neighbour's address", "free.eth0", from_free(ip_src=int(ip_address("10.5.0.11"))), ()),
    Case("unknown: one elsewhere's address", "free.eth0", from_free(ip_src=int(ip_address("10.5.0.12"))), ()),
    Case("unknown: the gateway's address", "free.eth0", from_free(ip_src=int(ip_address("10.5.0.1"))), ()),
    Case("unknown: a neighbour's IPv6 address", "free.eth0", from_free(6, ipv6_src=int(ip_address("fd00:5::11"))), ()),
    Case("unknown: ARP for the gateway", "free.eth0", free_asks(arp_spa=int(ip_address("10.5.0.1"))), ()),
    Case("unknown: ARP answer for a neighbour", "free.eth0", free_asks(arp_op=2, arp_spa=int(ip_address("10.5.0.11"))), ()),
    Case("unknown: ARP with another MAC", "free.eth0", free_asks(arp_sha=0x0E0000000099), ()),
    Case("unknown: here is the gateway", "free.eth0", free_says("fd00:5::1"), ()),
    Case("unknown: here is one elsewhere", "free.eth0", free_says("fd00:5::12"), ()),
    Case("unknown: here I am, at another MAC", "free.eth0", free_says("fd00:5::99", nd_tll=0x0E0000000099), ()),
    Case("unknown: another MAC", "free.eth0", from_free(eth_src=0x0E0000000099), ()),
    Case("unknown: a DHCP answer", "free.eth0", from_free(udp_src=67, udp_dst=68), ()),
    Case("unknown: a DHCPv6 answer", "free.eth0", from_free(6, udp_src=547, udp_dst=546), ()),
    Case("unknown: spanning tree", "free.eth0", frame("free.eth0", 0x88B5, eth_dst=STP), ()),
    Case("unknown: Cisco's spanning tree", "free.eth0", frame("free.eth0", 0x88B5, eth_dst=PVST), ()),
    Case("unknown: pause", "free.eth0", frame("free.eth0", 0x8808, eth_dst=PAUSE), ()),
    Case("unknown: pause to all", "free.eth0", frame("free.eth0", 0x8808), ()),
    Case("unknown: LLDP to all", "free.eth0", frame("free.eth0", 0x88CC), ()),
    Case("unknown: a priority tag", "free.eth0", from_free(vlan_vid=0x1000, vlan_pcp=5), ()),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_what_is_forged_ends_and_what_is_honest_arrives(case: Case) -> None:
    senders = world(SENDERS)
    assert set(senders.send(case.sender, case.packet(senders)).to) - {"outside"} == set(case.to)


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
