"""Multicast on a snooping segment: who gets what, on every host."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.fabrics import TWO_HOSTS, fabric, facts
from weft.apps import packet as p
from weft.apps.compile import Compiler, check_program
from weft.apps.facts import Facts
from weft.apps.fields import UDP
from weft.apps.packet import Packet
from weft.apps.snooping import restricted
from weft.apps.world import World

TEXT = (
    TWO_HOSTS
    + """
segments:
  club: {mode: isolated, subnets: [10.0.9.0/24, "fd00:9::/64"], ra: false, multicast: snoop}
  lan: {mode: bridged, uplink: physnet, multicast: snoop}
  plain: {mode: isolated, subnets: [10.0.8.0/24]}
guests:
  a1: {host: kvm1, nics: [{segment: club}]}
  a2: {host: kvm1, nics: [{segment: club}]}
  a3: {host: kvm1, nics: [{segment: club}]}
  b1: {host: kvm2, nics: [{segment: club}]}
  b2: {host: kvm2, nics: [{segment: club}]}
  lan1: {host: kvm1, nics: [{segment: lan, ip: 203.0.113.51/24}]}
  lan2: {host: kvm1, nics: [{segment: lan, ip: 203.0.113.52/24}]}
  lan3: {host: kvm2, nics: [{segment: lan, ip: 203.0.113.53/24}]}
  p1: {host: kvm1, nics: [{segment: plain}]}
  p2: {host: kvm1, nics: [{segment: plain}]}
