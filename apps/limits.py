"""What is done to all that one endpoint sends, and to all that it gets: limits, DSCP, copies for mirrors.

===========  =====================================================================================================
`condition`  what it sends, once it is admitted: its meter, copies, its mark
`emit`       what it gets, each copy of group traffic for itself: copies, and out; where it is limited or marked, by `limit`
`limit`      its meter, its mark, copies, and out
===========  =====================================================================================================

A mirror sees what passed the limits. Its own group traffic comes back to nobody, so it is no part of what an endpoint gets. A meter that
drops must not take the rest of a flood with it: `limit` is looked up `apart`. Marks are of IP and IPv6 alone (RFC 2474).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weft.apps.fields import IP, IPV6
from weft.apps.flow import (
    Action,
    Given,
    Goto,
    Meter,
    Output,
    PopVlan,
    Port,
    PushVlan,
    Resubmit,
    Set,
    ToMeter,
    apart,
    match,
)
from weft.apps.meters import numbers
from weft.apps.mirrors import Copy, copied, copies
from weft.apps.pipeline import (
    CONDITION,
    EMIT,
    GUEST,
    LEARN,
    LIMIT,
    ORIGIN,
    OUT,
    SEGMENT,
    TOWARDS,
    VLAN_PRESENT,
    Table,
    held,
)  # fmt: skip
from weft.apps.view import Part, Unit, View
from weft.topology.model import Endpoint, Segment
from weft.topology.model_rules import Qos

ITSELF, KIND, ALL = 220, 210, 200


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit or a mark of one direction of one endpoint."""

    path: str
    meter: Meter | None
    dscp: int | None


def parts(here: View) -> Iterator[Part]:
    limits, made = _limits(here), copies(here)
    for name in sorted({*made, *(name for name, _ in limits)}):
        endpoint, mirrored = here.fabric.endpoints[name], made.get(name, ())
        segment = here.fabric.segments[endpoint.segment]
        sends, gets = limits.get((name, "out")), limits.get((name, "in"))
        if mirrored or sends:
            yield Part(("sends", name), sent, (endpoint, segment, mirrored, sends))
        if mirrored or gets:
            yield Part(("gets", name), got, (endpoint, segment, mirrored, gets))


def _limits(here: View) -> dict[tuple[str, str], Limit]:
    on = {name for name, e in here.fabric.endpoints.items() if e.host == here.host.name and not e.direct}  # a card limits its own
    local = {(qos.endpoint, qos.direction): qos for qos in here.fabric.qos if qos.endpoint in on}
    known = numbers(here) if local else {}
    return {key: Limit(qos.path, _meter(qos, known), qos.dscp) for key, qos in local.items()}


def _meter(qos: Qos, known: Mapping[str, int]) -> Meter | None:
    return None if qos.rate is None else Meter(known[f"qos/{qos.number}"], qos.rate, qos.burst or 0, False, (qos.path,))


def sent(endpoint: Endpoint, segment: Segment, made: tuple[Copy, ...], limit: Limit | None) -> Unit:
    """What it sends."""
    terms: dict[str, Given] = {"in_port": Port(endpoint.port), **held((SEGMENT, segment.id), (ORIGIN, GUEST))}
    return _treated(CONDITION, terms, limit, copied(made, endpoint.tag), (Goto(LEARN.number),), _why(endpoint, segment, made, limit))


def got(endpoint: Endpoint, segment: Segment, made: tuple[Copy, ...], limit: Limit | None) -> Unit:
    """What it gets."""
    why = _why(endpoint, segment, made, limit)
    terms: dict[str, Given] = {
        **held((SEGMENT, segment.id), (TOWARDS, GUEST)),
        OUT.field: (Port(endpoint.port), OUT.mask),
    }
    itself = EMIT.flow(ITSELF, match(**terms, in_port=Port(endpoint.port)), why=why)
    out = _out(endpoint)
    if limit is None:
        return itself, EMIT.flow(ALL, match(**terms), *copied(made, endpoint.tag), *out, why=why)
    limited = EMIT.flow(ALL, match(**terms), apart(Resubmit(LIMIT.number)), why=why)
    return itself, limited, *_treated(LIMIT, terms, limit, copied(made, endpoint.tag), out, why)


def _treated(
    table: Table,
    terms: dict[str, Given],
    limit: Limit | None,
    copied: tuple[Action, ...],
    on: tuple[Action, ...],
    why: tuple[str, ...],
) -> Unit:
    """Through the meter first (OpenFlow knows it nowhere else), then marked, copied as it is, and `on`."""
    meter = limit.meter if limit else None
    first = (ToMeter(meter.number),) if meter else ()
    flows = [table.flow(ALL, match(**terms), *first, *copied, *on, why=why)]
    if limit and limit.dscp is not None:
        mark = Set("ip_dscp", limit.dscp)
        # What it sends is copied before it is marked, what it gets after.
        marked = (*copied, mark) if table is CONDITION else (mark, *copied)
        flows += [table.flow(KIND, match(**terms, eth_type=kind), *first, *marked, *on, why=why) for kind in (IP, IPV6)]
    return (*flows, *((meter,) if meter else ()))


def _out(endpoint: Endpoint) -> tuple[Action, ...]:
    if endpoint.tag is None:
        return (Output(OUT),)
    return PushVlan(), Set("vlan_vid", VLAN_PRESENT | endpoint.tag), Output(OUT), PopVlan()


def _why(endpoint: Endpoint, segment: Segment, made: tuple[Copy, ...], limit: Limit | None) -> tuple[str, ...]:
    return (*(copy.path for copy in made), *((limit.path,) if limit else ()), endpoint.path, segment.path)
