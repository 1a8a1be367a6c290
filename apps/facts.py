"""What hosts and switches reported, as far as flows depend on it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from typing import Any

from weft.topology import names
from weft.topology.model import Fabric
from weft.topology.terms import Address, Network

SUPPOSED = IPv4Network("192.0.2.0/24")
"""Addresses for documentation (RFC 5737)."""
States = Mapping[str, Mapping[str, str]]
"""By host, the `state` map of its row in the store: object (``uplink/physnet``) to JSON text."""


@dataclass(frozen=True, slots=True)
class UplinkFact:
    """What a host reported of one of its uplinks: its MAC, and the addresses that guests are translated to."""

    mac: str
    translate: IPv4Address
    translate6: IPv6Address | None = None
    hops: tuple[tuple[Address, str], ...] = ()
    """Its default gateways, one of each version of IP, with their MACs; those alone that its kernel keeps asking for."""
    beside: tuple[Network, ...] = ()
    """What it reaches there by another way than a gateway of `hops`."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A port on a host's integration bridge that the file does not name, in the segment that its profile says. It may be that of a guest
    of the file which libvirt plugged in."""

    host: str
    port: str
    segment: str
    mac: str
    runs: bool = True
    """False: its guest comes from another host and is not there yet, or is about to go."""
    left: bool = False
    """Its guest ran here and stopped, to go on at another host."""
    pin: str = ""
    """The interface id that libvirt has its NIC by."""

    @property
    def claim(self) -> int:
        """Of ports of one guest the highest is where it is: where it runs; between two hosts where it will run."""
        return 2 if self.runs else 0 if self.left else 1


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it. What is not reported yet is not translated, admitted or taken out yet."""

    uplinks: Mapping[tuple[str, str], UplinkFact] = field(default_factory=dict)
    """By host and physical network."""
    strangers: tuple[Stranger, ...] = ()
    dead: frozenset[tuple[str, str]] = frozenset()
    """Service and member that does not answer."""
    expired: frozenset[str] = frozenset()
    """Policies whose time is over."""
    joined: Mapping[tuple[str, Address], tuple[str, ...]] = field(default_factory=dict)
    """By segment and multicast group, the endpoints that asked for it; none where all have left."""
    routers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By segment, the endpoints that route multicast."""


def expired(fabric: Fabric, now: datetime) -> frozenset[str]:
    """The policies whose time is over by then."""
    return frozenset(policy.name for policy in fabric.policies if policy.until is not None and policy.until <= now)


def facts(states: States, gone: frozenset[str] = frozenset()) -> Facts:
    """From what hosts reported, and the policies that are `expired`."""
    uplinks: dict[tuple[str, str], UplinkFact] = {}
    strangers: list[Stranger] = []
    dead: set[tuple[str, str]] = set()
    for host, objects in states.items():
        for key, text in objects.items():
            kind, _, name = key.partition("/")
            if kind == "uplink" and (fact := _uplink(json.loads(text))):
                uplinks[host, name] = fact
            elif kind == "stranger":
                strangers += _stranger(host, name, json.loads(text))
            elif kind == "member" and json.loads(text)["state"] == "failed":
                service, _, member = name.partition("/")
                dead.add((service, member))
    return Facts(uplinks, tuple(sorted(strangers, key=lambda s: (s.host, s.port))), frozenset(dead), gone)


def _uplink(state: Mapping[str, Any]) -> UplinkFact | None:
    mac, address, six = state.get("mac"), state.get("translate"), state.get("translate6")
    if not mac or not address:
        return None
    hops = tuple((ip_address(gateway), there) for gateway, there in state.get("hops", {}).items())
    beside = tuple(ip_network(network) for network in state.get("beside", ()))
    return UplinkFact(mac, IPv4Address(address), IPv6Address(six) if six else None, hops, beside)


def _stranger(host: str, port: str, state: Mapping[str, str]) -> Iterator[Stranger]:
    if state.get("mac") and state.get("segment"):
        yield Stranger(host, port, state["segment"], state["mac"], bool(state.get("runs", True)), bool(state.get("left")), state.get("pin", ""))


def supposed(fabric: Fabric) -> Facts:
    """Facts for a fabric whose hosts have not reported: every uplink with a MAC and an address of its own, for checks alone."""
    wires = [(host.name, name) for host in fabric.hosts.values() for name in host.uplinks]
    return Facts({
        wire: UplinkFact(names.mac("supposed", "/".join(wire)), SUPPOSED[number % SUPPOSED.num_addresses], IPv6Address(1 << 64 | number))
        for number, wire in enumerate(wires)
    })  # fmt: skip
