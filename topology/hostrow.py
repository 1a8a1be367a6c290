"""What one host should have: the contents of its `Host` row in the store, and all that its agent reads of the fabric.

The row is a map of small JSON texts keyed by object (``endpoint/web1.eth0``), so that OVSDB sends an agent the objects that
changed and not the row.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class BridgeSpec:
    """The integration bridge. Key: ``bridge/NAME``."""

    name: str
    dpid: int
    vlans: int = 1
    """How many tags of a frame Open vSwitch must see."""


@dataclass(frozen=True, slots=True)
class UplinkSpec:
    """A physical network: bridge ``wx-…`` with its base flow, NICs, patch and, where something is translated, the way out.

    Key: ``uplink/PHYSNET``.
    """

    name: str
    bridge: str
    dpid: int
    integration: str
    """The bridge the patch leads to."""
    nics: tuple[str, ...]
    bond: str
    """``none`` (one NIC), ``active-backup``, ``balance-slb`` or ``lacp``."""
    port: str
    """The port that the NICs are: the one NIC itself, or the bond of them."""
    address: str
    """``keep``, ``none``, or an address in CIDR."""
    gateway: str | None
    mtu: int
    patch: str
    """Patch port on the integration bridge."""
    patch_peer: str
    exit: str | None
    """Port for what leaves the service namespace; None: nothing leaves here."""
    unlearned: tuple[int, ...] = ()
    """VLANs in which the bridge learns no MACs and floods: copies of mirrors."""
    joins: str = ""
    """The Linux bridge of the host's that its one NIC is a cable into; empty: its NICs are the host's."""


@dataclass(frozen=True, slots=True)
class TunnelSpec:
    """Key: ``tunnel/HOST``."""

    port: str
    bridge: str
    type: str
    local: str
    remote: str
    watch: str = "none"
    """``bfd``, ``cfm`` or ``none``."""
    mpid: int = 0
    """Of this end and of the other (IEEE 802.1ag, 1-8191; ``cfm`` only)."""
    remote_mpid: int = 0


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A segment's port into the service namespace. Key: ``service/SEGMENT``."""

    segment: str
    port: str
    bridge: str
    inside: str
    """Interface name inside the namespace."""
    mac: str
    addresses: tuple[str, ...]
    """Gateway addresses in CIDR."""
    mtu: int
    uplink: str | None
    """Physical network its traffic may leave by; None: nowhere."""
    shared: tuple[str, ...] = ()
    """Addresses that are shared among endpoints, in CIDR, a single one each: the gateway answers for them."""
    mode: str = "isolated"
    """``nat``, ``routed`` or ``isolated``."""
    routes: tuple[str, ...] = ()
    """What its router sends to a machine in it: ``10.20.0.0/16 via 192.168.2.254``."""


@dataclass(frozen=True, slots=True)
class HostWaySpec:
    """The way out through the host itself, for nat segments with ``uplink: host``. Key: ``way/host``."""

    port: str
    """Name of both ends of the pair between the host and its service namespace."""
    mac: str
    """Of the namespace's end."""
    networks: tuple[str, ...]
    """Subnets whose packets leave this way, behind the host's own address."""


@dataclass(frozen=True, slots=True)
class DhcpSpec:
    """What a segment's DHCP, router advertisements and DNS say on this host, by one dnsmasq. Key: ``dhcp/SEGMENT``."""

    segment: str
    inside: str
    """Interface in the service namespace."""
    gateways: tuple[str, ...]
    """In CIDR: the segment's subnets with the gateway in each."""
    leases: bool
    """Gives addresses by DHCP, and by DHCPv6 where there is an IPv6 subnet."""
    ranges: tuple[str, ...]
    """``FIRST-LAST``: what this host may give to those that the model does not know."""
    lease: int
    """Seconds."""
    options: tuple[str, ...]
    """As dnsmasq's ``dhcp-option`` has them: ``option:ntp-server,192.0.2.1``."""
    advertises: bool
    """Sends router advertisements."""
    routes: bool
    """Its gateway leads somewhere: guests are told so."""
    dns: bool
    forwards: str
    """The address from which questions that are not about guests go to the host's own resolvers; empty: they do not."""
    mtu: int
    guests: tuple[str, ...]
    """``MAC NAME ADDRESS...``: the members that the model knows, those of other hosts too."""
    inhabited: bool
    """The model knows a member on this host; without, it is for those alone who are plugged in later."""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One NIC of a guest of this host. Key: ``endpoint/web1.eth0``."""

    name: str
    guest: str
    port: str
    bridge: str
    attach: str
    """``tap``, ``netns``, ``port``, ``host`` or ``libvirt``, whose port libvirt adds by a name of its own when the guest starts."""
    inside: str
    """Interface name inside the guest's namespace (``netns`` only)."""
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    """Default routes of a ``netns`` guest; empty: none."""
    mtu: int
    segment: str
    tap: str = ""
    """``OWNER:GROUP:multi``: who may open the tap, and more than once (``tap`` only)."""
    pin: str = ""
    """The interface id of the port that libvirt adds; empty: the MAC alone tells it (``libvirt`` only)."""


