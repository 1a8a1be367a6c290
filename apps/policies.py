"""Policies, where the endpoint is that they are about: statefully, and every packet anew.

==========  ==============================================================================================
`protect`   IP to and from followed endpoints is tracked in the zone of their address space; neighbours, group membership and DHCP with the
            gateway are not
`parties`   which end is judged for: the one who is asked, where it is on this host and followed, else the one who asks
`whence`    what the other end is. Who asks somebody of its own address space is judged where that one is; a gateway may always ask
`audit`     the policies down to the last one that decides nothing: what that would drop is counted and, once a connection, noted
`note`      a copy to the controller, a few a second
`judge`     the policies in order, then the rule of the segment: a closed one lets nobody in, a nat one nobody of another segment
`settle`    a new connection is remembered (of TCP, one that was seen to begin), and everything goes on
==========  ==============================================================================================

All matches are on the tuple of a connection's first packet (ovs-fields(7), ct_nw_src), which answers and ICMP errors carry too: so one rule
holds for both directions, and a rule that changes holds for the next packet of every connection. Where several ends meet several ends or
services, conjunctive matches (ovs-fields(7), conj_id) cost the sum of them. What connection tracking knows nothing of (+inv) is dropped.
"""

from collections.abc import Iterable, Iterator

from weft.apps.admit import PIPELINE
from weft.apps.fields import IP, IPV6, UDP, ct_state
from weft.apps.flow import (
    CONTROLLER,
    Action,
    Bits,
    Conjunction,
    Ct,
    Flow,
    Given,
    Goto,
    Match,
    Meter,
    Output,
    Port,
    Resubmit,
    match,
)
from weft.apps.packet import SYN
from weft.apps.parties import DST, LINK_LOCAL, SRC, Rule, Surroundings, Terms, both, end, meet, selves, space
from weft.apps.pipeline import (
    ANSWERS,
    AUDIT,
    CLASS,
    CLIENT,
    ELSEWHERE,
    GATEWAY,
    GUEST,
    HOME,
    HOST,
    INSIDE,
    JUDGE,
    NOTE,
    NOTED,
    OUT,
    OUTSIDE,
    PARTIES,
    PROTECT,
    ROLE,
    SEGMENT,
    SELF,
    SERVER,
    SERVICE,
    SETTLE,
    TOWARDS,
    WHENCE,
    Table,
    held,
    put,
)  # fmt: skip
from weft.apps.view import Part, Unit, View
from weft.topology.errors import WeftError
from weft.topology.model import Endpoint, Segment
from weft.topology.model_rules import Service
from weft.topology.terms import Network

EXEMPT, SENT, RECEIVED = 60, 55, 50
"""Priorities in `protect`: never followed; what a followed endpoint sends; what it gets."""
FIRST, GAP = 60000, 4
"""Priority of the first policy, and the step to the next."""
CLOSED, SAME, OTHER = 30, 20, 10
"""Priorities in `judge`, below all policies: a closed segment; a nat segment's own, and others of its address space."""
NOTES = 50
"""Packets a second to the controller, from one bridge."""
CONTROLLER_METER = 0xFFFFFFFE
"""OFPM_CONTROLLER: the meter of packet-ins alone (OpenFlow 1.4.1, 7.3.4.1), so that nothing else is dropped by it."""
ZONE = Bits("ct_zone", 0, 16)
NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
TRACKED: Terms = {"ct_state": ct_state("+trk-inv")}
NEW: Terms = {"ct_state": "+trk+new-rel"}
UNDER_WAY: tuple[Terms, ...] = tuple({**NEW, "eth_type": kind, "tcp_flags": (0, SYN)} for kind in (IP, IPV6))
"""TCP that began before its endpoint was followed: who asked is not known. It is not remembered, and each direction is judged by itself: were
it remembered by a packet of the server's, the client would count as the one who is asked from then on, and never be judged."""
GROUPS: tuple[Terms, ...] = (
    {"eth_type": IP, f"ct_nw_{DST}": (0xE0000000, 0xF0000000)},
    {"eth_type": IP, f"ct_nw_{DST}": 0xFFFFFFFF},
    {"eth_type": IPV6, f"ct_ipv6_{DST}": (0xFF << 120, 0xFF << 120)},
)
"""To several at once: each of those who get it judges for itself."""


