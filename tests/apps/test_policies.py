"""Policies, walked: who may speak to whom, in which order, and what becomes of conversations when the file changes."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.fabrics import TWO_HOSTS, fabric, facts
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.flow import mac_number
from weft.apps.packet import Packet
from weft.apps.pipeline import PARTIES
from weft.apps.world import World

PEOPLE = (
    TWO_HOSTS
    + """
segments:
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
  db: {mode: isolated, subnets: [10.0.9.0/24]}
  shut: {mode: isolated, subnets: [10.0.8.0/24], policy: closed}
  six: {mode: isolated, subnets: ["fd00:9::/64"], ra: false}
  flat: {mode: bridged, uplink: physnet}
guests:
  web1: {host: kvm1, labels: {tier: web}, nics: [{segment: office, ip: 192.168.122.10}, {segment: db, ip: 10.0.9.4}]}
  web2: {host: kvm2, labels: {tier: web}, nics: [{segment: office, ip: 192.168.122.11}, {segment: db, ip: 10.0.9.7}]}
  db1: {host: kvm2, labels: {tier: db}, nics: [{segment: db, ip: 10.0.9.5}]}
  db2: {host: kvm1, labels: {tier: db}, nics: [{segment: db, ip: 10.0.9.6}]}
  shut1: {host: kvm1, nics: [{segment: shut, ip: 10.0.8.1/24}]}
  shut2: {host: kvm2, nics: [{segment: shut, ip: 10.0.8.2/24}]}
  shut3: {host: kvm1, nics: [{segment: shut, ip: 10.0.8.3/24}]}
  six1: {host: kvm1, labels: {tier: web}, nics: [{segment: six, ip: "fd00:9::11"}]}
  six2: {host: kvm2, labels: {tier: db}, nics: [{segment: six, ip: "fd00:9::12"}]}
  flat1: {host: kvm1, nics: [{segment: flat, ip: 203.0.113.51/24}]}
  flat2: {host: kvm2, nics: [{segment: flat, ip: 203.0.113.52/24}]}
