"""An address that several guests share: who gets a connection, and what comes back."""

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fabrics import TWO_HOSTS, fabric, facts
from weft.apps import packet as p
from weft.apps.compile import Compiler, check_program
from weft.apps.flow import Group
from weft.apps.packet import Packet
from weft.apps.pipeline import STICKY
from weft.apps.sharing import members_of
from weft.apps.stations import Delivery
from weft.apps.world import World

SHOP = (
    TWO_HOSTS.replace("lab:", "  kvm3: {address: 10.10.10.3/24, uplinks: {physnet: {nics: [nic0]}}}\nlab:")
    + """
segments:
  office: {mode: routed, subnets: [192.168.122.0/24], uplink: physnet}
  branch: {mode: routed, subnets: [192.168.2.0/24], uplink: physnet}
  six: {mode: isolated, subnets: ["fd00:9::/64"], ra: false}
guests:
  web1: {host: kvm1, labels: {tier: web}, nics: [{segment: office, ip: 192.168.122.11}]}
  web2: {host: kvm2, labels: {tier: web}, nics: [{segment: office, ip: 192.168.122.12}]}
  web3: {host: kvm2, labels: {tier: web}, nics: [{segment: office, ip: 192.168.122.13}]}
  near: {host: kvm1, nics: [{segment: office, ip: 192.168.122.21}]}
  far: {host: kvm2, nics: [{segment: office, ip: 192.168.122.22}]}
  branch1: {host: kvm1, nics: [{segment: branch, ip: 192.168.2.31}]}
  branch2: {host: kvm2, nics: [{segment: branch, ip: 192.168.2.32}]}
  branch3: {host: kvm3, nics: [{segment: branch, ip: 192.168.2.33}]}
  six1: {host: kvm1, labels: {tier: six}, nics: [{segment: six, ip: "fd00:9::11"}]}
  six2: {host: kvm2, nics: [{segment: six, ip: "fd00:9::12"}]}
services:
  - {name: shop, address: 192.168.122.200, listen: tcp/80, port: 8080, to: {tier: web}}
  - {name: stay, address: 192.168.122.201, listen: tcp/80, port: 8080, to: {tier: web}, sticky: client}
  - {name: names, segment: office, address: 192.168.122.200, listen: udp/53, to: {tier: web}}
  - {name: own, address: 192.168.122.202, listen: tcp/80, to: web1}
  - {name: also, address: 192.168.122.202, listen: tcp/81, port: 80, to: web1.eth0}
  - {name: six, address: "fd00:9::c8", listen: tcp/80, to: {tier: six}, sticky: client}
"""
)
BRANCHES = ["branch1.eth0", "branch2.eth0", "branch3.eth0"]
WEBS = ["web1.eth0", "web2.eth0", "web3.eth0"]
SHOP_AT, STAY_AT = ip_address("192.168.122.200"), ip_address("192.168.122.201")
ASKING = st.tuples(st.sampled_from(["near.eth0", "far.eth0", *BRANCHES, *WEBS]), st.sampled_from([SHOP_AT, STAY_AT]), st.integers(1024, 65535))


class Shop:
    """The world of SHOP, and clients in it."""

    def __init__(self, *dead: tuple[str, str], text: str = SHOP) -> None:
        made = fabric(text)
        known = replace(facts(made), dead=frozenset(dead))
        self.programs = Compiler().compile(made, known)
        for program in self.programs.values():
            check_program(program)
        self.world = World(made, self.programs, known)

    def packet(self, client: str, address: str, port: int, source_port: int = 40000, kind: str = "tcp") -> Packet:
        me, to = self.world.stations[client], ip_address(address)
        own = next(own for own in me.own if own.version == to.version)
        gateway = self.world.fabric.segments[self.world.fabric.endpoints[client].segment].gateway_mac
        return p.segment_of(kind, me.mac, gateway, own, to, source_port, port)

    def connect(self, client: str, address: str, port: int = 80, source_port: int = 40000, kind: str = "tcp") -> Delivery:
        """Where the first packet of a connection arrives: at one place."""
        (delivery,) = self.world.send(client, self.packet(client, address, port, source_port, kind)).delivered
        return delivery

    def answer(self, delivery: Delivery) -> Delivery:
        """Where its answer arrives."""
        reply = backwards(delivery.packet)
        (back,) = self.world.send(delivery.station.name, reply).delivered
        return back


def backwards(packet: Packet) -> Packet:
    swapped = {"eth_src": packet["eth_dst"], "eth_dst": packet["eth_src"]}
    for one, other in (("ip_src", "ip_dst"), ("ipv6_src", "ipv6_dst"), ("tcp_src", "tcp_dst"), ("udp_src", "udp_dst")):
        if one in packet:
            swapped |= {one: packet[other], other: packet[one]}
    return {**packet, **swapped}


