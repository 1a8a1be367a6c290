"""The fabric file as a user writes it: its network and what is plugged in (what may pass is in `weft.topology.rules`).

Every key that exists is here, also those that nothing acts on yet (`weft.topology.unsupported` refuses them). Two things the
keys do not say by themselves:

- A NIC's ``ip`` is plain where its segment has a subnet that holds it; the prefix length is the subnet's. Where the segment has no
  subnets it needs its own (``10.5.0.1/24``): weft does not guess how large a network is.
- A NIC without ``ip`` gets one address of each family that its segment has subnets of; on a bridged segment it gets none and may
  use any, since others hand out addresses there.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, StrictBool, StrictStr, Tag, model_validator

from weft.topology import scalars as s
from weft.topology.rules import (
    Forward,
    Invariant,
    Labels,
    Link,
    Mirror,
    Monitor,
    Policy,
    Qos,
    Route,
    Strict,
    Switch,
    VirtualService,
    map_or_word,
    nothing_as_empty,
)
from weft.topology.terms import Network


class Overlay(Strict):
    """`watch`: how tunnels are watched, each by both its ends."""

    type: Literal["geneve", "vxlan", "gre", "stt"] = "geneve"
    watch: Literal["bfd", "cfm", "none"] = "bfd"


class Dhcp(Strict):
    range: s.AddressRange | None = None
    lease: s.Duration | None = None
    options: dict[StrictStr, s.OptionValue] = {}


class Segment(Strict):
    """One layer-2 broadcast domain, the same on every host."""

    mode: Literal["nat", "routed", "bridged", "isolated"]
    subnets: tuple[s.Subnet, ...] = ()
    gateway: s.Gateways = ()
    uplink: StrictStr | None = None
    vlan: s.Vlan | None = None
    mtu: s.Mtu | None = None
    dhcp: Annotated[
        Annotated[StrictBool, Tag("=word")] | Annotated[Dhcp, Tag("=map")],
        Discriminator(map_or_word),
    ] = False
    ra: StrictBool | None = None
    dns: StrictBool = False
    forwards: tuple[Forward, ...] = ()
    routes: tuple[Route, ...] = ()
    span: Literal["fabric", "host"] = "fabric"
    private: StrictBool = False
    policy: Literal["open", "closed"] = "open"
    host: StrictBool = False
    multicast: Literal["flood", "snoop"] = "flood"
    qinq: StrictBool = False

    @property
    def ipv4(self) -> tuple[Network, ...]:
        return tuple(subnet for subnet in self.subnets if subnet.version == 4)

    @property
    def ipv6(self) -> tuple[Network, ...]:
        return tuple(subnet for subnet in self.subnets if subnet.version == 6)


class Uplink(Strict):
    """`bridge`: a Linux bridge that the host has and keeps, instead of NICs."""

    nics: Annotated[tuple[s.InterfaceName, ...], s.Filled] = ()
    bridge: s.InterfaceName | None = None
    bond: Literal["none", "active-backup", "balance-slb", "lacp"] = "none"
    address: s.UplinkAddress = "keep"
    gateway: s.Ip | None = None
    mtu: s.Mtu = 1500


class Pf(Strict):
    """A NIC whose virtual functions are given to guests. `pool`: segments whose guests may get a free one from libvirt."""

    vfs: s.VfCount
    uplink: StrictStr
    pool: tuple[StrictStr, ...] = ()


class MacvtapNic(Strict):
    """A NIC that carries macvtaps. `pool`: segments whose guests may get one from libvirt."""

    uplink: StrictStr
    pool: tuple[StrictStr, ...] = ()


class Host(Strict):
    address: s.Cidr | None = None
    bridge: s.InterfaceName = "br-weft"
    uplinks: dict[s.Name, Uplink] = {}
    sriov: dict[s.InterfaceName, Pf] = {}
    macvtap: dict[s.InterfaceName, MacvtapNic] = {}
    libvirt: StrictStr | None = None

    _empty = model_validator(mode="before")(nothing_as_empty)

    @property
    def wires(self) -> set[str]:
        """The physical networks it is on, one way or another."""
        return {*self.uplinks} | {nic.uplink for nic in self.sriov.values()} | {nic.uplink for nic in self.macvtap.values()}


class AttachPort(Strict):
    """A port that exists already."""

    port: s.InterfaceName


class Tap(Strict):
    """A tap whose opener is a user of the host, by name. `multiqueue`: it may be opened more than once, for more than one queue."""

    owner: s.UserName | None = None
    group: s.UserName | None = None
    multiqueue: StrictBool = False


class AttachTap(Strict):
    tap: Tap


class Pinned(Strict):
    """A NIC of libvirt by the id that its guest's definition gives it: ``<virtualport><parameters interfaceid='…'/></virtualport>``."""

    interfaceid: s.Uuid


