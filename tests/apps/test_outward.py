"""What leaves a host by its uplink and what comes back, walked: NAT, forwards, routed segments."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.fabrics import TWO_HOSTS, fabric, facts
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.facts import Facts
from weft.apps.flow import mac_number
from weft.apps.world import World
from weft.topology import names
from weft.topology.terms import Address

WAYS_OUT = (
    TWO_HOSTS
    + """
segments:
  office:
    mode: nat
    subnets: [192.168.122.0/24, "fd00:122::/64"]
    ra: false
    uplink: physnet
    forwards: [{listen: tcp/8080, to: web1.eth0, port: 80}]
  branch:
    mode: routed
    subnets: [192.168.2.0/24, "fd00:2::/64"]
    ra: false
    uplink: physnet
    routes: [{to: 10.20.0.0/16, via: 192.168.2.254}]
  public: {mode: routed, subnets: [203.0.113.128/25], uplink: physnet}
  db: {mode: isolated, subnets: [10.0.9.0/24]}
guests:
  web1: {host: kvm1, nics: [{segment: office, ip: [192.168.122.10, "fd00:122::10"]}]}
  app2: {host: kvm2, nics: [{segment: branch, ip: [192.168.2.20, "fd00:2::20"]}]}
  gate: {host: kvm2, nics: [{segment: branch, ip: 192.168.2.254, spoof: true}]}
  pub1: {host: kvm1, nics: [{segment: public, ip: 203.0.113.130}]}
  db1: {host: kvm1, nics: [{segment: db, ip: 10.0.9.4}]}
