"""What a flow is: the language between what the network should be and what a switch is told.

Pure values. A port is named, not numbered: the number is the switch's, found when the flow is encoded. `weft.controller` turns
flows into OpenFlow, `weft.apps.walk` runs packets through them, `weft.apps.text` prints them as ovs-ofctl(8) does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import chain
from typing import NamedTuple

from weft.apps.fields import FIELDS, ct_state
from weft.topology.names import COOKIE_MAGIC


class Port(NamedTuple):
    """A port by name; a flow that matches on one the switch does not have is held back until it does."""

    name: str


IN_PORT = 0xFFFFFFF8
NORMAL = 0xFFFFFFFA
FLOOD = 0xFFFFFFFB
ALL = 0xFFFFFFFC
CONTROLLER = 0xFFFFFFFD
LOCAL = 0xFFFFFFFE
"""Reserved ports (OpenFlow 1.3.5, 7.2.1)."""

Value = int | Port


class Term(NamedTuple):
    """One field of a match; `mask` None: exactly `value`."""

    field: str
    value: Value
    mask: int | None = None


Match = tuple[Term, ...]
"""In the order of `FIELDS`, prerequisites included."""

Given = Value | str | IPv4Address | IPv6Address | IPv4Network | IPv6Network | tuple[int, int] | tuple[Port, int]

_ORDER = {name: place for place, name in enumerate(FIELDS)}


def mac_number(text: str) -> int:
    return int(text.replace(":", ""), 16)


def match(**given: Given) -> Match:
    """A match from field names (ovs-fields(7)) and values in the form at hand; adds the prerequisites that follow.

    A value is a number, a `Port`, a MAC or ct_state (``"+trk-inv"``) text, an address, a network, or (value, mask).
    Raises KeyError for an unknown field and ValueError where two fields contradict each other.
    """
    terms = {name: _term(name, value) for name, value in given.items()}
    for name in given:
        for needed, value in FIELDS[name].needs:
            if terms.setdefault(needed, Term(needed, value)).value != value:
                raise ValueError(f"{name} needs {needed}={value:#x}")
    return tuple(sorted(terms.values(), key=lambda term: _ORDER[term.field]))


def _term(name: str, given: Given) -> Term:
    ones = FIELDS[name].ones
    if isinstance(given, Port):
        return Term(name, given)
    if isinstance(given, tuple) and isinstance(given[0], Port):
        return Term(name, given[0], given[1])
    if isinstance(given, str):
        given = ct_state(given) if name == "ct_state" else mac_number(given)
    elif isinstance(given, IPv4Network | IPv6Network):
        given = (int(given.network_address), int(given.netmask))
    value, mask = (int(given[0]), given[1]) if isinstance(given, tuple) else (int(given), ones)
    if value & ~mask or mask & ~ones:
        raise ValueError(f"{name}={value:#x}/{mask:#x} does not fit its {FIELDS[name].bits} bits")
    return Term(name, value, None if mask == ones else mask)


class Bits(NamedTuple):
    """A range of bits of a field, ``reg1[4..7]``: lowest bit and how many."""

    field: str
    low: int
    width: int

    @property
    def mask(self) -> int:
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True, slots=True)
class Output:
    """To a port by name, a number or reserved port, or to the port whose number stands in a field."""

    port: Value | Bits
    max_len: int = 0xFFFF


@dataclass(frozen=True, slots=True)
class Set:
    """Sets a field, or the bits of it under `mask`. A `Port` stands for its number, shifted to the mask's lowest bit."""

    field: str
    value: Value
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    source: Bits
    target: Bits


@dataclass(frozen=True, slots=True)
class PushVlan:
    ethertype: int = 0x8100


@dataclass(frozen=True, slots=True)
class PopVlan:
    pass


@dataclass(frozen=True, slots=True)
class DecTtl:
    pass


@dataclass(frozen=True, slots=True)
class Nat:
    """Translation within `Ct`: both None undoes or repeats what the connection has; 0 as `src` keeps address and port if it can."""

    src: IPv4Address | IPv6Address | None = None
    dst: IPv4Address | IPv6Address | None = None
    port: int | None = None
    last: int | None = None
    """With it, `port` is the first of a range."""


@dataclass(frozen=True, slots=True)
class Ct:
    """Connection tracking (ovs-actions(7), ct): the packet goes on in `table`, tracked; None: it does not."""

    zone: int | Bits
    table: int | None = None
    commit: bool = False
    nat: Nat | None = None
    exec: tuple["Set | Move", ...] = ()
    force: bool = False


@dataclass(frozen=True, slots=True)
class LearnMatch:
    """The learned flow matches bits of a field: those of the packet's `source`, or a number."""

    target: Bits
    source: Bits | int


@dataclass(frozen=True, slots=True)
class LearnLoad:
    """The learned flow loads bits: those of the packet's `source`, or a number."""

    target: Bits
    source: Bits | int


