"""The pipeline as data: every table, register, priority and conntrack zone, here and nowhere else.

Declaration order is the order of a packet. A packet only moves down: `Table.flow` refuses anything else when the flow is
made. `docs/pipeline.md` is printed from this file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from weft.apps.flow import Action, Bits, Clone, Ct, Flow, Goto, Learn, Match, Port, Resubmit, Set
from weft.topology.names import PORT_REGISTERS

Bridge = Literal["integration", "uplink", "bare"]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of one kind of bridge: what it decides, for whom reads a flow dump."""

    bridge: Bridge
    number: int
    name: str
    stage: str
    decides: str

    def flow(self, priority: int, match: Match, *actions: Action, why: tuple[str, ...]) -> Flow:
        """A flow in this table. Raises ValueError where it would send packets up the pipeline or to no table."""
        for action in _all(actions):
            target = action.table if isinstance(action, Goto | Resubmit | Ct | Learn) else None
            if target is not None and not (self.number < target < len(TABLES[self.bridge])):
                raise ValueError(f"{self.name}: no way from table {self.number} to {target}")
        if any(isinstance(action, Goto) for action in actions[:-1]):
            raise ValueError(f"{self.name}: goto is the last action")
        return Flow(self.number, priority, match, actions, why)


def _all(actions: Iterable[Action]) -> Iterator[Action]:
    """The actions, and those inside clones."""
    for action in actions:
        yield action
        if isinstance(action, Clone):
            yield from _all(action.actions)


def _tables(bridge: Bridge, *rows: tuple[str, str, str]) -> tuple[Table, ...]:
    return tuple(Table(bridge, number, *row) for number, row in enumerate(rows))


# fmt: off
INTEGRATION = _tables("integration",
    ("admit",     "admit",   "whose packet is this: port, tag or tunnel key to segment and origin; forged senders end here"),
    ("condition", "admit",   "what an endpoint sends: limits, DSCP, mirrors"),
    ("learn",     "learn",   "claims of somebody else's address end here; strangers' MACs, written by the switch itself into `macs`"),
    ("serve",     "serve",   "ARP and ND to the owner of the address; traffic for the segment's gateway to the service port"),
    ("balance",   "route",   "an address that is shared among endpoints: which connection is this"),
    ("choose",    "route",   "an established one goes on to its endpoint; for a new one an endpoint is chosen"),
    ("elect",     "route",   "that one if it lives, else one by lot"),
    ("hand",      "route",   "the connection is the chosen endpoint's from now on"),
    ("sticky",    "route",   "what `hand` wrote, which endpoint a client had before: outside every diff"),
    ("route",     "route",   "from one segment to another"),
    ("forward",   "forward", "(segment, MAC) to port, tunnel or uplink"),
    ("macs",      "forward", "what `learn` wrote: outside every diff"),
    ("flood",     "forward", "group traffic and unknown receivers: a copy for each member's port, each member's host, the uplink"),
    ("protect",   "protect", "split horizon; private segments; whose connections are followed"),
    ("parties",   "protect", "which end of a connection policies are about, and whether it asks or is asked"),
    ("whence",    "protect", "what the other end is: a host, outside, or of the fabric"),
    ("audit",     "protect", "policies that decide nothing: what they would drop is counted"),
    ("note",      "protect", "and told to the controller, once a connection"),
    ("judge",     "protect", "policies, first to last; then what the segment's own rule is"),
    ("settle",    "protect", "connections that were let through are remembered"),
    ("answers",   "emit",    "what a shared address answers comes from that address again"),
    ("emit",      "emit",    "tag or tunnel key, and out; mirrors of what an endpoint gets"),
    ("limit",     "emit",    "limits and DSCP of what an endpoint gets, and out"),
)
UPLINK = _tables("uplink",
    ("sort",          "sort",        "tunnel, host, bridged segment, way out, forged sender; the agent's base flow switches the rest"),
    ("from_host",     "untranslate", "the host's own traffic, translation undone"),
    ("from_guest",    "untranslate", "what leaves the service namespace"),
    ("to_host",       "untranslate", "what came for the uplink's address: an answer to a guest, or the host's own"),
    ("homeward",      "untranslate", "an answer to a guest of this host: to it, or into the service namespace, which says that it is too large"),
    ("guest_to_host", "translate",   "from a guest to its own host's uplink address"),
    ("hide",          "translate",   "such a guest gets an address that leads back here"),
    ("hidden",        "translate",   "and goes to the host"),
    ("answer",        "untranslate", "a guest's answer to a hidden guest"),
    ("answered",      "untranslate", "goes back into the service namespace"),
    ("host_answer",   "untranslate", "the host's answer to a hidden guest"),
    ("say",           "switch",      "the host's own, committed in the zone that guests are translated in, so that ports never collide"),
    ("leave",         "switch",      "only what was translated leaves"),
    ("let_in",        "switch",      "what a forward lets in goes into the service namespace"),
)
BARE = _tables("bare",
    ("enter",   "admit",   "which VLAN a port's packets are in; what is none of a switch's business ends here"),
    ("watch",   "learn",   "MACs, written by the switch itself into `seen`"),
    ("find",    "forward", "(VLAN, MAC) to port"),
    ("seen",    "forward", "what `watch` wrote: outside every diff"),
    ("deliver", "forward", "to the port that was found, else to all"),
    ("copies",  "forward", "a copy for each port"),
    ("leave",   "emit",    "tag, and out"),
)
# fmt: on