"""
).replace("10.0.8.1/24}", "10.0.8.11}").replace("10.0.8.2/24}", "10.0.8.12}").replace("10.0.8.3/24}", "10.0.8.13}")


def people(*policies: str, gone: frozenset[str] = frozenset(), before: World | None = None) -> World:
    """The world under these policies; with `before`, what connections that one has."""
    made = fabric(PEOPLE + "policies:\n" + "".join(f"  - {{{text}}}\n" for text in policies) if policies else PEOPLE)
    known = replace(facts(made), expired=gone)
    here = World(made, Compiler().compile(made, known), known)
    if before is not None:
        here.inherit(before)
    return here


def station(name: str) -> str:
    return name if "." in name or name in ("outside", "kvm1", "kvm2") or "@" in name else f"{name}.eth0"


def packet(here: World, source: str, target: str, sport: int, dport: int, kind: str = "tcp") -> Packet:
    """From one guest to another in its segment, to outside by the gateway, or from outside."""
    me, to = here.stations[station(source)], here.stations[station(target)]
    mine = next(a for a in me.own if a.version == to.own[0].version)
    via = to
    if not any(to.own[0] in interface.network for interface in me.addresses):
        via = here.stations[f"{here.fabric.endpoints[me.name].segment}@{here.fabric.endpoints[me.name].host}"]
    if kind == "icmp":
        return p.echo(me.mac, via.mac, mine, to.own[0], p.ECHO_REPLY if sport < dport else p.ECHO_REQUEST)
    return p.segment_of(kind, me.mac, via.mac, mine, to.own[0], sport, dport)


def arrives(here: World, source: str, target: str, sport: int, dport: int, kind: str = "tcp") -> bool:
    return station(target) in here.send(station(source), packet(here, source, target, sport, dport, kind)).to


def talks(here: World, source: str, target: str, dport: int = 80, kind: str = "tcp") -> bool:
    """Whether a question arrives. If it does, so does its answer."""
    asker, asked = here.stations[station(source)], station(target)
    walk = here.send(asker.name, packet(here, source, target, 40000, dport, kind))
    for reached, arrived in walk.delivered:
        if reached.name == asked:
            assert asker.name in here.send(asked, back(reached.mac, arrived)).to, "no answer comes back"
            return True
    return False


def back(mac: str, arrived: Packet) -> Packet:
    """The answer to a TCP or UDP packet, from the station with that MAC."""
    pairs = [(f"{kind}_src", f"{kind}_dst") for kind in ("ip", "ipv6", "tcp", "udp") if f"{kind}_src" in arrived]
    turned = {one: arrived[other] for a, b in pairs for one, other in ((a, b), (b, a))}
    return {**arrived, **turned, "eth_src": mac_number(mac), "eth_dst": arrived["eth_src"], "nw_ttl": 64}


CASES = {
    "nothing is said": ([], [("web1.eth1", "db1", True), ("shut1", "shut2", False), ("web1", "outside", True)]),
    "deny a port to a guest": (
        ["name: a, deny: tcp/80, from: any, to: db1"],
        [("web1.eth1", "db1", False), ("db2", "db1", False), ("web1.eth1", "db2", True), ("db1", "db2", True)],
    ),
    "deny another port": (["name: a, deny: tcp/81, from: any, to: db1"], [("web1.eth1", "db1", True)]),
    "deny another protocol": (["name: a, deny: udp, from: any, to: db1"], [("web1.eth1", "db1", True)]),
    "deny a range": (["name: a, deny: tcp/70-90, from: any, to: db1"], [("web1.eth1", "db1", False)]),
    "deny from a guest": (
        ["name: a, deny: any, from: web1, to: db1"],
        [("web1.eth1", "db1", False), ("web2.eth1", "db1", True), ("db2", "db1", True)],
    ),
    "deny from an endpoint": (["name: a, deny: any, from: web1.eth0, to: db1"], [("web1.eth1", "db1", True)]),
    "labels to labels": (
        ["name: a, deny: tcp/80, from: {tier: web}, to: {tier: db}"],
        [
            ("web1.eth1", "db1", False), ("web1.eth1", "db2", False), ("web2.eth1", "db1", False), ("web2.eth1", "db2", False),
            ("db1", "db2", True), ("db2", "web1.eth1", True), ("six1", "six2", False), ("six2", "six1", True),
        ],
    ),
    "the first one wins": (
        ["name: a, allow: tcp/80, from: web1, to: db1", "name: b, deny: any, from: any, to: db1"],
        [("web1.eth1", "db1", True), ("web2.eth1", "db1", False), ("db2", "db1", False)],
    ),
    "the first one wins the other way round": (
        ["name: b, deny: any, from: any, to: db1", "name: a, allow: tcp/80, from: web1, to: db1"],
        [("web1.eth1", "db1", False)],
    ),
    "to a segment": (
        ["name: a, deny: tcp, from: any, to: db"],
        [("web1.eth1", "db1", False), ("db1", "db2", False), ("db2", "web2.eth1", False), ("web1", "web2", True)],
    ),
    "from a segment": (["name: a, deny: tcp, from: db, to: db1"], [("web1.eth1", "db1", False), ("db1", "web1.eth1", True)]),
    "from a network": (
        ["name: a, deny: tcp, from: 10.0.9.4/31, to: any"],
        [("web1.eth1", "db2", False), ("db1", "db2", False), ("db2", "db1", True)],
    ),
    "to a network": (
        ["name: a, deny: tcp, from: any, to: 10.0.9.4/31"],
        [("db2", "web1.eth1", False), ("db2", "db1", False), ("db1", "db2", True)],
    ),
    "to outside": (
        ["name: a, deny: tcp/80, from: web1, to: outside"],
        [("web1", "outside", False), ("web2", "outside", True), ("web1", "web2", True), ("web1.eth1", "db1", True)],
    ),
    "to a network outside": (
        ["name: a, deny: tcp/80, from: office, to: 203.0.113.0/30"],
        [("web1", "outside", False), ("web2", "outside", False), ("web1", "flat2", True)],
    ),
    "to any": (
        ["name: a, deny: tcp/80, from: web1, to: any"],
        [("web1", "outside", False), ("web1", "web2", False), ("web1.eth1", "db2", False), ("web2", "outside", True)],
    ),
    "from outside": (
        ["name: a, deny: tcp, from: outside, to: flat1"],
        [("outside", "flat1", False), ("outside", "flat2", True), ("flat2", "flat1", True), ("kvm1", "flat1", True)],
    ),
    "from a host": (
        ["name: a, deny: tcp, from: host, to: flat1"],
        [("kvm1", "flat1", False), ("kvm2", "flat1", False), ("outside", "flat1", True), ("flat2", "flat1", True)],
    ),
    "from one host": (["name: a, deny: tcp, from: kvm2, to: flat1"], [("kvm1", "flat1", True), ("kvm2", "flat1", False)]),
    "to a host": (
        ["name: a, deny: tcp, from: flat1, to: host"],
        [("flat1", "kvm1", False), ("flat1", "kvm2", False), ("flat1", "outside", True), ("flat2", "kvm1", True)],
    ),
    "a guest behind NAT to one on the wire": (
        ["name: a, deny: tcp, from: web1, to: flat2"],
        [("web1", "flat2", False), ("web2", "flat2", True), ("web1", "flat1", True), ("web1", "outside", True)],
    ),
    "IPv6": (["name: a, deny: tcp/80, from: six, to: six2"], [("six1", "six2", False), ("six2", "six1", True)]),
    "an IPv6 network": (["name: a, deny: tcp/80, from: 'fd00:9::11', to: any"], [("six1", "six2", False), ("six2", "six1", True)]),
    "into a closed segment": (
        ["name: a, allow: tcp/80, from: shut1, to: shut2"],
        [("shut1", "shut2", True), ("shut2", "shut1", False), ("shut3", "shut2", False), ("shut1", "shut3", False)],
    ),
    "an audit decides nothing": (
        ["name: a, audit: any, from: any, to: any"],
        [("web1.eth1", "db1", True), ("web1", "outside", True), ("shut1", "shut2", False)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_policies_decide(case: str) -> None:
    policies, answers = CASES[case]
    here = people(*policies)
    assert [(a, b, talks(here, a, b)) for a, b, _ in answers] == answers


def test_pings_are_icmp_and_nothing_else() -> None:
    here = people("name: a, deny: icmp, from: any, to: db1")
    assert not here.pings("db2.eth0", ip_address("10.0.9.5"))
    assert here.pings("db1.eth0", ip_address("10.0.9.6"))
    assert talks(here, "db2", "db1")


def test_what_a_closed_guest_asks_is_answered() -> None:
    here = people("name: a, allow: tcp/80, from: shut1, to: shut2")
    assert talks(here, "shut1", "shut2")
    assert not arrives(here, "shut2", "shut1", 81, 40000)


def test_a_changed_policy_cuts_what_is_established_both_ways_and_lets_it_go_on() -> None:
    before = people("name: a, allow: tcp/80, from: web1, to: db1")
    assert talks(before, "web1.eth1", "db1")
    cut = people("name: a, deny: tcp/80, from: web1, to: db1", before=before)
    assert not arrives(cut, "web1.eth1", "db1", 40000, 80)
    assert not arrives(cut, "db1", "web1.eth1", 80, 40000)
    again = people("name: a, allow: tcp/80, from: web1, to: db1", before=cut)
    assert arrives(again, "db1", "web1.eth1", 80, 40000)
    assert arrives(again, "web1.eth1", "db1", 40000, 80)


@pytest.mark.parametrize("first", ["client", "server"])
def test_tcp_that_was_under_way_is_cut_by_its_endpoints_first_policy_whoever_speaks_first(first: str) -> None:
    def passes(here: World, source: str, target: str, sport: int, dport: int) -> bool:
        sent = {**packet(here, source, target, sport, dport), "tcp_flags": p.ACK}
        return station(target) in here.send(station(source), sent).to

    before = people("name: a, deny: udp, from: any, to: six1")
    assert talks(before, "web1.eth1", "db1")
    cut = people("name: a, deny: tcp/80, from: web1, to: db1", before=before)
    if first == "server":
        passes(cut, "db1", "web1.eth1", 80, 40000)
    assert not passes(cut, "web1.eth1", "db1", 40000, 80)
    let = people("name: a, deny: tcp/81, from: web1, to: db1", before=before)
    assert passes(let, "db1", "web1.eth1", 80, 40000) and passes(let, "web1.eth1", "db1", 40000, 80)


def test_an_icmp_error_is_judged_as_the_connection_that_it_is_about() -> None:
    here = people("name: a, allow: udp/53, from: shut1, to: shut2")
    question = packet(here, "shut1", "shut2", 40000, 53, "udp")
    one, two = here.stations["shut1.eth0"], here.stations["shut2.eth0"]
    assert here.send("shut1.eth0", question).to == ("shut2.eth0",)
    assert here.send("shut2.eth0", p.error(question, two.mac, one.mac, two.own[0])).to == ("shut1.eth0",)
    other = packet(here, "shut1", "shut2", 40001, 53, "udp")
    assert here.send("shut2.eth0", p.error(other, two.mac, one.mac, two.own[0])).to == ()


def test_a_broadcast_enters_a_closed_segments_guest_where_a_policy_says_so_alone() -> None:
    def heard(here: World) -> tuple[str, ...]:
        me = here.stations["shut1.eth0"]
        sent = p.segment_of("udp", me.mac, p.BROADCAST, me.own[0], ip_address("10.0.8.255"), 1000, 5353)
        return tuple(sorted(here.send("shut1.eth0", sent).to))

    assert heard(people()) == ()
    assert heard(people("name: a, allow: udp/5353, from: shut, to: shut3")) == ("shut3.eth0",)
    assert heard(people("name: a, allow: udp/5353, from: shut, to: shut")) == ("shut2.eth0", "shut3.eth0")


def test_neighbours_are_found_whatever_policies_say() -> None:
    here = people("name: a, deny: any, from: any, to: any")
    for source, target in (("db1", "db2"), ("six1", "six2"), ("shut1", "shut2")):
        me, to = here.stations[station(source)], here.stations[station(target)]
        assert here.ask(me.name, p.question(me.mac, me.own[0], to.own[0])) is not None


def test_a_gateway_may_ask_a_closed_guest() -> None:
    here = people()
    gateway, guest = here.stations["shut@kvm1"], here.stations["shut1.eth0"]
    assert here.send(gateway.name, p.echo(gateway.mac, guest.mac, gateway.own[0], guest.own[0])).to == ("shut1.eth0",)
    assert here.pings("shut1.eth0", gateway.own[0])


def test_a_policy_is_over_when_its_time_is() -> None:
    text = "name: a, deny: tcp/80, from: any, to: db1, until: 2026-01-01T00:00Z"
    assert not talks(people(text), "db2", "db1")
    assert talks(people(text, gone=frozenset({"a"})), "db2", "db1")


def test_only_those_whom_something_concerns_are_followed() -> None:
    here = people("name: a, deny: tcp/80, from: web1, to: db1")
    for source, target, followed in (("db2", "web1.eth1", False), ("db2", "db1", True)):
        hops = here.send(station(source), packet(here, source, target, 40000, 80)).hops
        assert any(hop.table == PARTIES.number and hop.switch.endswith("br-weft") for hop in hops) == followed


ROUTED = (
    TWO_HOSTS
    + """
