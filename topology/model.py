"""The fabric as weft reasons about it: frozen, complete, every derived value filled in.

A `Fabric` is made by `weft.topology.resolve` from what the user wrote (`weft.topology.schema`). Nothing here is optional in
the sense of "to be worked out later"; None means that there is none. Objects keep the line they come from, which does not
count when two are compared: a line inserted above changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from weft.topology.model_rules import Mirror, Monitor, Policy, Qos, VirtualService
from weft.topology.names import lab_cable
from weft.topology.terms import Address, Interface, Network, Source

Mode = Literal["nat", "routed", "bridged", "isolated"]

HOST_UPLINK = "host"
"""As the uplink of a nat segment: no physical network of the fabric, but whatever way the host itself goes, behind its own address."""


@dataclass(frozen=True, slots=True)
class Subnet:
    network: Network
    gateway: Address


@dataclass(frozen=True, slots=True)
class Dhcp:
    """What a segment's DHCP gives beside the addresses of the model's guests."""

    ranges: tuple[tuple[Address, Address], ...]
    """First and last address for strangers, one range for each subnet at most."""
    lease: int
    """Seconds."""
    options: Mapping[str, str]
    """By dnsmasq's name of the option (``ntp-server``)."""


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of the uplink address of the host where `endpoint` runs, handed on to it."""

    protocol: Literal["tcp", "udp", "sctp"]
    port: int
    endpoint: str
    to_port: int
    source: Source = field(compare=False)


@dataclass(frozen=True, slots=True)
class Route:
    """What a segment's router sends to a machine in the segment."""

    to: Network
    via: Address


@dataclass(frozen=True, slots=True)
class Segment:
    """One layer-2 broadcast domain, the same on every host."""

    name: str
    mode: Mode
    id: int
    """1 to 2**24-1: tunnel key, and register value in the pipeline."""
    subnets: tuple[Subnet, ...]
    uplink: str | None
    """A physical network, or `HOST_UPLINK`."""
    vlan: int | None
    """Tag on the uplink, 1-4094; None: untagged (or no uplink)."""
    mtu: int
    """Of its guests' interfaces, in bytes of layer 3."""
    gateway_mac: str
    strangers: bool
    """MACs that the model does not know may live here: learn them, flood what is unknown."""
    source: Source = field(compare=False)
    dhcp: Dhcp | None = None
    ra: bool = False
    """Sends router advertisements for its IPv6 subnets."""
    dns: bool = False
    forwards: tuple[Forward, ...] = ()
    routes: tuple[Route, ...] = ()
    spans: bool = True
    """False: one island on each host (``span: host``)."""
    private: bool = False
    """Its guests do not reach each other."""
    closed: bool = False
    """Nothing enters a guest but what a policy allows."""
    host: bool = False
    """Every host with members has an endpoint in it."""
    snoop: bool = False
    """Multicast goes to those alone who joined."""
    qinq: bool = False
    """Its guests' own tags travel inside its tag."""

    @property
    def path(self) -> str:
        return f"segments/{self.name}"

    @property
    def served(self) -> bool:
        """Has a port in the service namespace: a subnet whose gateway is ours."""
        return bool(self.subnets) and self.mode != "bridged"

    @property
    def answers(self) -> bool:
        """Has something to say there besides: DHCP, router advertisements or DNS."""
        return self.served and (self.dhcp is not None or self.ra or self.dns)

    @property
    def tunnelled(self) -> bool:
        """Spans hosts by the overlay; a bridged segment spans them by its uplink."""
        return self.mode != "bridged" and self.spans

    @property
    def networks(self) -> tuple[Network, ...]:
        """Whose packets its router takes for its own: its subnets, and what is behind machines in it."""
        return (*(subnet.network for subnet in self.subnets), *(route.to for route in self.routes))

    def routed_on(self, host: "Host") -> bool:
        """Has its router on a host even without a guest there: where its uplink is, since a route may lead to any host of it; and where a
        guest that the file does not name may ask for an address, which libvirt may plug in anywhere."""
        if host.libvirt is not None and self.served:
            return host.wired_to(self)
        wired = self.uplink == HOST_UPLINK or self.uplink in host.uplinks
        return wired and (self.mode == "routed" or self.answers)

    @property
    def joined(self) -> bool:
        """Takes part in routing between segments."""
        return self.mode in ("nat", "routed")

    def gateway_beside(self, address: Address) -> Address | None:
        """The gateway of the subnet that holds an address."""
        return next((subnet.gateway for subnet in self.subnets if address in subnet.network), None)


@dataclass(frozen=True, slots=True)
class Uplink:
    """A physical network as one host is wired to it: one bridge, with the NIC or the bond in it."""

    name: str
    bridge: str
    dpid: int
    nics: tuple[str, ...]
    address: str
    """``keep`` (what the NIC has moves to the bridge), ``none``, ``dhcp`` or an interface address in CIDR."""
    gateway: Address | None
    mtu: int
    source: Source = field(compare=False)
    bond: Literal["none", "active-backup", "balance-slb", "lacp"] = "none"
    """How several NICs are one; ``none``: there is one NIC."""
    joins: str = ""
    """The Linux bridge of the host's that it is a neighbour of: its only NIC is then a cable into that; empty: its NICs are the host's."""

    @property
    def devices(self) -> tuple[str, ...]:
        """What the host has to have for it."""
        return (self.joins,) if self.joins else self.nics

    @property
    def cables(self) -> tuple[str, ...]:
        """The host's NICs that a lab's cables end in: its own, or the one in the Linux bridge."""
        return (lab_cable(self.name),) if self.joins else self.nics


