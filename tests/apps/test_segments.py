"""Who reaches whom, walked through the compiled flows of all switches."""

from ipaddress import IPv4Address, ip_address

import pytest

from tests.fabrics import EVERY_SEGMENT, world
from weft.apps import packet as p
from weft.apps.flow import mac_number
from weft.apps.world import World

OUTSIDE = ip_address("203.0.113.1")


@pytest.fixture
def here() -> World:
    return world(EVERY_SEGMENT)


def pings(here: World, source: str, target: str) -> bool:
    address = here.stations[target].own[0] if target in here.stations else ip_address(target)
    return here.pings(source, address)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("db1.eth0", "web1.eth1"),
        ("db1.eth0", "db2.eth0"),
        ("web1.eth1", "db2.eth0"),
        ("six1.eth0", "six2.eth0"),
        ("web1.eth0", "web2.eth0"),
        ("lan1.eth0", "lan2.eth0"),
        ("flat1.eth0", "flat2.eth0"),
        ("flat1.eth0", "outside"),
        ("outside", "flat2.eth0"),
        ("web1.eth0", "outside"),
        ("web2.eth0", "outside"),
        ("web1.eth0", "192.168.122.1"),
        ("db1.eth0", "10.0.9.1"),
        ("six1.eth0", "fd00:9::1"),
        ("kvm1", "outside"),
        ("outside", "kvm1"),
        ("kvm1", "kvm2"),
        ("flat1.eth0", "kvm1"),
        ("flat1.eth0", "kvm2"),
        ("web1.eth0", "kvm1"),
        ("web1.eth0", "kvm2"),
        ("web1.eth0", "flat2.eth0"),
    ],
)
def test_these_reach_each_other(here: World, source: str, target: str) -> None:
    assert pings(here, source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("db1.eth0", "web1.eth0"),
        ("db1.eth0", "outside"),
        ("outside", "db1.eth0"),
        ("outside", "web1.eth0"),
        ("web1.eth0", "db1.eth0"),
        ("web3.eth0", "10.0.9.1"),
        ("db1.eth0", "192.168.122.1"),
        ("lan1.eth0", "flat1.eth0"),
        ("lan1.eth0", "outside"),
        ("flat1.eth0", "web1.eth0"),
        ("kvm1", "db2.eth0"),
        ("kvm1", "web1.eth0"),
    ],
)
def test_these_do_not(here: World, source: str, target: str) -> None:
    assert not pings(here, source, target)


def test_a_guest_does_not_reach_another_segment_by_naming_its_mac(here: World) -> None:
    web, db = here.stations["web1.eth0"], here.stations["db2.eth0"]
    assert here.send("web1.eth0", p.echo(web.mac, db.mac, web.own[0], db.own[0])).to == ()


def test_a_question_for_a_known_address_goes_to_its_owner_alone(here: World) -> None:
    web = here.stations["web1.eth1"]
    assert here.send("web1.eth1", p.question(web.mac, web.own[0], ip_address("10.0.9.5"))).to == ("db1.eth0",)


def test_a_broadcast_reaches_every_member_once_and_nobody_else(here: World) -> None:
    web = here.stations["web1.eth1"]
    walk = here.send("web1.eth1", p.segment_of("udp", web.mac, p.BROADCAST, web.own[0], ip_address("10.0.9.255"), 1000, 1000))
    assert sorted(walk.to) == ["db1.eth0", "db2.eth0"]


def test_a_broadcast_on_a_vlan_stays_on_the_vlan(here: World) -> None:
    lan = here.stations["lan1.eth0"]
    walk = here.send("lan1.eth0", p.segment_of("udp", lan.mac, p.BROADCAST, lan.own[0], ip_address("10.5.0.255"), 1000, 1000))
    assert walk.to == ("lan2.eth0",)


def test_a_stranger_on_the_wire_is_learned_and_then_reached_alone(here: World) -> None:
    router = here.stations["router.eth0"]
    stranger = "0e:00:00:00:77:77"
    hello = p.datagram(stranger, p.BROADCAST, IPv4Address("203.0.113.77"), IPv4Address("203.0.113.255"), 17, udp_src=1, udp_dst=1)
    flooded = here.send("router.eth0", hello)
    assert {"outside", "flat1.eth0", "flat2.eth0"} <= set(flooded.to)
    flat = here.stations["flat1.eth0"]
    answer = p.echo(flat.mac, stranger, flat.own[0], IPv4Address("203.0.113.77"))
    assert here.send("flat1.eth0", answer).to == (router.name,)


def test_an_unknown_receiver_is_flooded_only_where_strangers_live(here: World) -> None:
    db, flat = here.stations["db2.eth0"], here.stations["flat1.eth0"]
    nobody = "0e:00:00:00:99:99"
    assert here.send("db2.eth0", p.echo(db.mac, nobody, db.own[0], ip_address("10.0.9.99"))).to == ()
    flooded = here.send("flat1.eth0", p.echo(flat.mac, nobody, flat.own[0], ip_address("203.0.113.99")))
    assert {"flat2.eth0", "router.eth0", "outside"} <= set(flooded.to)


def test_a_nat_guest_is_seen_outside_as_its_host(here: World) -> None:
    web, gateway = here.stations["web1.eth0"], here.stations["office@kvm1"]
    walk = here.send("web1.eth0", p.segment_of("tcp", web.mac, gateway.mac, web.own[0], OUTSIDE, 5555, 80))
    seen = [delivery.packet for delivery in walk.delivered if delivery.station.name == "outside"]
    assert [(packet["ip_src"], packet["tcp_src"]) for packet in seen] == [(int(here.stations["kvm1"].own[0]), 5555)]


