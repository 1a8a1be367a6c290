"""What an agent found on its host."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

HERE = ""
"""The agent's own network namespace, among the names of others."""


@dataclass(frozen=True, slots=True)
class Link:
    """One network device."""

    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    ours: str
    """What it was made for (``endpoint/web1.eth0``); empty: not ours."""
    addresses: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    """By this device: (network or ``default``, gateway or empty for on-link)."""
    master: str = ""
    """The Linux bridge or kernel bond that it is a port of."""
    index: int = 0
    over: int = 0
    """Index of the device that it is on (a VLAN, a macvtap); 0: none."""
    mode: str = ""
    """Of a macvtap, in the words of the fabric file."""
    opener: str = ""
    """Whom a tap of ours was made for, as `weft.agents.steps.MakeTap` says it."""

    def having(self, addresses: Iterable[str], routes: Iterable[tuple[str, str]]) -> "Link":
        """The same link with these addresses and routes."""
        return replace(self, addresses=tuple(addresses), routes=tuple(routes)) if addresses or routes else self


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Samples or flow records of a bridge, with the settings as ovs-vswitchd.conf.db(5) names them."""

    ours: bool
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Health:
    """How a tunnel is watched, and what is seen of its other end."""

    bfd: Mapping[str, str] = field(default_factory=dict)
    bfd_status: Mapping[str, str] = field(default_factory=dict)
    mpid: int | None = None
    fault: bool | None = None
    """802.1ag's; None: it does not run."""
    faults: tuple[str, ...] = ()
    remotes: tuple[int, ...] = ()
    """MPIDs heard from."""


@dataclass(frozen=True, slots=True)
class Bridge:
    name: str
    ours: bool
    dpid: int
    controller: str | None
    mac: str | None
    settings: bool
    """Fail mode, protocols and in-band are as we want them."""
    ports: tuple[str, ...] = ()
    unlearned: tuple[int, ...] = ()
    """VLANs in which it floods."""
    monitors: Mapping[str, Monitoring] = field(default_factory=dict)
    """By kind: ``sflow``, ``netflow``, ``ipfix``."""
    settled: str = ""
    """Of an uplink's: the object of the host's row that it was last found good with, as JSON; empty: it never was."""


@dataclass(frozen=True, slots=True)
class Member:
    """A NIC as Open vSwitch has it."""

    name: str
    ofport: int | None
    error: str
    link: str
    """``up``, ``down``; empty: not known yet."""
    current: bool | None = None
    """Its LACP partner is heard (802.1AX, 6.4.5: not expired, not defaulted); None: LACP does not run."""

    @property
    def works(self) -> bool:
        """Open vSwitch has it open, as far as is known."""
        return not self.error and self.ofport != -1


@dataclass(frozen=True, slots=True)
class Port:
    name: str
    bridge: str
    ours: bool
    kind: str
    options: Mapping[str, str]
    ofport: int | None
    """None: not decided yet; -1: Open vSwitch could not open it."""
    error: str
    profile: str = ""
    """``external_ids:port-profile``: the segment that a stranger belongs to, as libvirt writes it."""
    attached_mac: str = ""
    """``external_ids:attached-mac``: of the guest behind a stranger's port."""
    health: Health = Health()
    bond: str = ""
    """Of several NICs: ``active-backup``, ``balance-slb``, ``lacp``, or as somebody else has it; empty: it is one device."""
    members: tuple[Member, ...] = ()
    """What it consists of."""
    active: str = ""
    """MAC of the member of a bond that carries what is not spread."""
    vm: str = ""
    """``external_ids:vm-id``: uuid of the guest behind it, as libvirt writes it."""
    pin: str = ""
    """``external_ids:iface-id``: of its NIC, as the guest's definition says it or libvirt made it up."""

    def holds(self, nic: str) -> bool:
        return nic == self.name or any(member.name == nic for member in self.members)


@dataclass(frozen=True, slots=True)
class Network:
    """One of libvirt's networks."""

    defined: str
    """Its definition (XML); empty: it is gone when it stops."""
    live: str | None
    """What it runs with; None: it does not run."""
    autostart: bool
    lent: Mapping[str, str] = field(default_factory=dict)
    """Of a pool of virtual functions: the guest that has one, by its PCI address."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One of libvirt's guests."""

    name: str
    running: bool
    """False: paused as well, as a guest is that comes from another host and is not there yet."""
    alive: bool
    """There is a process of it."""
    networks: frozenset[str] = frozenset()
    """Those that it is plugged into."""
    functions: frozenset[str] = frozenset()
    """PCI addresses of what it has of the host's devices."""
    left: bool = False
    """It ran here, and stopped to go on at another host: what is for it is for there from now on."""