@dataclass(frozen=True, slots=True)
class CardSpec:
    """A NIC and how many virtual functions it has (SR-IOV). Key: ``card/NIC``."""

    nic: str
    vfs: int


@dataclass(frozen=True, slots=True)
class VfSpec:
    """A virtual function as a guest has it. Key: ``vf/fast.eth0``."""

    nic: str
    number: int
    mac: str
    vlan: int
    """0: none."""
    rate: int
    """Megabits a second that it may send; 0: any."""
    trusted: bool
    """May send from any MAC, and listen to all."""
    link: str = "auto"
    """What it hears of the cable: ``auto`` (the truth), ``up`` or ``down``."""


@dataclass(frozen=True, slots=True)
class MacvtapSpec:
    """A macvtap on a NIC. Key: ``macvtap/plain.eth0``."""

    port: str
    """Its name."""
    index: int
    """Its number as an interface: its device is ``/dev/tapINDEX``."""
    nic: str
    vlan: int
    """0: none."""
    mode: str
    """``bridge``, ``vepa``, ``private`` or ``passthrough``."""
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class LowerSpec:
    """What macvtaps of libvirt's are on: a NIC itself, or a VLAN of it. Key: ``lower/NAME``."""

    name: str
    nic: str
    vlan: int
    """0: it is the NIC itself."""
    mtu: int


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """An endpoint of this host behind a shared address: its agent asks it whether it lives. Key: ``member/SERVICE/ENDPOINT``."""

    service: str
    endpoint: str
    port: str
    """Service port that it is asked from."""
    gateway: str
    """Address that it is asked from."""
    address: str
    tcp: int | None
    """TCP port that takes connections; None: it answers pings."""


@dataclass(frozen=True, slots=True)
class MonitorSpec:
    """Samples or flow records of every bridge of weft's. Key: ``monitor/KIND``."""

    kind: str
    """``sflow``, ``netflow`` or ``ipfix``."""
    target: str
    """ADDRESS:PORT, an IPv6 address in brackets."""
    sampling: int
    """One packet of so many (not with netflow, which counts all)."""
    agent: str
    """Interface by whose address sFlow knows this host; empty: Open vSwitch finds one."""
    bridges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LibvirtSpec:
    """The libvirt of a host. Key: ``libvirt/HOST``."""

    uri: str
    fabric: str
    """Of which its networks of ours are."""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network that libvirt should have, started and started with libvirt. Key: ``network/NAME``."""

    name: str
    segment: str
    """Empty: its guests say by a portgroup which they are in."""
    xml: str
    """Its definition with our mark (`weft.topology.libvirt_xml`)."""
    nic: str = ""
    """NIC that its guests hang on themselves; empty: they are plugged into the bridge."""
    lower: str = ""
    """What their macvtaps are on, the NIC or a VLAN of it; empty with a NIC: they get its free virtual functions, whose addresses only the
    agent knows, and adds to the definition."""


LibvirtObject = LibvirtSpec | NetworkSpec
DirectSpec = CardSpec | VfSpec | MacvtapSpec | LowerSpec
ServedSpec = ServiceSpec | HostWaySpec | DhcpSpec | MemberSpec | MonitorSpec
Spec = BridgeSpec | UplinkSpec | TunnelSpec | EndpointSpec | DirectSpec | ServedSpec | LibvirtObject
KINDS: Mapping[str, type[Any]] = {
    "bridge": BridgeSpec,
    "uplink": UplinkSpec,
    "tunnel": TunnelSpec,
    "service": ServiceSpec,
    "way": HostWaySpec,
    "dhcp": DhcpSpec,
    "endpoint": EndpointSpec,
    "card": CardSpec,
    "vf": VfSpec,
    "macvtap": MacvtapSpec,
    "lower": LowerSpec,
    "member": MemberSpec,
    "monitor": MonitorSpec,
    "libvirt": LibvirtSpec,
    "network": NetworkSpec,
}


_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in KINDS.values()}
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


def to_json(spec: Spec) -> str:
    return _ENCODE({name: getattr(spec, name) for name in _NAMES[type(spec)]})


def from_json(key: str, text: str) -> Spec:
    """The object under `key`. Raises KeyError or TypeError where another version of weft wrote it."""
    fields = {name: tuple(v) if isinstance(v, list) else v for name, v in json.loads(text).items()}
    spec: Spec = KINDS[key.partition("/")[0]](**fields)
    return spec
