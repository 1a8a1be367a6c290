"""The walk tells the truth: a real switch, asked by ofproto/trace, meets the very flows that the walk met, in the same order."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fabrics import EVERY_SEGMENT
from tests.real.labs import Lab, lab
from tests.real.trace import packet_text, within
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.facts import facts
from weft.apps.flow import mac_number
from weft.apps.packet import Packet
from weft.apps.stations import Walk
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology.server import default_target

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("trace") / "trace.yaml"
    file.write_text(EVERY_SEGMENT.replace("fabric: test", "fabric: trace").replace("[nic0]", "[ens224]"))
    with lab(file, "trace") as here:
        yield here


@pytest.fixture
def walked(real: Lab) -> World:
    seen = look(default_target(real.fabric))
    known = facts(seen.states)
    return World(seen.fabric, Compiler().compile(seen.fabric, known), known)


def question(here: World, source: str, target: str) -> Packet:
    me = here.stations[source]
    return p.question(me.mac, me.own[0], here.stations[target].own[0])


def echo(here: World, source: str, target: str, via: str = "") -> Packet:
    me, to = here.stations[source], here.stations[target]
    return p.echo(me.mac, here.stations[via or target].mac, me.own[0], to.own[0])


def tcp(here: World, source: str, target: str, via: str) -> Packet:
    me, to = here.stations[source], here.stations[target]
    return p.segment_of("tcp", me.mac, here.stations[via].mac, me.own[0], to.own[0], 40000, 80)


def host_mac(here: World) -> int:
    return mac_number(here.stations["kvm1"].mac)


CASES = {
    "a neighbour on this host": lambda w: ("db2.eth0", echo(w, "db2.eth0", "web1.eth1")),
    "a neighbour on another host": lambda w: ("db2.eth0", echo(w, "db2.eth0", "db1.eth0")),
    "who has a known address": lambda w: ("db2.eth0", question(w, "db2.eth0", "db1.eth0")),
    "who has a known IPv6 address": lambda w: ("six1.eth0", question(w, "six1.eth0", "six2.eth0")),
    "IPv6 to another host": lambda w: ("six1.eth0", echo(w, "six1.eth0", "six2.eth0")),
    "who has the gateway": lambda w: ("web1.eth0", question(w, "web1.eth0", "office@kvm1")),
    "a ping of the gateway": lambda w: ("web1.eth0", echo(w, "web1.eth0", "office@kvm1")),
    "a VLAN on the wire": lambda w: ("lan1.eth0", echo(w, "lan1.eth0", "lan2.eth0")),
    "another VLAN": lambda w: ("lan1.eth0", echo(w, "lan1.eth0", "flat1.eth0")),
    "another segment by its MAC": lambda w: ("web1.eth0", echo(w, "web1.eth0", "db2.eth0")),
    "a bridged guest to the wire": lambda w: ("flat1.eth0", echo(w, "flat1.eth0", "flat2.eth0")),
    "a bridged guest as its host": lambda w: ("flat1.eth0", echo(w, "flat1.eth0", "flat2.eth0") | {"eth_src": host_mac(w)}),
    "a forged address": lambda w: ("db2.eth0", {**echo(w, "db2.eth0", "db1.eth0"), "ip_src": int(ip_address("10.0.9.5"))}),
    "a forged MAC": lambda w: ("db2.eth0", {**echo(w, "db2.eth0", "db1.eth0"), "eth_src": 0x0E0000000099}),
    "a broadcast": lambda w: ("db2.eth0", {**echo(w, "db2.eth0", "db1.eth0"), "eth_dst": p.BROADCAST}),
    "an unknown receiver": lambda w: ("db2.eth0", {**echo(w, "db2.eth0", "db1.eth0"), "eth_dst": 0x0E0000000099}),
    "TCP to the gateway": lambda w: ("web1.eth0", tcp(w, "web1.eth0", "outside", "office@kvm1")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_real_switch_meets_the_flows_that_the_walk_met(real: Lab, walked: World, case: str) -> None:
    name, packet = CASES[case](walked)
    endpoint = walked.fabric.endpoints[name]
    host = walked.fabric.hosts[endpoint.host]
    traced = real.ovs(host.name, "ovs-appctl", "ofproto/trace", host.bridge, packet_text(packet, endpoint.port))
    assert within(traced, host.bridge) == once(walked.send(name, packet), f"{host.name}/{host.bridge}")


@pytest.mark.parametrize("source", ["exit", "LOCAL"])
def test_translation_meets_the_flows_that_the_walk_met(real: Lab, walked: World, source: str) -> None:
    """What leaves the service namespace, and what the host itself sends, on the uplink bridge."""
    host, outside = walked.stations["kvm1"], walked.stations["outside"]
    address = walked.stations["web1.eth0"].own[0] if source == "exit" else host.own[0]
    packet = p.segment_of("tcp", host.mac, outside.mac, address, outside.own[0], 40001, 80)
    port = "x.physnet" if source == "exit" else "LOCAL"
    new = ("--ct-next", "trk,new") * 2
    traced = real.ovs("kvm1", "ovs-appctl", "ofproto/trace", "wx-physnet", packet_text(packet, port), *new)
    assert within(traced, "wx-physnet") == once(walked.enter(("kvm1/wx-physnet", port), packet), "kvm1/wx-physnet")


def once(walk: Walk, switch: str) -> list[int]:
    """The cookies of the flows met on one switch, until a kernel sends the packet in again."""
    hops = [hop for hop in walk.hops if hop.switch == switch]
    again = next((number for number, hop in enumerate(hops) if number and hop.table == 0), len(hops))
    return [hop.flow.cookie for hop in hops[:again] if hop.flow]