"""
)
OUT, H1 = ip_address("203.0.113.1"), ip_address("203.0.113.11")


def world(known: Facts | None = None) -> World:
    made = fabric(WAYS_OUT)
    known = known or facts(made)
    return World(made, Compiler().compile(made, known), known)


def heard(here: World, source: str, target: str, port: int = 80) -> list[str]:
    """Who gets what a station sends over TCP, with its address."""
    to = ip_address(target)
    hop = here.next_hop(source, to)
    if hop is None:
        return []
    sent = here.send(source, p.segment_of("tcp", here.stations[source].mac, hop[1], hop[0], to, 40000, port))
    mine = [d for d in sent.delivered if d.packet["eth_dst"] == mac_number(d.station.mac) and "@" not in d.station.name]
    return [f"{d.station.name} from {(p.addresses(d.packet) or ('',))[0]}" for d in mine]


@pytest.mark.parametrize(("source", "target", "port", "gets"), [
    ("web1.eth0", "203.0.113.1", 80, ["outside from 203.0.113.11"]),
    ("web1.eth0", "2001:db8::1", 80, ["outside from 2001:db8::11"]),
    ("outside", "203.0.113.11", 8080, ["web1.eth0 from 203.0.113.1"]),
    ("outside", "2001:db8::11", 8080, ["web1.eth0 from 2001:db8::1"]),
    ("outside", "203.0.113.11", 8081, ["kvm1 from 203.0.113.1"]),
    ("outside", "203.0.113.12", 8080, ["kvm2 from 203.0.113.1"]),
    ("web1.eth0", "203.0.113.11", 8080, ["web1.eth0 from 169.254.122.1"]),
    ("web1.eth0", "2001:db8::11", 8080, ["web1.eth0 from fd77:6566:7400::1"]),
    ("app2.eth0", "203.0.113.11", 8080, ["web1.eth0 from 169.254.122.1"]),
    ("app2.eth0", "203.0.113.1", 80, ["outside from 192.168.2.20"]),
    ("app2.eth0", "2001:db8::1", 80, ["outside from fd00:2::20"]),
    ("app2.eth0", "203.0.113.12", 80, ["kvm2 from 192.168.2.20"]),
    ("outside", "192.168.2.20", 80, ["app2.eth0 from 203.0.113.1"]),
    ("outside", "fd00:2::20", 80, ["app2.eth0 from 2001:db8::1"]),
    ("outside", "203.0.113.130", 80, ["pub1.eth0 from 203.0.113.1"]),
    ("outside", "10.20.0.1", 80, ["gate.eth0 from 203.0.113.1"]),
    ("kvm1", "192.168.2.20", 80, ["app2.eth0 from 203.0.113.11"]),
    ("kvm2", "203.0.113.130", 80, ["pub1.eth0 from 203.0.113.12"]),
])  # fmt: skip
def test_these_get_there(source: str, target: str, port: int, gets: list[str]) -> None:
    assert heard(world(), source, target, port) == gets


def test_without_an_ipv6_address_of_the_host_nothing_leaves_over_ipv6() -> None:
    known = facts(fabric(WAYS_OUT))
    without = Facts({wire: replace(fact, translate6=None) for wire, fact in known.uplinks.items()})
    for source in ("web1.eth0", "app2.eth0"):
        assert heard(world(without), source, "2001:db8::1") == []
        assert len(heard(world(without), source, "203.0.113.1")) == 1


def test_of_what_comes_out_of_the_namespace_only_routed_addresses_leave_as_they_are() -> None:
    here = world()
    mac, outside = here.stations["kvm1"].mac, here.stations["outside"].mac
    seen = {}
    for source in ("192.168.2.77", "10.20.1.1", "203.0.113.130", "192.168.122.10", "10.0.9.4"):
        packet = p.segment_of("tcp", mac, outside, ip_address(source), OUT, 40000, 80)
        walk = here.enter(("kvm1/wx-physnet", "x.physnet"), packet)
        seen[source] = {str((p.addresses(d.packet) or ("",))[0]) for d in walk.delivered}
    kept = {source for source, addresses in seen.items() if source in addresses}
    assert kept == {"192.168.2.77", "10.20.1.1", "203.0.113.130"}


def test_nobody_but_the_namespace_speaks_for_a_routed_guest() -> None:
    """A host answers for its own guests alone: the other one is silent."""
    here = world()
    outside = here.stations["outside"]
    asked = here.send("outside", p.question(outside.mac, OUT, ip_address("203.0.113.130")))
    answers = [d.packet for d in asked.delivered if d.packet.get("arp_op") == 2 and d.station == outside]
    assert [packet["eth_src"] for packet in answers] == [mac_number(here.stations["kvm1"].mac)]


@pytest.mark.parametrize("address", [H1, ip_address("2001:db8::11")])
def test_errors_of_the_namespace_leave_with_the_hosts_address(address: Address) -> None:
    """About a routed guest's packet, which is in no connection."""
    here = world()
    host, outside = here.stations["kvm1"], here.stations["outside"]
    six = address.version == 6
    own = names.exit_link_local(host.mac) if six else address
    target = outside.own[1] if six else outside.own[0]
    kind = {"icmpv6_type": 3, "icmpv6_code": 0} if six else {"icmp_type": 11, "icmp_code": 0}
    error = p.datagram(host.mac, outside.mac, own, target, 58 if six else 1, **kind)
    walk = here.enter(("kvm1/wx-physnet", "x.physnet"), error)
    assert [(p.addresses(d.packet) or ("",))[0] for d in walk.delivered if d.station == outside] == [address]


def test_a_forward_lays_nothing_on_other_hosts() -> None:
    made = fabric(WAYS_OUT)
    programs = Compiler().compile(made, facts(made))
    found = {
        host.name: sum(any(term.field == "tcp_dst" and term.value == 8080 for term in flow.match) for flow in programs[uplink.dpid].flows())
        for host in made.hosts.values()
        for uplink in host.uplinks.values()
    }
    assert found["kvm1"] > 0
    assert found["kvm2"] == 0


def test_a_router_is_wherever_its_uplink_is() -> None:
    """kvm1 has no guest of branch, and the physical network's route leads to kvm1."""
    here = world()
    outside, host = here.stations["outside"], here.stations["kvm1"]
    packet = p.segment_of("udp", outside.mac, host.mac, OUT, ip_address("192.168.2.20"), 40000, 53)
    assert "app2.eth0" in here.send("outside", packet).to
