"""What an agent can do for the service namespace and the way out of it, as values (`weft.agents.steps`)."""

from collections.abc import Mapping
from dataclasses import dataclass

from weft.topology.names import digest


@dataclass(frozen=True, slots=True)
class Way:
    """The way out of the service namespace to one physical network, as the host itself has it."""

    uplink: str
    inside: str
    mac: str
    address: str
    """In CIDR: what guests are translated to."""
    routes: tuple[tuple[str, str], ...]
    """Of the host by this uplink: (network or ``default``, gateway or empty for on-link), of both versions of IP."""
    address6: str = ""
    """The same for IPv6; empty: the host has none there, and nothing leaves over IPv6."""

    @property
    def gateways(self) -> dict[int, str]:
        """Of the default routes, by version of IP; of several the one that is laid last, which holds."""
        return {6 if ":" in gateway else 4: gateway for network, gateway in self.routes if network == "default" and gateway}


@dataclass(frozen=True, slots=True)
class Served:
    """A segment in the service namespace, and the physical network its traffic may leave by."""

    inside: str
    uplink: str | None
    mode: str = "isolated"
    addresses: tuple[str, ...] = ()
    """Of its gateway, in CIDR."""
    routes: tuple[tuple[str, str], ...] = ()
    """What is sent to a machine in it: network, and the machine."""
    guests: tuple[str, ...] = ()
    """Addresses of its guests on this host, where the uplink sees them (`routed`)."""


@dataclass(frozen=True, slots=True)
class SetServices:
    """Routing, translation of pings and isolation inside the service namespace."""

    namespace: str
    segments: tuple[Served, ...]
    ways: tuple[Way, ...]
    host_way: str = ""
    """The interface that leads to the host itself, for what leaves by whatever way that goes; empty: nothing does."""

    @property
    def digest(self) -> str:
        """Kept in the namespace, so that the same is not done again."""
        return f"{digest(repr(self), 64):016x}"


@dataclass(frozen=True, slots=True)
class SetHostWay:
    """The host's side of the way out through it: address, routes back, translation behind its own address."""

    port: str
    networks: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Kept in the host's rules, so that the same is not done again."""
        return f"{digest(repr(self), 64):016x}"


@dataclass(frozen=True, slots=True)
class LeaveHostWay:
    """Nothing leaves through the host any more: its rules go."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A segment's dnsmasq runs with this configuration."""

    namespace: str
    segment: str
    conf: str
    files: tuple[tuple[str, str], ...]
    """Kind and text of what it may read again while it runs."""
    owners: Mapping[str, str]
    """MAC of each address that is nobody else's."""
    mac: str
    """The gateway's, the same on every host: what DHCPv6 calls itself by."""
    again: bool = False
    """It runs as it should and only reads its files again."""

    @property
    def started_with(self) -> str:
        return f"{digest(self.conf, 64):016x}"

    @property
    def read(self) -> str:
        return f"{digest(repr(self.files), 64):016x}"


@dataclass(frozen=True, slots=True)
class StopAnswering:
    segment: str


ServiceStep = SetServices | SetHostWay | LeaveHostWay | Answer | StopAnswering
