"""What an agent can do, as values: a plan is a list of them, printed before any is done."""

from dataclasses import dataclass

from weft.agents.service_steps import ServiceStep


@dataclass(frozen=True, slots=True)
class AddBridge:
    """A bridge with everything it needs from the start: secure, out of band, its datapath id and controller."""

    name: str
    dpid: int
    datapath: str
    controller: str | None
    mac: str | None
    """MAC of its LOCAL port; None: Open vSwitch chooses."""
    unlearned: tuple[int, ...] = ()
    """VLANs in which it floods and learns nothing."""


@dataclass(frozen=True, slots=True)
class SetBridge:
    """The settings of a bridge that is there."""

    name: str
    dpid: int
    controller: str | None
    mac: str | None
    unlearned: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoveBridge:
    name: str


@dataclass(frozen=True, slots=True)
class SeeTags:
    """Open vSwitch looks at all the tags of a frame that it can. It holds for the whole of it, and is never taken back."""


@dataclass(frozen=True, slots=True)
class AddPort:
    """`kind` and `options` as in ovs-vswitchd.conf.db(5), Interface."""

    bridge: str
    name: str
    kind: str = ""
    options: tuple[tuple[str, str], ...] = ()
    tag: int | None = None


@dataclass(frozen=True, slots=True)
class AddBond:
    """Several NICs as one port. `mode`: ``active-backup``, ``balance-slb`` or ``lacp``."""

    bridge: str
    name: str
    mode: str
    nics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetBond:
    """The mode and the NICs of a bond that is there; those that stay are not touched."""

    name: str
    mode: str
    nics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """An uplink's bridge remembers the object of the host's row, as JSON, that it was found good with."""

    bridge: str
    spec: str


@dataclass(frozen=True, slots=True)
class SetWatch:
    """How a tunnel's ends watch each other: ``bfd``, ``cfm`` (then as maintenance point `mpid`) or ``none``."""

    name: str
    kind: str
    mpid: int


@dataclass(frozen=True, slots=True)
class SetMonitor:
    """What a bridge tells collectors: ``sflow``, ``netflow`` or ``ipfix``, with settings as in ovs-vswitchd.conf.db(5)."""

    bridge: str
    kind: str
    settings: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class RemoveMonitor:
    bridge: str
    kind: str


@dataclass(frozen=True, slots=True)
class RemovePort:
    bridge: str
    name: str


@dataclass(frozen=True, slots=True)
class BaseFlows:
    """An uplink bridge switches, and nothing untranslated leaves `exit`, whatever becomes of the controller."""

    bridge: str
    exit: str | None


@dataclass(frozen=True, slots=True)
class MakeVeth:
    """A pair: `name` here, `inside` in `namespace`, which is made where it is missing."""

    name: str
    namespace: str
    inside: str
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class MakeJoint:
    """A pair here: `name`, and `port`, a port of the Linux bridge `bridge`."""

    name: str
    mtu: int
    bridge: str
    port: str
    port_mac: str
    port_mtu: int


@dataclass(frozen=True, slots=True)
class Enslave:
    """A link is a port of a Linux bridge."""

    name: str
    bridge: str


@dataclass(frozen=True, slots=True)
class MakeTap:
    """A persistent tap that a guest's process opens. `opener`: ``OWNER:GROUP:multi``, or empty (root alone, one queue)."""

    name: str
    mtu: int
    opener: str = ""


@dataclass(frozen=True, slots=True)
class MakeVlan:
    """What takes a tag off a NIC's frames."""

    name: str
    nic: str
    vlan: int
    mtu: int


@dataclass(frozen=True, slots=True)
class MakeMacvtap:
    """A macvtap on `lower`, a NIC or a VLAN of one; a guest's process opens ``/dev/tapINDEX``. Modes as the fabric file has them."""

    name: str
    index: int
    lower: str
    mode: str
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class SetFunctions:
    """A NIC has so many virtual functions: by way of none, as the kernel wants."""

    nic: str
    count: int


@dataclass(frozen=True, slots=True)
class SetFunction:
    """What a NIC holds a virtual function to (ip-link(8)). `rebind`: its driver here starts anew, to see the MAC."""

    nic: str
    number: int
    settings: tuple[tuple[str, str | int], ...]
    rebind: bool = False


@dataclass(frozen=True, slots=True)
class RemoveLink:
    """A link of ours, and the namespace of its other end when nothing else is in it."""

    name: str
    namespace: str | None


@dataclass(frozen=True, slots=True)
class SetInside:
    """The interface a guest or the services have: addresses in CIDR, default routes."""

    namespace: str
    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetUp:
    """A link here: up, with this MTU."""

    name: str
    mtu: int


@dataclass(frozen=True, slots=True)
class AskAddress:
    """The host asks for its address on an uplink by DHCP."""

    bridge: str


@dataclass(frozen=True, slots=True)
class StopAsking:
    bridge: str


@dataclass(frozen=True, slots=True)
class Deafen:
    """The kernel hears nothing of these devices and of no others: the userspace datapath reads them beside it."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MoveAddresses:
    """All addresses and routes of a link go to another, none of them ever missing on both."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class SetAddress:
    """One address in CIDR, and the default route by `gateway` where there is one."""

    name: str
    address: str
    gateway: str | None


@dataclass(frozen=True, slots=True)
class DropAddress:
    """One address in CIDR that a link should not have any more."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class DefineNetwork:
    """libvirt has a network by this definition (XML), from its next start on where it runs already."""

    name: str
    xml: str


@dataclass(frozen=True, slots=True)
class StartNetwork:
    """It runs, and with `again` by its present definition."""

    name: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class KeepNetwork:
    """It starts with libvirt."""

    name: str


@dataclass(frozen=True, slots=True)
class RemoveNetwork:
    name: str


OvsBridgeStep = AddBridge | SeeTags | SetBridge | RemoveBridge | Settle
OvsPortStep = AddPort | AddBond | SetBond | RemovePort | SetWatch | SetMonitor | RemoveMonitor
OvsStep = OvsBridgeStep | OvsPortStep
MakeStep = MakeVeth | MakeJoint | MakeTap | MakeVlan | MakeMacvtap
LinkStep = MakeStep | Enslave | RemoveLink | SetInside | SetUp | Deafen | MoveAddresses | SetAddress | DropAddress
FunctionStep = SetFunctions | SetFunction
LibvirtStep = DefineNetwork | StartNetwork | KeepNetwork | RemoveNetwork
AddressStep = AskAddress | StopAsking
Step = OvsStep | BaseFlows | LinkStep | FunctionStep | AddressStep | ServiceStep | LibvirtStep


@dataclass(frozen=True, slots=True)
class Action:
    """One line of a plan."""

    action: str
    object: str
    detail: str
    step: Step
    key: str = ""
    """Object of the host's row that it is done for (``endpoint/web1.eth0``); empty where it only clears away."""