@dataclass(frozen=True, slots=True)
class Card:
    """A NIC with virtual functions of its own (SR-IOV)."""

    nic: str
    vfs: int
    uplink: str
    """The physical network it is on."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What libvirt may give guests that the file does not name: free virtual functions of a NIC, or macvtaps on it."""

    kind: Literal["vf", "macvtap"]
    nic: str
    segments: tuple[str, ...]
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
    libvirt: str | None = None
    """URI of the libvirt whose guests are plugged into its bridge; None: none is asked."""
    cards: Mapping[str, Card] = field(default_factory=dict)
    macvtap: Mapping[str, str] = field(default_factory=dict)
    """NICs in no bridge that carry macvtaps, and the physical network each is on."""
    pools: tuple[Pool, ...] = ()
    """For the guests of its libvirt."""

    @property
    def path(self) -> str:
        return f"hosts/{self.name}"

    def wired_to(self, segment: Segment) -> bool:
        """Whether a guest here can be in it: it needs no physical network, or one that the host is on."""
        return segment.mode == "isolated" or segment.uplink in (None, HOST_UPLINK) or segment.uplink in self.uplinks


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
    """Name of the port on the host's integration bridge, at most 15 bytes; of a macvtap its name, of a virtual function empty."""
    attach: Literal["tap", "netns", "port", "libvirt", "host", "stranger", "vf", "macvtap"]
    """``libvirt``: its port is known when its guest runs, and on which host; ``host``: the host's own interface in a segment; ``stranger``:
    not of the file, a port that says its segment itself."""
    spoof: bool
    """True: may send from any address (a router guest)."""
    source: Source = field(compare=False)
    tag: int | None = None
    """Tag of its frames at the port, of a guest's trunk; None: untagged."""
    trunk: bool = False
    """Other endpoints share its port."""
    via: str = ""
    """The NIC that it hangs on, where it is `direct`."""
    mode: str = ""
    """Of a macvtap: ``bridge``, ``vepa``, ``private`` or ``passthrough``."""
    number: int = 0
    """Of a virtual function, among those of its NIC."""
    link: str = ""
    """Of a virtual function, what it hears of the cable: ``auto``, ``up`` or ``down``."""
    tap: str = ""
    """Who may open its tap and how, as ``OWNER:GROUP:multi`` with what is said of it; empty: root, one queue."""
    pin: str = ""
    """The interface id by which libvirt has it, besides its MAC; empty: any."""

    @property
    def direct(self) -> bool:
        """Hangs on a NIC and in no bridge: no flow sees what it sends or gets."""
        return self.attach in ("vf", "macvtap")

    @property
    def row(self) -> str:
        """Its key in the row of its host: all endpoints of a trunk have one."""
        return f"{self.attach if self.direct else 'endpoint'}/{self.cable}"

    @property
    def path(self) -> str:
        if self.attach == "stranger":
            return f"strangers/{self.name}"
        if self.attach == "host":
            return f"hosts/{self.guest}/segments/{self.nic}"
        tag = f".{self.tag}" if self.tag is not None else ""
        return f"guests/{self.guest}/nics/{self.nic}{tag}"

    @property
    def cable(self) -> str:
        """Name of what goes by one port: all endpoints of a trunk are one cable."""
        return self.name if self.tag is None else self.name.removesuffix(f".{self.tag}")

    def beside(self, address: Address) -> Address | None:
        """Its address of the same version, best in the same subnet."""
        own = [interface for interface in self.addresses if interface.version == address.version]
        return next((interface.ip for interface in sorted(own, key=lambda interface: address not in interface.network)), None)


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
    outside6: IPv6Network = field(default=IPv6Network("2001:db8::/64"))
    """Of addresses for documentation (RFC 3849): `outside` at ::1, the hosts at ::11, ::12, …"""


@dataclass(frozen=True, slots=True)
class Fabric:
    name: str
    overlay: Literal["geneve", "vxlan", "gre"]
    segments: Mapping[str, Segment]
    hosts: Mapping[str, Host]
    guests: Mapping[str, Guest]
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    lab: Lab | None = None
    policies: tuple[Policy, ...] = ()
    services: tuple[VirtualService, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    qos: tuple[Qos, ...] = ()
    monitor: Monitor | None = None
    watch: Literal["bfd", "cfm", "none"] = "bfd"
    """How each tunnel is watched by its ends: RFC 5880, or IEEE 802.1ag."""

    def members(self, segment: str) -> tuple[Endpoint, ...]:
        """The endpoints of a segment, in the order of the file."""
        return tuple(e for e in self.endpoints.values() if e.segment == segment)