def parts(here: View) -> Iterator[Part]:
    law = here.law
    local = [(endpoint, site.segment) for site in here.inhabited for endpoint in (*site.local, *site.coming) if law.follows(endpoint)]
    if not local:
        return
    yield Part(("following",), following)
    for endpoint, segment in local:
        yield Part(("follow", endpoint.name), follow, (endpoint, segment, law.zone(segment)))
    segments = {segment.name: segment for _, segment in local}.values()
    for home in {space(segment): segment for segment in segments}.values():
        yield Part(("whence", space(home)), whence, (law.surroundings(home),))
    for segment in segments:
        if segment.closed or (segment.mode == "nat" and law.joins):
            yield Part(("rule", segment.name), own_rule, (segment,))
    audits = [rule.place for rule in law.rules if rule.policy.verdict == "audit"]
    if audits:
        yield Part(("notes",), notes)
    for rule in law.rules:
        ends = tuple((role, tuple(selves(rule, role, local))) for role in (SERVER, CLIENT))
        if any(mine and others for (_, mine), others in zip(ends, (rule.senders, rule.receivers), strict=True)):
            yield Part(("policy", rule.policy.name), policy, (rule, ends, bool(audits) and rule.place <= audits[-1]))


Ends = tuple[tuple[int, tuple[Terms, ...]], ...]
"""Role of the one who is judged for, and who that can be."""


def following() -> Unit:
    """What is the same wherever somebody is followed."""
    exempt: list[Terms] = [{"eth_type": IP, "ip_proto": 2}]
    exempt += [{"icmpv6_type": kind} for kind in (*range(130, 137), 143)]  # a type has no mask
    for family, client, server in ((IP, 68, 67), (IPV6, 546, 547)):
        dhcp = {"eth_type": family, "ip_proto": UDP, "udp_src": client, "udp_dst": server}
        exempt.append({**held((TOWARDS, SERVICE)), **dhcp})
    remember = Ct(zone=ZONE, commit=True)
    asking = held((ROLE, CLIENT))
    return (
        *(PROTECT.flow(EXEMPT, match(**terms), Goto(ANSWERS.number), why=PIPELINE) for terms in exempt),
        PARTIES.flow(100, match(ct_state="+trk+inv"), why=PIPELINE),
        *(WHENCE.flow(60, match(**asking, **TRACKED, **terms), Goto(SETTLE.number), why=PIPELINE) for terms in GROUPS),
        WHENCE.flow(0, match(), put(CLASS, OUTSIDE), Goto(AUDIT.number), why=PIPELINE),
        AUDIT.flow(0, match(), Goto(JUDGE.number), why=PIPELINE),
        JUDGE.flow(0, match(), Goto(SETTLE.number), why=PIPELINE),
        *(SETTLE.flow(20, match(**terms), Goto(ANSWERS.number), why=PIPELINE) for terms in UNDER_WAY),
        *(SETTLE.flow(10, match(**NEW, eth_type=kind), remember, Goto(ANSWERS.number), why=PIPELINE) for kind in (IP, IPV6)),
        SETTLE.flow(0, match(), Goto(ANSWERS.number), why=PIPELINE),
    )


def follow(endpoint: Endpoint, segment: Segment, zone: int) -> Unit:
    """One endpoint on its host: what it sends and gets is tracked, and whose connection it is."""
    why, port = (endpoint.path, segment.path), Port(endpoint.port)
    gets: Terms = {**held((TOWARDS, GUEST)), OUT.field: (port, OUT.mask)}
    sends: Terms = {"in_port": port}
    if endpoint.trunk:  # its port is several endpoints: `admit` says in HOME which one sends
        gets, sends = both(gets, held((SEGMENT, segment.id))), both(sends, held((HOME, segment.id)))
    me = (put(SELF, port), put(HOME, segment.id))
    flows = [
        PROTECT.flow(priority, match(**terms, eth_type=kind), Ct(zone=zone, table=PARTIES.number), why=why)
        for priority, terms in ((SENT, sends), (RECEIVED, gets))
        for kind in (IP, IPV6)
    ]
    for priority, role, state, terms in (
        (20, SERVER, "+trk-rpl", gets),
        (20, SERVER, "+trk+rpl", sends),
        (10, CLIENT, "+trk-rpl", sends),
        (10, CLIENT, "+trk+rpl", gets),
    ):
        flows.append(PARTIES.flow(priority, match(**terms, ct_state=state), *me, put(ROLE, role), Goto(WHENCE.number), why=why))
    return tuple(flows)


def whence(known: Surroundings) -> Unit:
    """Classes of addresses, in one address space."""
    flows: list[Flow] = []
    for role, side in ((SERVER, SRC), (CLIENT, DST)):
        here: Terms = {**TRACKED, **held((ROLE, role)), "ct_zone": known.zone}
        settle: tuple[Action, ...] = (Goto(SETTLE.number),)

        def judged(number: int) -> tuple[Action, ...]:
            return put(CLASS, number), Goto(AUDIT.number)

        within = judged(INSIDE) if role == SERVER else settle
        kinds = (
            (100, known.gateways, settle if role == SERVER else judged(GATEWAY)),
            (90, known.hosts, judged(HOST)),
            (80, known.elsewhere, judged(ELSEWHERE)),
            (70, known.inside, within),
            (60, ((LINK_LOCAL, PIPELINE),), within),
        )
        for priority, listed, actions in kinds:
            said = dict(reversed(listed))
            flows += (WHENCE.flow(priority, match(**here, **end(side, a)), *actions, why=why) for a, why in said.items())
    return tuple(flows)