TABLES: dict[str, tuple[Table, ...]] = {"integration": INTEGRATION, "uplink": UPLINK, "bare": BARE}

(
    ADMIT, CONDITION, LEARN, SERVE, BALANCE, CHOOSE, ELECT, HAND, STICKY, ROUTE, FORWARD, MACS, FLOOD,
    PROTECT, PARTIES, WHENCE, AUDIT, NOTE, JUDGE, SETTLE, ANSWERS, EMIT, LIMIT,
) = INTEGRATION  # fmt: skip
(
    SORT, FROM_HOST, FROM_GUEST, TO_HOST, HOMEWARD, GUEST_TO_HOST, HIDE, HIDDEN,
    ANSWER, ANSWERED, HOST_ANSWER, SAY, LEAVE, LET_IN,
) = UPLINK  # fmt: skip
ENTER, WATCH, FIND, SEEN, DELIVER, COPIES, LEAVE_BY = BARE

SEGMENT = Bits("reg0", 0, 24)
"""Segment id, from `admit` on."""
ORIGIN = Bits("reg1", 0, 4)
"""Where the packet came from: one of the places below."""
TOWARDS = Bits("reg1", 4, 4)
"""Where it goes, from `forward` on; 0: not known yet."""
STRANGER = Bits("reg1", 8, 1)
"""The sender's MAC may be one that the model does not know."""
ROUTED = Bits("reg1", 9, 1)
"""It was sent to the gateway of a segment that is routed."""
ROLE = Bits("reg1", 10, 2)
"""Where policies apply: what the endpoint behind `SELF` is in this connection, CLIENT or SERVER."""
CLASS = Bits("reg1", 12, 3)
"""What the other end of that connection is: one of the classes below."""
UNPROVEN = Bits("reg1", 15, 1)
"""Nobody knows which addresses its sender has."""
OUT = Bits(PORT_REGISTERS[0], 0, 16)
"""Number of the port it leaves by."""
MEMBER = Bits("reg3", 0, 16)
"""Which of the endpoints behind a shared address was chosen."""
NOTED = Bits("reg3", 16, 16)
"""The policy that would drop it and decides nothing: its place in the file, from 1."""
SELF = Bits(PORT_REGISTERS[1], 0, 16)
"""Number of the port of the endpoint that policies are about."""
HOME = Bits("reg5", 0, 24)
"""Its segment."""
SHARED = Bits("reg6", 0, 16)
"""Number of the service whose address it was sent to."""
LOT = Bits("reg6", 16, 16)
"""Which of its living endpoints a client draws that had none."""

TOO_LARGE = Bits("reg0", 0, 1)
"""On an uplink's bridge: the packet is larger than its guest's interface takes."""

GUEST, TUNNEL, WIRE, SERVICE = 1, 2, 3, 4
"""Places: a guest's port, another host, the uplink, the service namespace."""

CLIENT, SERVER = 1, 2
INSIDE, HOST, OUTSIDE, ELSEWHERE, GATEWAY = 1, 2, 3, 4, 5
"""Classes: of the same address space (the segment, or all that are joined), a host itself, nobody of the fabric, of the fabric and yet only
reached by the wire, a segment's gateway."""

VLAN_PRESENT = 0x1000
"""In `vlan_vid`: there is a tag (OpenFlow 1.3.5, 7.2.3.7)."""

LEARNED_IDLE = 300
"""Seconds that a stranger's MAC is remembered, as a Linux bridge does."""
LEARNED_MAX = 16384
"""Strangers' MACs one bridge remembers."""

STICKY_IDLE = 10800
"""Seconds without a new connection after which a client may get another endpoint, as Kubernetes' ``sessionAffinity: ClientIP`` has it."""
STICKY_MAX = 4096
"""Clients that one bridge remembers of one service."""

BALANCED, HAIRPINNED = 900, 901
"""Conntrack zones of an integration bridge: clients of shared addresses, and endpoints that reach themselves by one. One zone for all
services, so that an answer of an endpoint that is behind several is looked up once, and the tracker keeps their connections apart."""


def put(bits: Bits, value: int | Port) -> Set:
    """Writes a number, or a port's number, into bits of a register."""
    return Set(bits.field, value if isinstance(value, Port) else value << bits.low, bits.mask)


def held(*pairs: tuple[Bits, int]) -> dict[str, tuple[int, int]]:
    """Match arguments for register bits that hold numbers: ``match(**held((SEGMENT, 7), (ORIGIN, GUEST)))``."""
    terms: dict[str, tuple[int, int]] = {}
    for bits, value in pairs:
        had_value, had_mask = terms.get(bits.field, (0, 0))
        terms[bits.field] = (had_value | value << bits.low, had_mask | bits.mask)
    return terms


FOLLOWED = 0x8000
"""Conntrack zones from here on are those of address spaces, by a hash of 15 bits (`weft.apps.parties`); the numbers below are fixed ones."""


def zones(uplink: int) -> tuple[int, int]:
    """Conntrack zones of a host's n-th uplink (from 0): its address, and the hairpin. Never 0: that is everybody's."""
    return 1000 + 2 * uplink, 1001 + 2 * uplink