"""
)
G4, G6, OTHER = ip_address("239.1.2.3"), ip_address("ff15::123"), ip_address("239.129.2.3")
CLUB = ["a1", "a2", "a3", "b1", "b2"]


def joined(segment: str = "club", **groups: str) -> dict[tuple[str, object], tuple[str, ...]]:
    """``joined(g4="a1 b1")``: the endpoints of each group."""
    of = {"g4": G4, "g6": G6}
    return {(segment, of[name]): tuple(f"{guest}.eth0" for guest in guests.split()) for name, guests in groups.items()}


def world(known: dict[tuple[str, object], tuple[str, ...]], routers: dict[str, tuple[str, ...]] | None = None) -> World:
    made = fabric(TEXT)
    told: Facts = replace(facts(made), joined=known, routers=routers or {})  # type: ignore[arg-type]
    programs = Compiler().compile(made, told)
    for program in programs.values():
        check_program(program)
    return World(made, programs, told)


def multicast(here: World, sender: str, group: str, **fields: int) -> Packet:
    me, to = here.stations[f"{sender}.eth0"], ip_address(group)
    own = next(own for own in me.own if own.version == to.version)
    mac = 0x01005E000000 | int(to) & 0x7FFFFF if to.version == 4 else 0x3333 << 32 | int(to) & 0xFFFFFFFF
    return {**p.datagram(me.mac, mac, own, to, UDP, udp_src=5000, udp_dst=5000), **fields}


def reached(here: World, sender: str, packet: Packet) -> list[str]:
    """The guests and `outside`, in order; each once. A host on the wire hears what its neighbours do."""
    to = [name.removesuffix(".eth0") for name in here.send(f"{sender}.eth0", packet).to if name not in here.fabric.hosts]
    assert len(to) == len(set(to))
    return sorted(to)


@pytest.mark.parametrize("sender", CLUB)
def test_those_who_joined_get_it_wherever_they_are_and_nobody_else(sender: str) -> None:
    here = world(joined(g4="a2 b1"))
    assert reached(here, sender, multicast(here, sender, str(G4))) == sorted({"a2", "b1"} - {sender})


def test_what_only_others_hosts_joined_crosses_the_tunnel_and_what_only_this_host_did_does_not() -> None:
    here = world(joined(g4="b2"))
    assert reached(here, "a1", multicast(here, "a1", str(G4))) == ["b2"]
    here = world(joined(g4="a2"))
    walk = here.send("a1.eth0", multicast(here, "a1", str(G4)))
    assert {hop.switch for hop in walk.hops} == {"kvm1/br-weft"}


def test_ipv6_groups_are_restricted_too() -> None:
    here = world(joined(g6="a3 b2"))
    assert reached(here, "b1", multicast(here, "b1", str(G6))) == ["a3", "b2"]


def test_groups_are_told_apart_by_address_though_they_share_a_mac() -> None:
    here = world(joined(g4="a2"))
    assert multicast(here, "a1", str(G4))["eth_dst"] == multicast(here, "a1", str(OTHER))["eth_dst"]
    assert reached(here, "a1", multicast(here, "a1", str(OTHER))) == ["a2", "a3", "b1", "b2"]


def test_a_group_that_nobody_ever_joined_is_flooded() -> None:
    here = world({})
    assert reached(here, "a1", multicast(here, "a1", str(G4))) == ["a2", "a3", "b1", "b2"]


def test_a_group_that_all_have_left_goes_to_nobody() -> None:
    here = world(joined(g4=""))
    assert reached(here, "a1", multicast(here, "a1", str(G4))) == []


@pytest.mark.parametrize("group", ["224.0.0.251", "ff02::fb", "ff02::1:ff00:1"])
def test_what_is_for_the_link_goes_to_everybody_on_it(group: str) -> None:
    here = world(joined(g4="a2"))
    assert not restricted(ip_address(group))
    assert reached(here, "a1", multicast(here, "a1", group)) == ["a2", "a3", "b1", "b2"]


def test_a_multicast_router_gets_every_group_that_somebody_joined() -> None:
    here = world(joined(g4="a2"), {"club": ("b1.eth0",)})
    assert reached(here, "a1", multicast(here, "a1", str(G4))) == ["a2", "b1"]


def igmp(here: World, sender: str, group: str) -> Packet:
    plain = multicast(here, sender, group)
    return {name: value for name, value in plain.items() if not name.startswith("udp")} | {"ip_proto": 2}


def mld(here: World, sender: str, kind: int) -> Packet:
    plain = multicast(here, sender, "ff02::16")
    return {name: value for name, value in plain.items() if not name.startswith("udp")} | {"ip_proto": 58, "icmpv6_type": kind}


@pytest.mark.parametrize("routers", [(), ("a3.eth0",), ("b2.eth0",)])
def test_what_a_guest_says_of_groups_is_heard_by_multicast_routers_alone(routers: tuple[str, ...]) -> None:
    here = world({}, {"club": routers})
    wanted = [name.removesuffix(".eth0") for name in routers]
    assert reached(here, "a1", igmp(here, "a1", "224.0.0.22")) == wanted
    assert reached(here, "a1", igmp(here, "a1", str(G4))) == wanted
    assert [reached(here, "a1", mld(here, "a1", kind)) for kind in (131, 132, 143)] == [wanted] * 3


def test_who_asks_is_heard_by_everybody() -> None:
    here = world({})
    assert reached(here, "a1", igmp(here, "a1", "224.0.0.1")) == ["a2", "a3", "b1", "b2"]
    assert reached(here, "b1", mld(here, "b1", 130)) == ["a1", "a2", "a3", "b2"]


def test_a_router_may_ask_for_one_group_on_its_own_host() -> None:
    here = world({}, {"club": ("a1.eth0",)})
    assert reached(here, "a1", igmp(here, "a1", str(G4))) == ["a2", "a3"]


def test_the_uplink_of_a_bridged_segment_gets_everything() -> None:
    here = world(joined("lan", g4="lan2"))
    assert reached(here, "lan1", multicast(here, "lan1", str(G4))) == ["lan2", "outside"]
    assert reached(here, "lan1", igmp(here, "lan1", "224.0.0.22")) == ["outside"]
    here = world(joined("lan", g4="lan3"))
    assert reached(here, "lan1", multicast(here, "lan1", str(G4))) == ["lan3", "outside"]


def test_a_segment_that_does_not_snoop_floods() -> None:
    here = world(joined(g4="a2"))
    assert reached(here, "p1", multicast(here, "p1", str(G4))) == ["p2"]
    assert reached(here, "p1", igmp(here, "p1", "224.0.0.22")) == ["p2"]


def test_who_joins_changes_the_flows_of_one_group_alone() -> None:
    made = fabric(TEXT)
    compiler, known = Compiler(), facts(made)
    before = compiler.compile(made, replace(known, joined=joined(g4="a2", g6="a1")))  # type: ignore[arg-type]
    after = compiler.compile(made, replace(known, joined=joined(g4="a2 b1", g6="a1")))  # type: ignore[arg-type]
    changed = {key[1:] for dpid in before for key, unit in after[dpid].units.items() if before[dpid].units.get(key) is not unit}
    assert changed == {("group", "club", str(G4))}
