"""The fabric as weft reasons about it: frozen, complete, every derived value filled in.

A `Fabric` is made by `weft.topology.resolve` from what the user wrote (`weft.topology.schema`). Nothing here is optional in
the sense of "to be worked out later"; None means that there is none. Objects keep the line they come from, which does not
count when two are compared: a line inserted above changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network
Mode = Literal["nat", "routed", "bridged", "isolated"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an object comes from: a file and a line (from 1)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Subnet:
    network: Network
    gateway: Address


@dataclass(frozen=True, slots=True)
class Segment:
    """One layer-2 broadcast domain, the same on every host."""

    name: str
    mode: Mode
    id: int
    """1 to 2**24-1: tunnel key, and register value in the pipeline."""
    subnets: tuple[Subnet, ...]
    uplink: str | None
    vlan: int | None
    """Tag on the uplink, 1-4094; None: untagged (or no uplink)."""
    mtu: int
    """Of its guests' interfaces, in bytes of layer 3."""
    gateway_mac: str
    strangers: bool
    """MACs that the model does not know may live here: learn them, flood what is unknown."""
    source: Source = field(compare=False)

    @property
    def path(self) -> str:
        return f"segments/{self.name}"

    @property
    def served(self) -> bool:
        """Has a port in the service namespace: a subnet whose gateway is ours."""
        return bool(self.subnets) and self.mode != "bridged"

    @property
    def tunnelled(self) -> bool:
        """Spans hosts by the overlay; a bridged segment spans them by its uplink."""
        return self.mode != "bridged"


@dataclass(frozen=True, slots=True)
class Uplink:
    """A physical network as one host is wired to it: one bridge, with the NIC or the bond in it."""

    name: str
    bridge: str
    dpid: int
    nics: tuple[str, ...]
    address: str
    """``keep`` (what the NIC has moves to the bridge), ``none`` or an interface address in CIDR."""
    gateway: Address | None
    mtu: int
    source: Source = field(compare=False)


@dataclass(frozen=True, slots=True)
class Host:
    name: str
    address: Interface | None
    """Ends the tunnels."""
    bridge: str
    dpid: int
    uplinks: Mapping[str, Uplink]
    source: Source = field(compare=False)

    @property
    def path(self) -> str:
        return f"hosts/{self.name}"


def underlay_uplink(host: Host) -> Uplink | None:
    """The uplink that carries the host's tunnels: the one with the underlay address; where none says so, the first."""
    for uplink in host.uplinks.values():
        if host.address and uplink.address == str(host.address):
            return uplink
    return next(iter(host.uplinks.values()), None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One NIC of one guest: ``web1.eth0``."""

    name: str
    guest: str
    nic: str
    host: str
    segment: str
    mac: str
    addresses: tuple[Interface, ...]
    """With the prefix length of their subnet; empty where the model does not know any."""
    port: str
    """Name of the port on the host's integration bridge, at most 15 bytes."""
    attach: Literal["tap", "netns", "port"]
    spoof: bool
    """True: may send from any address (a router guest)."""
    source: Source = field(compare=False)

    @property
    def path(self) -> str:
        return f"guests/{self.guest}/nics/{self.nic}"


@dataclass(frozen=True, slots=True)
class Guest:
    name: str
    host: str
    labels: Mapping[str, str]
    endpoints: tuple[Endpoint, ...]
    source: Source = field(compare=False)


@dataclass(frozen=True, slots=True)
class Lab:
    """What `weft lab` wires around the hosts."""

    outside: IPv4Network


@dataclass(frozen=True, slots=True)
class Fabric:
    name: str
    overlay: Literal["geneve"]
    segments: Mapping[str, Segment]
    hosts: Mapping[str, Host]
    guests: Mapping[str, Guest]
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    lab: Lab | None = None

    def members(self, segment: str) -> tuple[Endpoint, ...]:
        """The endpoints of a segment, in the order of the file."""
        return tuple(e for e in self.endpoints.values() if e.segment == segment)