def ends(packet: Packet) -> tuple[str, int, str, int]:
    source, target = p.addresses(packet) or ("", "")
    sport, dport = next((packet[a], packet[b]) for a, b in (("tcp_src", "tcp_dst"), ("udp_src", "udp_dst")) if a in packet)
    return str(source), sport, str(target), dport


@pytest.mark.parametrize("client", ["near.eth0", "far.eth0"])
def test_the_gateway_answers_for_a_shared_address(client: str) -> None:
    world = Shop().world
    me = world.stations[client]
    found = world.ask(client, p.question(me.mac, me.own[0], SHOP_AT))
    assert found is not None
    assert found["arp_sha"] == found["eth_src"] == int(world.fabric.segments["office"].gateway_mac.replace(":", ""), 16)
    assert world.pings(client, SHOP_AT)


@pytest.mark.parametrize("client", ["near.eth0", "far.eth0", *BRANCHES])
def test_connections_are_spread_over_all_members_and_come_with_the_clients_own_address(client: str) -> None:
    shop = Shop()
    reached = Counter()
    for source_port in range(40000, 40090):
        arrived = shop.connect(client, "192.168.122.200", source_port=source_port)
        reached[arrived.station.name] += 1
        own = shop.world.stations[client].own[0]
        assert ends(arrived.packet) == (str(own), source_port, str(arrived.station.own[0]), 8080)
    assert sorted(reached) == WEBS
    assert min(reached.values()) >= 15


@pytest.mark.parametrize("client", ["near.eth0", "far.eth0", *BRANCHES])
def test_answers_come_from_the_shared_address(client: str) -> None:
    shop = Shop()
    own = str(shop.world.stations[client].own[0])
    for source_port in range(40000, 40012):
        arrived = shop.connect(client, "192.168.122.200", source_port=source_port)
        back = shop.answer(arrived)
        assert back.station.name == client
        assert ends(back.packet) == ("192.168.122.200", 80, own, source_port)


def test_a_connection_stays_with_its_member() -> None:
    shop = Shop()
    first = shop.connect("near.eth0", "192.168.122.200")
    for _ in range(3):
        shop.answer(first)
        assert shop.connect("near.eth0", "192.168.122.200") == first


def test_a_direct_connection_to_a_member_is_unharmed() -> None:
    shop = Shop()
    web, near = shop.world.stations["web2.eth0"], shop.world.stations["near.eth0"]
    shop.connect("near.eth0", "192.168.122.200")
    direct = p.segment_of("tcp", near.mac, web.mac, near.own[0], web.own[0], 41000, 8080)
    (arrived,) = shop.world.send("near.eth0", direct).delivered
    assert arrived.station == web
    assert ends(shop.answer(arrived).packet) == ("192.168.122.12", 8080, "192.168.122.21", 41000)


def test_udp_is_shared_too() -> None:
    shop = Shop()
    arrived = shop.connect("near.eth0", "192.168.122.200", 53, kind="udp")
    assert arrived.station.name in WEBS
    assert ends(shop.answer(arrived).packet) == ("192.168.122.200", 53, "192.168.122.21", 40000)


def test_another_port_of_a_shared_address_is_the_gateways_own_business() -> None:
    arrived = Shop().connect("near.eth0", "192.168.122.200", 81)
    assert arrived.station.name == "office@kvm1"


def test_ipv6_is_shared_too() -> None:
    shop = Shop()
    world = shop.world
    me = world.stations["six2.eth0"]
    assert world.ask("six2.eth0", p.question(me.mac, me.own[0], ip_address("fd00:9::c8")))
    arrived = shop.connect("six2.eth0", "fd00:9::c8")
    assert arrived.station.name == "six1.eth0"
    assert ends(arrived.packet) == ("fd00:9::12", 40000, "fd00:9::11", 80)
    assert ends(shop.answer(arrived).packet) == ("fd00:9::c8", 80, "fd00:9::12", 40000)


@pytest.mark.parametrize("port", [80, 81])
def test_a_member_reaches_itself_by_the_shared_address(port: int) -> None:
    """And sees that address as its client, or it would answer to itself inside."""
    shop = Shop()
    for _ in range(2):
        arrived = shop.connect("web1.eth0", "192.168.122.202", port)
        assert arrived.station.name == "web1.eth0"
        assert ends(arrived.packet) == ("192.168.122.202", 40000, "192.168.122.11", 80)
        back = shop.answer(arrived)
        assert back.station.name == "web1.eth0"
        assert ends(back.packet) == ("192.168.122.202", port, "192.168.122.11", 40000)


def test_a_dead_member_gets_no_new_connection() -> None:
    shop = Shop(("shop", "web1.eth0"), ("shop", "web3.eth0"))
    assert {shop.connect("near.eth0", "192.168.122.200", source_port=n).station.name for n in range(40000, 40030)} == {"web2.eth0"}


