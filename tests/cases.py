"""What becomes of one packet, said once: walked in memory, asked of a real switch, and sent over real wires, from the same line."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from weft.apps import packet as p
from weft.apps.packet import Packet
from weft.apps.stations import Walk
from weft.apps.world import World
from weft.topology.terms import Address

Make = Callable[[World], Packet]


@dataclass(frozen=True, slots=True)
class Case:
    """A packet that a station sends, and the stations that get it."""

    says: str
    sender: str
    packet: Make
    to: tuple[str, ...]


def ends(here: World, walk: Walk) -> list[str]:
    """Who got a packet, but for those that the lab's wire carries it past: hosts at their uplinks, and `outside`."""
    return [to.station.name for to in walk.delivered if to.station.name in here.fabric.endpoints or "@" in to.station.name]


def own(here: World, station: str, version: int = 4) -> Address:
    return next(address for address in here.stations[station].own if address.version == version)


def gateway_mac(here: World, endpoint: str) -> str:
    return here.fabric.segments[here.fabric.endpoints[endpoint].segment].gateway_mac


def echo(source: str, target: str, version: int = 4, **changed: int) -> Make:
    """A ping from neighbour to neighbour."""
    def make(here: World) -> Packet:
        me, to = here.stations[source], here.stations[target]
        return {**p.echo(me.mac, to.mac, own(here, source, version), own(here, target, version)), **changed}

    return make


def routed(source: str, target: str, version: int = 4, **changed: int) -> Make:
    """A ping that a guest sends to its gateway's MAC."""
    def make(here: World) -> Packet:
        gateway = gateway_mac(here, source)
        mine = here.stations[source].mac
        to = own(here, target, version) if target in here.stations else ip_address(target)
        return {**p.echo(mine, gateway, own(here, source, version), to), **changed}

    return make


def who_has(source: str, target: str, version: int = 4, **changed: int) -> Make:
    """A question for the address of a station, or for one that is written out."""
    def make(here: World) -> Packet:
        to = own(here, target, version) if target in here.stations else ip_address(target)
        return {**p.question(here.stations[source].mac, own(here, source, version), to), **changed}

    return make


def broadcast(source: str, **changed: int) -> Make:
    def make(here: World) -> Packet:
        me, everybody = here.stations[source], ip_address("255.255.255.255")
        return {**p.segment_of("udp", me.mac, p.BROADCAST, own(here, source), everybody, 1000, 1000), **changed}

    return make


def answers(source: str, asker: str, version: int = 4) -> Make:
    """What a station answers when it is asked for its address."""
    def make(here: World) -> Packet:
        me, other = here.stations[source], here.stations[asker]
        reply = p.answer(p.question(other.mac, own(here, asker, version), own(here, source, version)), me.mac, me.own)
        assert reply is not None
        return reply

    return make