segments:
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
  lab: {mode: nat, subnets: [192.168.123.0/24], uplink: physnet}
  branch: {mode: routed, subnets: [192.168.2.0/24], uplink: physnet}
  other: {mode: routed, subnets: [192.168.3.0/24], uplink: physnet}
guests:
  off1: {host: kvm1, nics: [{segment: office, ip: 192.168.122.10}]}
  off2: {host: kvm2, nics: [{segment: office, ip: 192.168.122.11}]}
  lab1: {host: kvm1, nics: [{segment: lab, ip: 192.168.123.10}]}
  bra1: {host: kvm1, nics: [{segment: branch, ip: 192.168.2.10}]}
  bra2: {host: kvm2, nics: [{segment: branch, ip: 192.168.2.11}]}
  oth1: {host: kvm1, nics: [{segment: other, ip: 192.168.3.10}]}
"""
)
BETWEEN = {
    "nothing is said": ([], [
        ("bra1", "off1", False), ("bra1", "off2", False), ("bra2", "off1", False), ("lab1", "off1", False), ("off1", "lab1", False),
        ("off1", "bra1", True), ("off1", "bra2", True), ("off2", "bra1", True), ("bra1", "oth1", True), ("oth1", "bra2", True),
        ("off1", "off2", True),
    ]),
    "a guest is let into a nat segment": (["name: a, allow: tcp/80, from: bra1, to: office"], [
        ("bra1", "off1", True), ("bra1", "off2", True), ("bra2", "off1", False), ("bra2", "off2", False), ("bra1", "lab1", False),
    ]),
    "a segment is kept from another": (["name: a, deny: any, from: office, to: branch"], [
        ("off1", "bra1", False), ("off2", "bra1", False), ("off1", "oth1", True), ("oth1", "bra1", True),
    ]),
    "to a network": (["name: a, deny: any, from: any, to: 192.168.2.0/28"], [("off1", "bra1", False), ("off2", "bra2", False)]),
    "outside is neither": (["name: a, deny: any, from: outside, to: any", "name: b, deny: any, from: any, to: outside"], [
        ("off1", "bra1", True), ("bra1", "oth1", True),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("case", BETWEEN)
def test_between_segments(case: str) -> None:
    policies, answers = BETWEEN[case]
    made = fabric(ROUTED + ("policies:\n" + "".join(f"  - {{{text}}}\n" for text in policies) if policies else ""))
    here = World(made, Compiler().compile(made, facts(made)), facts(made))
    assert [(a, b, talks(here, a, b)) for a, b, _ in answers] == answers


def test_a_question_between_segments_that_is_denied_lets_no_answer_through() -> None:
    made = fabric(ROUTED)
    here = World(made, Compiler().compile(made, facts(made)), facts(made))
    assert not talks(here, "bra1", "off2")
    assert not arrives(here, "bra1", "off2", 80, 40000)
    assert arrives(here, "off2", "bra1", 40000, 80) and arrives(here, "bra1", "off2", 80, 40000)


def test_what_is_the_same_as_before_is_not_made_anew() -> None:
    compiler = Compiler()
    texts = ("allow: tcp/80-90, from: {tier: web}, to: {tier: db}", "allow: tcp/80-90, from: {tier: web}, to: {tier: db}")
    made = [fabric(PEOPLE + f"policies: [{{name: a, {text}}}, {{name: b, deny: any, from: any, to: db1}}]\n") for text in texts]
    first, second = (compiler.compile(each, facts(each)) for each in made)
    for dpid, program in first.items():
        assert all(second[dpid].units[name] is unit for name, unit in program.units.items())


@pytest.mark.parametrize(
    ("policy", "answers"),
    [
        ("from: host, to: db1", [("db2", "db1", False), ("web1.eth1", "db1", True), ("db1", "db2", True)]),
        ("from: any, to: host", [("db1", "db2", False), ("db2", "db1", True), ("web1.eth1", "db1", True)]),
    ],
)
def test_a_hosts_own_endpoint_in_a_segment_is_the_host(policy: str, answers: list[tuple[str, str, bool]]) -> None:
    guests = fabric(PEOPLE + f"policies: [{{name: a, deny: tcp, {policy}}}]\n")
    made = replace(guests, endpoints={**guests.endpoints, "db2.eth0": replace(guests.endpoints["db2.eth0"], attach="host")})
    here = World(made, Compiler().compile(made, facts(made)), facts(made))
    assert [(a, b, talks(here, a, b)) for a, b, _ in answers] == answers


def test_a_closed_guest_on_the_wire_is_known_by_its_port_alone() -> None:
    text = PEOPLE.replace("flat: {mode: bridged,", "flat: {mode: bridged, policy: closed,").replace(", ip: 203.0.113.52/24", "")
    made = fabric(text + "policies: [{name: a, allow: tcp/22, from: outside, to: flat2}]\n")
    here = World(made, Compiler().compile(made, facts(made)), facts(made))
    outside, guest = here.stations["outside"], here.stations["flat2.eth0"]
    for port, enters in ((22, True), (80, False)):
        sent = p.segment_of("tcp", outside.mac, guest.mac, outside.own[0], ip_address("203.0.113.99"), 40000, port)
        assert ("flat2.eth0" in here.send("outside", sent).to) == enters
    asks = p.segment_of("tcp", guest.mac, outside.mac, ip_address("203.0.113.99"), outside.own[0], 40000, 80)
    (reached,) = [packet for station, packet in here.send("flat2.eth0", asks).delivered if station.name == "outside"]
    assert "flat2.eth0" in here.send("outside", back(outside.mac, reached)).to