@dataclass(frozen=True, slots=True)
class Virt:
    """What libvirt has."""

    reason: str = ""
    """Why nothing is known; empty: it answered."""
    networks: Mapping[str, Network] = field(default_factory=dict)
    domains: Mapping[str, Domain] = field(default_factory=dict)
    """By uuid."""

    def users(self, network: str) -> list[str]:
        """Names of the guests that are plugged into a network now."""
        lent = self.networks[network].lent if network in self.networks else {}
        plugged = {domain.name for domain in self.domains.values() if domain.alive and network in domain.networks}
        return sorted(plugged.union(lent.values()))

    def borrower(self, pci: str) -> str:
        """The guest that has a virtual function out of a pool; empty: none has."""
        return next((network.lent[pci] for network in self.networks.values() if pci in network.lent), "")

    def owner(self, pci: str) -> str:
        """The guest that has it, out of a pool or not."""
        own = (domain.name for domain in self.domains.values() if domain.alive and pci in domain.functions)
        return self.borrower(pci) or next(own, "")


@dataclass(frozen=True, slots=True)
class Function:
    """A virtual function of a NIC, and what its NIC holds it to."""

    number: int
    pci: str
    """Its address: ``0000:01:10.0``."""
    group: str
    """IOMMU group; empty: it has none, and cannot be given to a virtual machine."""
    driver: str
    """``vfio-pci``: a virtual machine has it; empty: nobody drives it."""
    netdev: str
    """Its interface in the host's own namespace; empty: none there."""
    busy: str = ""
    """Who uses it, in words; empty: nobody."""
    mac: str = ""
    vlan: int = 0
    rate: int = 0
    """Megabits a second, 0: any."""
    spoofchk: bool | None = None
    """Sends from its own MAC alone. None: its driver does not say."""
    trust: bool | None = None
    link: str = "auto"
    """What it hears of the cable: ``auto``, ``up`` or ``down``."""


@dataclass(frozen=True, slots=True)
class Card:
    """A NIC with virtual functions. `total`: how many it can have."""

    total: int
    functions: tuple[Function, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """An address that a guest or a stranger has from DHCP."""

    address: str
    mac: str
    """Empty where DHCPv6 was asked by a name that has none (RFC 8415, 11)."""
    until: int
    """Seconds since 1970; 0: for ever."""
    name: str


@dataclass(frozen=True, slots=True)
class Leased:
    """What a host's own DHCP client on an uplink was given."""

    address: str
    """In CIDR; empty: nothing yet, or no longer."""
    gateway: str
    former: tuple[str, ...]
    """What it was given before, in CIDR, and may not use any more."""
    hears: bool
    """False: its interface was made anew since it started."""


@dataclass(frozen=True, slots=True)
class Answering:
    """A segment's dnsmasq that runs."""

    started_with: str
    """Digest of its configuration; empty: it hears nothing any more, its interface was made anew."""
    read: str
    """Digest of the files it has read."""
    leases: tuple[Lease, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a plan looks at."""

    datapath: str
    """``system`` (kernel) or ``netdev`` (userspace)."""
    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    ports: Mapping[str, Port] = field(default_factory=dict)
    links: Mapping[str, Mapping[str, Link]] = field(default_factory=dict)
    """By namespace; `HERE` is the agent's own."""
    deaf: frozenset[str] = frozenset()
    based: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Uplink bridges that have their base flow, and the ports whose untranslated packets stay inside."""
    services: str = ""
    """Digest of what the service namespace was set to."""
    host_way: str = ""
    """Digest of what the host's side of the way out through it was set to."""
    renewed: frozenset[str] = frozenset()
    """Links that were removed and made again since the last look."""
    answering: Mapping[str, Answering] = field(default_factory=dict)
    """By segment: who answers its DHCP and DNS."""
    resolvers: tuple[str, ...] = ()
    """Of the host, as far as the service namespace reaches them."""
    nexthops: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """MACs of gateways by interface of the service namespace and address, as long as its kernel keeps asking for them."""
    vlans: int = 1
    """How many tags of a frame Open vSwitch looks at; 0: as many as it can."""
    partners: Mapping[str, str] = field(default_factory=dict)
    """By NIC of a bond with LACP: the system id of its partner (802.1AX, 6.3.2); empty: it hears none."""
    leased: Mapping[str, Leased] = field(default_factory=dict)
    """By uplink bridge: the host's own DHCP clients that run."""
    virt: Virt | None = None
    """None: nobody asked for libvirt."""
    cards: Mapping[str, Card] = field(default_factory=dict)
    """By NIC: those whose virtual functions are asked for."""

    def port_of(self, nic: str) -> Port | None:
        """The port of Open vSwitch that a NIC is, or is a member of."""
        return next((port for port in self.ports.values() if port.holds(nic)), None)