def own_rule(segment: Segment) -> Unit:
    """What holds for a segment's endpoints where no policy says anything."""
    asked: Terms = {**TRACKED, **held((ROLE, SERVER), (HOME, segment.id))}
    why = (segment.path,)
    if segment.closed:
        return (JUDGE.flow(CLOSED, match(**asked), why=why),)
    own: list[Network] = [*(subnet.network for subnet in segment.subnets), LINK_LOCAL]
    others = meet(asked, held((CLASS, INSIDE)))
    assert others is not None
    return (
        *(JUDGE.flow(SAME, match(**asked, **end(SRC, network)), Goto(SETTLE.number), why=why) for network in own),
        JUDGE.flow(OTHER, match(**others), why=why),
    )


def notes() -> Unit:
    return (
        Meter(CONTROLLER_METER, NOTES, NOTES, True, PIPELINE),
        *(NOTE.flow(20, match(**terms), why=PIPELINE) for terms in UNDER_WAY),
    )


def policy(rule: Rule, ends: Ends, audited: bool) -> Unit:
    """One policy on one host. `audited`: one that decides nothing stands at its place or behind it, and comes no further than this one."""
    named, number, why = rule.policy, rule.place + 1, (rule.policy.path,)
    onward: tuple[Action, ...] = (Goto(JUDGE.number),)
    flows: list[Flow] = []
    if named.verdict == "audit":
        note = (put(NOTED, number), Resubmit(NOTE.number), *onward)
        flows += _matching(AUDIT, rule, ends, note)
        new = match(**held((NOTED, number)), **NEW)
        flows.append(NOTE.flow(10, new, Output(CONTROLLER, 128), why=why))
        return tuple(flows)
    flows += _matching(JUDGE, rule, ends, (Goto(SETTLE.number),) if named.verdict == "allow" else ())
    return (*flows, *(_matching(AUDIT, rule, ends, onward) if audited else ()))


def _matching(table: Table, rule: Rule, ends: Ends, actions: tuple[Action, ...]) -> Iterator[Flow]:
    """Flows of `table` for what a policy speaks of, by role; conjunctive ones where two dimensions or more have several members."""
    priority, why = place_priority(rule.place), (rule.policy.path,)
    for (role, mine), others in zip(ends, (rule.senders, rule.receivers), strict=True):
        common: Terms | None = {**TRACKED, **held((ROLE, role))}
        several: list[tuple[Terms, ...]] = []
        for dimension in (mine, others, services(rule.policy.service)):
            if len(dimension) == 1 and common is not None:
                common = meet(common, dimension[0])
            elif len(dimension) != 1:
                several.append(dimension)
        if common is None or not all(several):
            continue
        if len(several) < 2:
            met = [meet(common, terms) for terms in several[0]] if several else [common]
            yield from (table.flow(priority, each, *actions, why=why) for each in _distinct(met))
            continue
        number = 2 * rule.place + role
        for place, dimension in enumerate(several):
            part = Conjunction(number, place, len(several))
            met = [meet(common, terms) for terms in dimension]
            yield from (table.flow(priority, each, part, why=why) for each in _distinct(met))
        yield table.flow(priority, match(conj_id=number), *actions, why=why)


def _distinct(met: Iterable[Terms | None]) -> Iterator[Match]:
    return iter(dict.fromkeys(match(**terms) for terms in met if terms is not None))


def place_priority(place: int) -> int:
    if FIRST - GAP * place <= CLOSED:
        raise WeftError(f"more than {place} policies: they do not fit in a switch's priorities")
    return FIRST - GAP * place


def services(service: Service) -> tuple[Terms, ...]:
    """What a service looks like in a connection's first packet; a range of ports is a few masked ones."""
    if service.protocol == "any":
        return ({},)
    if service.protocol == "icmp":
        return ({"eth_type": IP, "ct_nw_proto": 1},)
    if service.protocol == "icmp6":
        return ({"eth_type": IPV6, "ct_nw_proto": 58},)
    proto: dict[str, Given] = {"ct_nw_proto": NUMBERS[service.protocol]}
    if (service.low, service.high) == (0, 65535):
        return (proto,)
    return tuple({**proto, "ct_tp_dst": masked} for masked in port_masks(service.low, service.high))


def port_masks(low: int, high: int) -> list[tuple[int, int]]:
    """The ports from `low` to `high` as values under masks, 30 at most."""
    found = []
    while low <= high:
        size = (low & -low) or 1 << 16
        while low + size - 1 > high:
            size >>= 1
        found.append((low, 0xFFFF & ~(size - 1)))
        low += size
    return found
