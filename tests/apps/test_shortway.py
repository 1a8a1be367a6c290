"""The short way out of a translated segment: who takes it, who does not, and who cannot pretend to."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.fabrics import TWO_HOSTS, fabric, facts
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.facts import Facts
from weft.apps.flow import Flow, mac_number
from weft.apps.packet import Packet
from weft.apps.stations import OUTSIDE_MAC, Walk
from weft.apps.world import World

OFFICE = (
    TWO_HOSTS
    + """
segments:
  office: {mode: nat, subnets: [192.168.122.0/24, "fd00:122::/64"], ra: false, uplink: physnet}
  branch: {mode: routed, subnets: [192.168.2.0/24], uplink: physnet}
  flat: {mode: bridged, uplink: physnet}
guests:
  web1: {host: kvm1, nics: [{segment: office, ip: [192.168.122.10, "fd00:122::10"]}]}
  web2: {host: kvm2, nics: [{segment: office, ip: 192.168.122.11}]}
  app1: {host: kvm1, nics: [{segment: branch, ip: 192.168.2.10}]}
  near: {host: kvm1, nics: [{segment: flat, ip: 203.0.113.51/24}]}
  rogue: {host: kvm1, nics: [{segment: flat, spoof: true}]}
"""
)
FAR, FAR6, GATEWAY, GATEWAY6 = "198.18.0.1", "2001:db8:18::1", "203.0.113.1", "2001:db8::1"
HOPS = ((ip_address(GATEWAY), OUTSIDE_MAC), (ip_address(GATEWAY6), OUTSIDE_MAC))
BESIDE = (ip_network("203.0.113.0/24"), ip_network("2001:db8::/64"))
KERNEL = "office@kvm1"


def told(**change: object) -> Facts:
    """As hosts report them once their gateway has answered."""
    known = facts(fabric(OFFICE))
    wires = {wire: replace(fact, **{"hops": HOPS, "beside": BESIDE, **change}) for wire, fact in known.uplinks.items()}  # type: ignore[arg-type]
    return replace(known, uplinks=wires)


def world(known: Facts | None = None, text: str = OFFICE) -> World:
    made = fabric(text)
    return World(made, Compiler().compile(made, known or told()), known or told())


def said(here: World, target: str, kind: str = "tcp", source: str = "web1.eth0", port: int = 80, **more: int) -> Packet:
    """What a guest sends off its segment."""
    to, me = ip_address(target), here.stations[source]
    own = next(address for address in me.own if address.version == to.version)
    gateway = here.fabric.segments["office"].gateway_mac
    packet = p.echo(me.mac, gateway, own, to) if kind == "icmp" else p.segment_of(kind, me.mac, gateway, own, to, 20000, port)
    return {**packet, **more}


def takes(walk: Walk) -> list[str]:
    """Who gets it as its receiver, in turn."""
    return [delivery.station.name for delivery in walk.delivered if delivery.packet["eth_dst"] == mac_number(delivery.station.mac)]


def answer(here: World, walk: Walk, **more: int) -> Packet:
    """What `outside` says to the first that reached it."""
    packet = next(delivery.packet for delivery in walk.delivered if delivery.station.name == "outside")
    source, target = (str(address) for address in p.addresses(packet) or ())
    back = p.segment_of("tcp", OUTSIDE_MAC, packet["eth_src"], ip_address(target), ip_address(source), 80, packet["tcp_src"], p.SYN | p.ACK)
    return {**back, **more}


@pytest.mark.parametrize(("target", "kind", "kernel"), [
    (FAR, "tcp", False), (FAR, "udp", False), (FAR6, "tcp", False), (FAR6, "udp", False), (GATEWAY, "tcp", False), (GATEWAY6, "udp", False),
    (FAR, "icmp", True), (FAR6, "icmp", True), ("203.0.113.12", "tcp", True), ("203.0.113.51", "tcp", True), ("192.168.122.99", "tcp", True),
    ("192.168.2.99", "tcp", True), ("169.254.122.1", "tcp", True), ("224.0.0.5", "udp", True), ("2001:db8::12", "tcp", True),
])  # fmt: skip
def test_what_goes_by_the_gateway_outside_needs_no_kernel_and_all_else_does(target: str, kind: str, kernel: bool) -> None:
    here = world()
    assert (KERNEL in here.send("web1.eth0", said(here, target, kind)).to) is kernel


@pytest.mark.parametrize(("target", "own"), [(FAR, "203.0.113.11"), (FAR6, "2001:db8::11")])
def test_it_leaves_as_the_kernel_would_send_it(target: str, own: str) -> None:
    here, slow = world(), world(told(hops=()))
    seen = []
    for each in (here, slow):
        walk = each.send("web1.eth0", said(each, target))
        seen += [delivery.packet for delivery in walk.delivered if delivery.station.name == "outside"]
    known = ("eth_src", "eth_dst", "nw_ttl", "ip_src", "ipv6_src", "ip_dst", "ipv6_dst", "tcp_src", "tcp_dst")
    assert len(seen) == 2
    assert [seen[0].get(name) for name in known] == [seen[1].get(name) for name in known]
    assert str((p.addresses(seen[0]) or ("",))[0]) == own


@pytest.mark.parametrize("target", [FAR, FAR6])
def test_an_answer_comes_home_as_the_kernel_would_bring_it(target: str) -> None:
    seen = []
    for here in (world(), world(told(hops=()))):
        back = here.send("outside", answer(here, here.send("web1.eth0", said(here, target))))
        assert KERNEL not in back.to
        seen += [delivery.packet for delivery in back.delivered if delivery.station.name == "web1.eth0"]
    assert len(seen) == 2
    assert {name: seen[0].get(name) for name in p.frame("0", 0, 0)} == {name: seen[1].get(name) for name in p.frame("0", 0, 0)}
    assert [packet["nw_ttl"] for packet in seen] == [63, 63]
    assert seen[0]["eth_src"] == mac_number(here.fabric.segments["office"].gateway_mac)


@pytest.mark.parametrize(("change", "direct"), [({}, True), ({"octets": 1456}, True), ({"octets": 1457}, False), ({"nw_ttl": 1}, False)])
def test_what_the_kernel_has_something_to_say_about_goes_to_the_kernel(change: Packet, direct: bool) -> None:
    """An answer that its guest's interface is too small for, or that has come too far."""
    here = world()
    back = here.send("outside", answer(here, here.send("web1.eth0", said(here, FAR)), **change))
    assert ("x.physnet" not in _outputs(back)) is direct


