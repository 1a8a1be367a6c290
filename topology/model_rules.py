"""What is asked of the traffic: policies, shared addresses, mirrors, limits and monitoring, as frozen as the rest of the model."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from weft.topology.terms import Address, Network, Source


@dataclass(frozen=True, slots=True)
class Service:
    """What a packet is for: a protocol, and of TCP, UDP and SCTP a range of ports."""

    protocol: Literal["tcp", "udp", "sctp", "icmp", "icmp6", "any"]
    low: int = 0
    high: int = 65535

    def __str__(self) -> str:
        if (self.low, self.high) == (0, 65535):
            return self.protocol
        return f"{self.protocol}/{self.low}" if self.low == self.high else f"{self.protocol}/{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class Party:
    """Whom a policy or a service speaks of, as the file names it. Exactly one of the fields says who."""

    word: Literal["any", "outside", "host", ""] = ""
    endpoints: tuple[str, ...] | None = None
    """Of a guest, an endpoint or labels."""
    segment: str | None = None
    network: Network | None = None
    said: str = ""
    """In the words of the file, for people."""


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    verdict: Literal["allow", "deny", "audit"]
    service: Service
    sender: Party
    receiver: Party
    until: datetime | None
    source: Source = field(compare=False)

    @property
    def path(self) -> str:
        return f"policies/{self.name}"


@dataclass(frozen=True, slots=True)
class VirtualService:
    """An address and port that is shared among endpoints of one segment."""

    name: str
    id: int
    """1 to 2**16-1: register value and group number in the pipeline."""
    segment: str
    address: Address
    protocol: Literal["tcp", "udp"]
    port: int
    to_port: int
    """Of the members."""
    members: tuple[str, ...]
    """Endpoints, in the order of the file."""
    sticky: bool
    """A client stays with its member."""
    source: Source = field(compare=False)

    @property
    def path(self) -> str:
        return f"services/{self.name}"


@dataclass(frozen=True, slots=True)
class Mirror:
    """What an endpoint sends and gets, copied to another endpoint or into a VLAN of its host's uplink."""

    name: str
    id: int
    """Tunnel key of copies that cross hosts: of the same numbers as segments, and none of theirs."""
    endpoint: str
    to: str | None
    vlan: int | None
    source: Source = field(compare=False)

    @property
    def path(self) -> str:
        return f"mirrors/{self.name}"


@dataclass(frozen=True, slots=True)
class Qos:
    """Limits and marks of what an endpoint sends (``out``) or gets (``in``)."""

    number: int
    """Place in the file's list, from 0."""
    endpoint: str
    direction: Literal["in", "out"]
    rate: int | None
    """Kilobits a second."""
    burst: int | None
    """Kilobits."""
    dscp: int | None
    source: Source = field(compare=False)

    @property
    def path(self) -> str:
        return f"qos/{self.number}"


@dataclass(frozen=True, slots=True)
class Monitor:
    """Where samples and flow records go, each as ``ADDRESS:PORT``."""

    sflow: str | None
    netflow: str | None
    ipfix: str | None
    sampling: int
    """One packet of so many."""