def test_two_guests_and_the_host_with_one_port_get_three(here: World) -> None:
    gateway, ports = here.stations["office@kvm1"], []
    for name in ("web1.eth0", "web3.eth0", "kvm1"):
        me = here.stations[name]
        hop = gateway.mac if name != "kvm1" else here.stations["outside"].mac
        walk = here.send(name, p.segment_of("tcp", me.mac, hop, me.own[0], OUTSIDE, 5555, 80))
        ports += [delivery.packet["tcp_src"] for delivery in walk.delivered if delivery.station.name == "outside"]
    assert len(set(ports)) == 3


@pytest.mark.parametrize("first", ["web1.eth0", "kvm1"])
def test_a_port_from_32768_on_is_the_hosts_alone(here: World, first: str) -> None:
    """Whoever has it first: the guest gets another, and the host's connection needs no translation."""
    seen = {}
    for name in (first, "kvm1" if first == "web1.eth0" else "web1.eth0"):
        me = here.stations[name]
        hop = here.stations["outside" if name == "kvm1" else "office@kvm1"].mac
        walk = here.send(name, p.segment_of("tcp", me.mac, hop, me.own[0], OUTSIDE, 50000, 80))
        seen[name] = next(delivery.packet["tcp_src"] for delivery in walk.delivered if delivery.station.name == "outside")
    assert seen["kvm1"] == 50000
    assert 1024 <= seen["web1.eth0"] < 32768


def test_an_answer_from_outside_comes_back_to_the_guest_that_asked(here: World) -> None:
    web, gateway, outside, host = (here.stations[name] for name in ("web3.eth0", "office@kvm1", "outside", "kvm1"))
    here.send("web3.eth0", p.segment_of("udp", web.mac, gateway.mac, web.own[0], OUTSIDE, 5353, 53))
    answer = p.segment_of("udp", outside.mac, host.mac, OUTSIDE, host.own[0], 53, 5353)
    walk = here.send("outside", answer)
    assert "web3.eth0" in walk.to
    assert next(d.packet for d in walk.delivered if d.station == web)["ip_dst"] == int(web.own[0])


def test_nothing_from_outside_starts_a_conversation_with_a_nat_guest(here: World) -> None:
    outside, host, web = (here.stations[name] for name in ("outside", "kvm1", "web1.eth0"))
    assert here.pings("outside", host.own[0])
    routed_in = p.segment_of("tcp", outside.mac, host.mac, OUTSIDE, web.own[0], 40000, 80)
    assert "web1.eth0" not in here.send("outside", routed_in).to
    to_host = p.segment_of("tcp", outside.mac, host.mac, OUTSIDE, host.own[0], 40000, 80)
    assert set(here.send("outside", to_host).to) == {"kvm1"}


def test_a_bridged_guest_is_not_taken_for_its_host(here: World) -> None:
    flat, host = here.stations["flat1.eth0"], here.stations["kvm1"]
    as_host = p.echo(host.mac, here.stations["outside"].mac, host.own[0], OUTSIDE)
    assert here.send("flat1.eth0", as_host).to == ()
    into_tunnel = p.segment_of("udp", flat.mac, host.mac, flat.own[0], host.own[0], 6081, 6081)
    assert here.send("flat1.eth0", into_tunnel).to == ()


def test_the_service_namespace_learns_neighbours_on_the_wire_as_the_host_does(here: World) -> None:
    outside, host = here.stations["outside"], here.stations["kvm1"]
    reply = p.answer(p.question(host.mac, host.own[0], OUTSIDE), outside.mac, outside.own)
    assert reply is not None and reply["eth_dst"] == mac_number(host.mac)
    assert "kvm1" in here.send("outside", reply).to


TUNNELLED = {"geneve": {"udp_dst": 6081}, "vxlan": {"udp_dst": 4789}, "gre": {"ip_proto": 47}}
"""What tells the packets of each kind of tunnel."""


@pytest.mark.parametrize("overlay", TUNNELLED)
def test_a_guest_behind_its_hosts_address_is_not_taken_for_a_tunnel(overlay: str) -> None:
    """Where the uplink's address ends the tunnels too, another host would believe such a packet of a guest's."""
    text = EVERY_SEGMENT.replace("10.10.10.1/24", "203.0.113.11/24").replace("10.10.10.2/24", "203.0.113.12/24")
    here = world(f"overlay: {{type: {overlay}}}\n{text}")
    other = here.stations["kvm2"]
    for name, hop in (("web1.eth0", "office@kvm1"), ("flat1.eth0", "kvm2")):
        me = here.stations[name]
        for kind, terms in TUNNELLED.items():
            sent = p.segment_of("udp", me.mac, here.stations[hop].mac, me.own[0], other.own[0], 40000, 1000) | terms
            assert ("kvm2" in here.send(name, sent).to) == (kind != overlay)


@pytest.mark.parametrize(("guest", "others"), [("flat1.eth0", {"outside", "flat2.eth0"}), ("db1.eth0", {"db2.eth0", "web1.eth1"})])
def test_what_a_guest_says_of_its_own_address_is_for_everybody(here: World, guest: str, others: set[str]) -> None:
    me = here.stations[guest]
    assert set(here.send(guest, p.question(me.mac, me.own[0], me.own[0])).to) >= others