def _outputs(walk: Walk) -> set[str]:
    """Ports by name that flows on the way sent to."""
    named = (action.port for hop in walk.hops if hop.flow for action in hop.flow.actions if hasattr(action, "port"))
    return {port.name for port in named if hasattr(port, "name")}


def test_a_packet_whose_time_is_over_goes_to_the_kernel() -> None:
    here = world()
    assert here.send("web1.eth0", said(here, FAR, nw_ttl=1)).to == (KERNEL,)


def test_as_long_as_no_gateway_is_known_all_goes_by_the_kernel() -> None:
    here = world(told(hops=()))
    assert takes(here.send("web1.eth0", said(here, FAR))) == [KERNEL, "outside"]


def test_a_segment_with_a_router_for_everything_has_no_short_way() -> None:
    routes = OFFICE.replace("subnets: [192.168.2.0/24]", 'subnets: [192.168.2.0/24], routes: [{to: "0.0.0.0/0", via: 192.168.2.10}]')
    here = world(text=routes)
    assert KERNEL in here.send("web1.eth0", said(here, FAR)).to


def test_a_guest_that_a_tunnels_end_would_take_for_a_host_is_not_heard() -> None:
    """Behind the gateway as well, where the fabric's hosts are on several networks."""
    here = world(text=OFFICE.replace("10.10.10.2/24", "198.18.9.2/24"))
    assert here.send("web1.eth0", said(here, "198.18.9.2", "udp", port=6081)).to == ()
    assert takes(here.send("web1.eth0", said(here, "198.18.9.2", "udp", port=6080))) == ["outside"]


def test_nobody_on_the_wire_or_beside_it_wears_the_gateways_mac() -> None:
    here = world()
    office, web1 = here.fabric.segments["office"], here.stations["web1.eth0"]
    to_guest = p.segment_of("tcp", office.gateway_mac, web1.mac, ip_address(FAR), web1.own[0], 80, 20000)
    outward = p.segment_of("tcp", office.gateway_mac, office.gateway_mac, web1.own[0], ip_address(FAR), 20000, 80)
    question = p.question(office.gateway_mac, ip_address("192.168.122.1"), web1.own[0])
    for packet in (to_guest, outward, question):
        assert here.enter(("kvm1/wx-physnet", "nic0"), packet).delivered == ()
        sent = here.send("rogue.eth0", packet)
        assert not [d for d in sent.delivered if d.station.name != "near.eth0"]


def test_policies_judge_it_as_they_judge_all_else() -> None:
    denying = OFFICE + "policies: [{name: no-mail, deny: tcp/25, from: office, to: outside}]\n"
    here = world(text=denying)
    assert here.send("web1.eth0", said(here, FAR, port=25)).to == ()
    assert takes(here.send("web1.eth0", said(here, FAR, port=80))) == ["outside"]


def test_a_gateway_with_another_mac_changes_the_flows_that_name_it_and_no_other() -> None:
    made, compiler = fabric(OFFICE), Compiler()
    other = "0e:00:00:00:00:02"
    before = set(_all(compiler, made, told()))
    after = set(_all(compiler, made, told(hops=tuple((hop, other) for hop, _ in HOPS))))
    assert before - after
    assert all(str(mac_number(OUTSIDE_MAC)) in str(flow.actions) for flow in before - after)
    assert {flow.identity for flow in before - after} == {flow.identity for flow in after - before}


def _all(compiler: Compiler, made: object, known: Facts) -> list[Flow]:
    programs = compiler.compile(made, known)  # type: ignore[arg-type]
    return [flow for program in programs.values() for flow in program.flows()]