@dataclass(frozen=True, slots=True)
class Learn:
    """Writes a flow into `table` (ovs-actions(7), learn). Time-outs in seconds, 0: none; `limit` flows at most, 0: no limit."""

    table: int
    priority: int
    cookie: int
    specs: tuple[LearnMatch | LearnLoad, ...]
    idle_timeout: int = 0
    hard_timeout: int = 0
    limit: int = 0
    delete_learned: bool = False


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Looks `table` up and comes back."""

    table: int


@dataclass(frozen=True, slots=True)
class Goto:
    """Goes on in a later table, and does not come back: the last action of a flow."""

    table: int


@dataclass(frozen=True, slots=True)
class Cut:
    """To a port, no more of the frame than `octets` from its Ethernet header on (at least 14)."""

    port: Value
    octets: int


@dataclass(frozen=True, slots=True)
class Clone:
    """A copy of the packet that goes through `actions` alone: nothing they do is seen by what follows."""

    actions: tuple["Action", ...]


@dataclass(frozen=True, slots=True)
class ToGroup:
    group: int


@dataclass(frozen=True, slots=True)
class ToMeter:
    """First in a flow's actions (OpenFlow 1.3.5, 5.9)."""

    meter: int


@dataclass(frozen=True, slots=True)
class BySender:
    """Writes a number below `choices`, by a hash of the sender's IP address (ovs-actions(7), multipath): the same for the same sender."""

    choices: int
    target: Bits


@dataclass(frozen=True, slots=True)
class Larger:
    """Writes one bit: whether the frame, from its Ethernet header on, has more than `octets` (ovs-actions(7), check_pkt_larger)."""

    octets: int
    target: Bits


@dataclass(frozen=True, slots=True)
class Conjunction:
    """This flow is one of the `dimension`-th (from 0) of `of` dimensions of conjunction `number` (ovs-fields(7), conj_id): a packet that
    meets a flow of each of them is looked up again with conj_id. No other kind of action stands beside it."""

    number: int
    dimension: int
    of: int


Action = (
    Output | Set | Move | PushVlan | PopVlan | DecTtl | Ct | Learn | Resubmit | Goto | Cut | Clone
    | ToGroup | ToMeter | Conjunction | BySender | Larger
)  # fmt: skip


NOWHERE = 0xFEFF
"""Number of a port that no switch has: as the port that a packet came by, it lets the packet leave by any."""


def apart(*actions: Action) -> Clone:
    """A clone that is one for the datapath too: a meter in it drops this copy and none that follow.

    Open vSwitch 3.1 makes a clone of the datapath only where the actions named in it cannot be undone, and does not look behind
    `Resubmit`. Output of a cut copy is such an action; here it leads to where the packet came from, hence nowhere.
    """
    return Clone((*actions, Set("in_port", NOWHERE), Cut(NOWHERE, 64)))


class Identity(NamedTuple):
    """What makes a flow this flow on a switch (OpenFlow 1.3.5, 5.2)."""

    table: int
    priority: int
    match: Match


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow, and the paths of the objects it serves (``guests/web1/nics/eth0``): no actions means drop."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    why: tuple[str, ...]
    cookie: int = field(init=False, repr=False, compare=False)
    """64 bits: the magic of weft, and a hash of what the flow says and whom it serves. Names count, lines and ports' numbers do not."""

    @property
    def identity(self) -> Identity:
        return Identity(self.table, self.priority, self.match)

    def __post_init__(self) -> None:
        terms = ",".join([f"{name}={value}/{mask}" for name, value, mask in self.match])
        said = f"{self.table} {self.priority} {terms} {self.actions} {self.why}"
        low = int.from_bytes(blake2b(said.encode(), digest_size=4).digest(), "big")
        object.__setattr__(self, "cookie", COOKIE_MAGIC << 32 | max(low, 0x100))  # the lowest numbers are the agent's and learn()'s


@dataclass(frozen=True, slots=True)
class Bucket:
    actions: tuple[Action, ...]
    weight: int = 1
    watch_port: Value | None = None


@dataclass(frozen=True, slots=True)
class Group:
    number: int
    kind: str
    """``all``, ``select``, ``indirect`` or ``fast_failover``."""
    buckets: tuple[Bucket, ...]
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meter:
    """Drops above `rate` kilobits or packets a second."""

    number: int
    rate: int
    burst: int
    packets: bool
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """All that one switch should hold: flows in units, each made from one thing, the same tuple as long as that thing is the same."""

    units: Mapping[tuple[str, ...], tuple[Flow, ...]] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    meters: tuple[Meter, ...] = ()
    fragments: bool = False
    """Matches on ports and ICMP types hold for first fragments too (Open vSwitch hides those fields of every fragment otherwise, and a
    guest that cuts its router advertisement in two is past the guard)."""

    def flows(self) -> Iterator[Flow]:
        return chain.from_iterable(self.units.values())