def test_while_no_member_lives_the_gateway_refuses() -> None:
    shop = Shop(*(("shop", web) for web in WEBS), *(("stay", web) for web in WEBS))
    for address in ("192.168.122.200", "192.168.122.201"):
        assert shop.connect("near.eth0", address).station.name == "office@kvm1"


def test_a_client_stays_with_its_member_over_connections() -> None:
    shop = Shop()
    for client in ("near.eth0", "far.eth0", *BRANCHES):
        assert len({shop.connect(client, "192.168.122.201", source_port=n).station.name for n in range(40000, 40020)}) == 1


def test_a_client_of_a_dead_member_gets_another_and_stays_with_that() -> None:
    """The switch remembers (the world's switches keep what they learned); only the program changes."""
    shop = Shop()
    before = shop.connect("near.eth0", "192.168.122.201").station.name
    after = Shop(("stay", before))
    learned = shop.world._switches["kvm1/br-weft"]._tables[STICKY.number]
    after.world._switches["kvm1/br-weft"]._tables[STICKY.number] = learned
    reached = {after.connect("near.eth0", "192.168.122.201", source_port=n).station.name for n in range(41000, 41020)}
    assert len(reached) == 1
    assert before not in reached


def test_the_death_of_a_member_changes_its_services_flows_alone() -> None:
    made = fabric(SHOP)
    compiler, known = Compiler(), facts(made)
    before = compiler.compile(made, known)
    after = compiler.compile(made, replace(known, dead=frozenset({("shop", "web1.eth0")})))
    for dpid, program in before.items():
        changed = {key[1:] for key, unit in program.units.items() if after[dpid].units.get(key) is not unit}
        assert changed <= {("share", "shop")}


def test_group_numbers_and_members_do_not_depend_on_other_services() -> None:
    one = fabric(SHOP.replace("  - {name: names, segment: office, address: 192.168.122.200, listen: udp/53, to: {tier: web}}\n", ""))
    both = fabric(SHOP)
    assert {service.name: service.id for service in one.services}.items() <= {service.name: service.id for service in both.services}.items()


def test_no_flow_or_group_speaks_of_a_host_without_clients() -> None:
    made = fabric(SHOP.replace("six1: {host: kvm1", "six1: {host: kvm2"))
    program = Compiler().compile(made, facts(made))[made.hosts["kvm1"].dpid]
    six = next(service.id for service in made.services if service.name == "six")
    assert six not in {group.number for group in program.groups if isinstance(group, Group)}


@settings(max_examples=25, deadline=None)
@given(st.lists(ASKING, max_size=12))
def test_whoever_asks_whom_from_where_the_answer_comes_from_whom_was_asked(asked: list[tuple[str, object, int]]) -> None:
    shop = Shop()
    for client, address, source_port in dict.fromkeys(asked):
        arrived = shop.connect(client, str(address), source_port=source_port)
        assert arrived.station.name in WEBS
        back = shop.answer(arrived)
        assert back.station.name == client
        assert ends(back.packet)[:3] == (str(address), 80, str(shop.world.stations[client].own[0]))


def test_a_closed_segment_lets_in_by_a_shared_address_whom_a_policy_lets_in() -> None:
    closed = SHOP.replace("office: {mode: routed,", "office: {mode: routed, policy: closed,")
    shop = Shop(text=closed + "policies:\n  - {name: a, allow: tcp/8080, from: branch, to: {tier: web}}\n")
    for client in BRANCHES:
        arrived = shop.connect(client, "192.168.122.200")
        back = shop.answer(arrived)
        assert back.station.name == client and ends(back.packet)[0] == "192.168.122.200"
    for client in ("near.eth0", "far.eth0"):
        assert shop.world.send(client, shop.packet(client, "192.168.122.200", 80)).to == ()


def test_a_host_that_is_gone_takes_its_members_along() -> None:
    made = fabric(SHOP)
    gone = members_of(made, {"kvm2"})
    assert {member for service, member in gone if service == "shop"} == {"web2.eth0", "web3.eth0"}
    shop = Shop(*gone)
    assert {shop.connect("near.eth0", "192.168.122.200", source_port=n).station.name for n in range(40000, 40010)} == {"web1.eth0"}


def test_the_gateway_may_ask_members_of_a_closed_segment_whether_they_live() -> None:
    shop = Shop(text=SHOP.replace("office: {mode: routed,", "office: {mode: routed, policy: closed,"))
    gateway, web = shop.world.stations["office@kvm1"], shop.world.stations["web1.eth0"]
    probe = p.segment_of("tcp", gateway.mac, web.mac, gateway.own[0], web.own[0], 40000, 8080)
    (asked,) = shop.world.send("office@kvm1", probe).delivered
    assert shop.answer(asked).station == gateway
