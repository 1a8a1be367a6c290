"""Who is plugged into a fabric's switches, and what becomes of a packet among them.

Stations are guests, the gateways in each host's service namespace, the hosts themselves on their uplinks, and `outside` on each
physical network.
"""

from dataclasses import dataclass
from ipaddress import ip_interface
from typing import NamedTuple

from weft.apps.packet import Packet
from weft.apps.walk import Hop
from weft.topology.model import Endpoint, Fabric, Host, Segment
from weft.topology.terms import Address, Interface, Network

OUTSIDE_MAC = "0e:00:00:00:00:01"

Place = tuple[str, str]
"""A port: switch (``kvm1/br-weft``) and name."""


@dataclass(frozen=True, slots=True)
class Station:
    """Something with a MAC and addresses behind a port, or on the wire of a physical network."""

    name: str
    mac: str
    addresses: tuple[Interface, ...]
    place: Place
    gateways: tuple[Address, ...] = ()
    routes: tuple[tuple[Network, Address], ...] = ()
    """What the physical network knows: a routed subnet, and the host it is behind."""
    tag: int | None = None
    """Of its frames at the port: a trunk's."""

    @property
    def own(self) -> tuple[Address, ...]:
        return tuple(interface.ip for interface in self.addresses)


class Delivery(NamedTuple):
    station: Station
    packet: Packet


class Entry(NamedTuple):
    """A packet came into a port of a switch, and met flows there."""

    place: Place
    packet: Packet
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a packet came out, and every flow it met on the way."""

    delivered: tuple[Delivery, ...]
    hops: tuple[Hop, ...]
    entries: tuple[Entry, ...] = ()
    """Every time that it came into a switch."""

    @property
    def to(self) -> tuple[str, ...]:
        return tuple(delivery.station.name for delivery in self.delivered)


def guest(fabric: Fabric, endpoint: Endpoint, place: Place) -> Station:
    segment = fabric.segments[endpoint.segment]
    gateways = tuple(subnet.gateway for subnet in segment.subnets) if segment.mode != "isolated" else ()
    return Station(endpoint.name, endpoint.mac, endpoint.addresses, place, () if endpoint.attach == "host" else gateways, tag=endpoint.tag)


def gateway(fabric: Fabric, host: Host, segment: Segment, place: Place) -> Station:
    addresses = tuple(ip_interface(f"{s.gateway}/{s.network.prefixlen}") for s in segment.subnets)
    shared = tuple(ip_interface(service.address) for service in fabric.services if service.segment == segment.name)
    return Station(f"{segment.name}@{host.name}", segment.gateway_mac, (*addresses, *shared), place)