class AttachLibvirt(Strict):
    libvirt: Pinned


class AttachVf(Strict):
    """`link`: what the function hears of the cable: the truth (auto), or that it is up or down whatever that is."""

    vf: StrictStr
    link: Literal["auto", "up", "down"] = "auto"


class AttachMacvtap(Strict):
    macvtap: StrictStr
    mode: Literal["vepa", "bridge", "private", "passthrough"] = "bridge"


def _attach_form(given: Any) -> str:
    if not isinstance(given, dict):
        return "=word"
    return next((f"={form}" for form in ("vf", "macvtap", "tap", "libvirt") if form in given), "=port")


Attach = Annotated[
    Annotated[Literal["tap", "libvirt", "netns"], Tag("=word")]
    | Annotated[AttachPort, Tag("=port")]
    | Annotated[AttachTap, Tag("=tap")]
    | Annotated[AttachLibvirt, Tag("=libvirt")]
    | Annotated[AttachVf, Tag("=vf")]
    | Annotated[AttachMacvtap, Tag("=macvtap")],
    Discriminator(_attach_form),
]


class Trunk(Strict):
    """Several segments on one NIC: `native` without a tag, the others each with its own."""

    native: StrictStr | None = None
    tags: dict[s.VlanKey, StrictStr] = {}

    @model_validator(mode="after")
    def leads_somewhere(self) -> "Trunk":
        if self.native is None and not self.tags:
            raise ValueError("needs native or tags")
        return self


class Nic(Strict):
    segment: StrictStr | None = None
    trunk: Trunk | None = None
    ip: s.Ips = ()
    mac: s.Mac | None = None
    spoof: StrictBool = False
    attach: Attach | None = None

    @model_validator(mode="after")
    def is_somewhere(self) -> "Nic":
        if (self.segment is None) == (self.trunk is None):
            raise ValueError("needs one of segment and trunk")
        return self

    @property
    def plugs(self) -> tuple[tuple[int | None, str], ...]:
        """Every segment it is in, behind the tag of its frames; what has none comes first."""
        if self.trunk is None:
            return ((None, self.segment),) if self.segment is not None else ()
        native = ((None, self.trunk.native),) if self.trunk.native is not None else ()
        return (*native, *sorted(self.trunk.tags.items()))

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(segment for _, segment in self.plugs)

    @property
    def of_libvirt(self) -> bool:
        """libvirt plugs it in."""
        return self.attach == "libvirt" or isinstance(self.attach, AttachLibvirt)

    @property
    def pin(self) -> str:
        """The interface id that libvirt has it by; empty: it is known by its MAC."""
        return self.attach.libvirt.interfaceid if isinstance(self.attach, AttachLibvirt) else ""


class Guest(Strict):
    host: StrictStr
    labels: Labels = {}
    nics: Annotated[tuple[Nic, ...], s.Filled]


class Lab(Strict):
    outside: s.NetworkV4 = s.OUTSIDE


class FabricFile(Strict):
    """The whole file."""

    fabric: s.Name
    overlay: Overlay = Overlay()
    segments: dict[s.Name, Segment] = {}
    hosts: dict[s.Name, Host] = {}
    guests: dict[s.Name, Guest] = {}
    policies: tuple[Policy, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    services: tuple[VirtualService, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    qos: tuple[Qos, ...] = ()
    monitor: Monitor | None = None
    switches: dict[s.Name, Switch] = {}
    links: tuple[Link, ...] = ()
    lab: Lab | None = None
