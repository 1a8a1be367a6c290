"""One layer-2 domain across ports, hosts and the wire: learning, forwarding, flooding, split horizon.

==========  ==============================================================================================
`learn`     a stranger's (segment, MAC) is written into `macs` by the switch itself; known MACs need no learning
`forward`   (segment, MAC) of a known guest: its port, the tunnel to its host, or the uplink; a group address: `flood`;
            an unknown one: `macs`, then `flood` where strangers live, the end elsewhere
`flood`     from a guest: every member's port here, the tunnel to each host with members, the uplink; from anywhere else: ports here
`protect`   what came by a tunnel does not leave by one, nor by the wire what came by it or from the services
`emit`      tunnel key or tag, and out
==========  ==============================================================================================
"""

from weft.apps.admit import MULTICAST, PIPELINE
from weft.apps.flow import (
    Action,
    Bits,
    Flow,
    Goto,
    LearnLoad,
    LearnMatch,
    Move,
    Output,
    Port,
    PushVlan,
    Resubmit,
    Set,
    match,
)
from weft.apps.learning import remember
from weft.apps.pipeline import (
    ANSWERS,
    BALANCE,
    CONDITION,
    EMIT,
    FLOOD,
    FORWARD,
    GUEST,
    LEARN,
    MACS,
    ORIGIN,
    OUT,
    PROTECT,
    ROUTE,
    SEGMENT,
    SERVE,
    SERVICE,
    STRANGER,
    TOWARDS,
    TUNNEL,
    VLAN_PRESENT,
    WIRE,
    held,
    put,
)  # fmt: skip
from weft.apps.view import Way
from weft.topology.model import Endpoint, Segment

KNOWN, GROUP, UNKNOWN = 100, 50, 10
DOT1Q, DOT1AD = 0x8100, 0x88A8
"""EtherTypes of a customer's tag and of a provider's around it (IEEE 802.1Q, 9.5)."""


def defaults() -> tuple[Flow, ...]:
    """The flows that are the same on every integration bridge."""
    horizon = ((TUNNEL, TUNNEL), (WIRE, WIRE), (SERVICE, WIRE))
    return (
        CONDITION.flow(0, match(), Goto(LEARN.number), why=PIPELINE),
        LEARN.flow(0, match(), Goto(SERVE.number), why=PIPELINE),
        SERVE.flow(0, match(), Goto(BALANCE.number), why=PIPELINE),
        BALANCE.flow(0, match(), Goto(ROUTE.number), why=PIPELINE),
        ROUTE.flow(0, match(), Goto(FORWARD.number), why=PIPELINE),
        FORWARD.flow(GROUP, match(eth_dst=MULTICAST), Goto(FLOOD.number), why=PIPELINE),
        FORWARD.flow(0, match(), why=PIPELINE),
        FLOOD.flow(0, match(), Goto(PROTECT.number), why=PIPELINE),
        *(PROTECT.flow(KNOWN, match(**held((ORIGIN, came), (TOWARDS, goes))), why=PIPELINE) for came, goes in horizon),
        PROTECT.flow(0, match(), Goto(ANSWERS.number), why=PIPELINE),
        ANSWERS.flow(0, match(), Goto(EMIT.number), why=PIPELINE),
        EMIT.flow(KNOWN, match(**held((TOWARDS, TUNNEL))), *_key(), Output(OUT), why=PIPELINE),
        EMIT.flow(0, match(), Output(OUT), why=PIPELINE),
    )


def learning() -> tuple[Flow, ...]:
    """On bridges where strangers may live: who sends from where."""
    specs = (
        LearnMatch(SEGMENT, SEGMENT),
        LearnMatch(Bits("eth_dst", 0, 48), Bits("eth_src", 0, 48)),
        LearnLoad(OUT, Bits("in_port", 0, 16)),
        LearnLoad(TOWARDS, ORIGIN),
    )
    return remember(LEARN, KNOWN, held((STRANGER, 1)), specs, MACS, Goto(SERVE.number), why=PIPELINE)


def _key() -> tuple[Action, ...]:
    return (Move(SEGMENT, Bits("tun_id", 0, SEGMENT.width)),)


def reach(endpoint: Endpoint, segment: Segment, way: Way) -> tuple[Flow, ...]:
    """A known MAC, on one host: where it is from there."""
    known = match(**held((SEGMENT, segment.id)), eth_dst=endpoint.mac)
    return (FORWARD.flow(KNOWN, known, *to(way), Goto(PROTECT.number), why=(endpoint.path, segment.path)),)


def flood(segment: Segment, here: tuple[str, ...], beyond: tuple[Way, ...]) -> tuple[Flow, ...]:
    """Group traffic of a segment on one host: `here` are its members' ports, `beyond` the ways to its other members."""
    unknown = ((SEGMENT, segment.id), (TOWARDS, 0))
    flows = [FLOOD.flow(GROUP, match(**held(*unknown)), *copies(here), why=(segment.path,))]
    if not segment.private:  # else `weft.apps.private` says who gets what from a guest
        flows.append(FLOOD.flow(KNOWN, match(**held(*unknown, (ORIGIN, GUEST))), *copies(here, beyond), why=(segment.path,)))
    if segment.strangers:
        look = (Resubmit(MACS.number), Goto(FLOOD.number))
        flows.append(FORWARD.flow(UNKNOWN, match(**held((SEGMENT, segment.id))), *look, why=(segment.path,)))
    return tuple(flows)


def tag(segment: Segment) -> tuple[Flow, ...]:
    """The segment's tag on the uplink."""
    if segment.vlan is None:
        return ()
    out = (PushVlan(DOT1AD if segment.qinq else DOT1Q), Set("vlan_vid", VLAN_PRESENT | segment.vlan), Output(OUT))  # the last copy of all
    return (EMIT.flow(KNOWN, match(**held((SEGMENT, segment.id), (TOWARDS, WIRE))), *out, why=(segment.path,)),)


def copies(here: tuple[str, ...], beyond: tuple[Way, ...] = ()) -> tuple[Action, ...]:
    """One for each port here and for each way to elsewhere."""
    made: tuple[Action, ...] = (put(TOWARDS, GUEST),)
    for port in here:
        made += (put(OUT, Port(port)), Resubmit(PROTECT.number))
    for way in beyond:
        made += (*to(way), Resubmit(PROTECT.number))
    return made


def to(way: Way) -> tuple[Action, ...]:
    return put(TOWARDS, way.place), put(OUT, Port(way.port))
