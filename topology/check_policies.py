"""Policies that a switch could not hold to (faults), and those that are hardly meant (warnings).

A switch knows the endpoint it judges for by its port, and the other end of a connection by its address alone. So whoever is named as the other
end needs addresses.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from weft.topology.document import Document, Faults
from weft.topology.model import Endpoint, Fabric, Segment
from weft.topology.model_rules import Party, Policy, Service
from weft.topology.terms import Network

Segments = Mapping[str, Segment]
Endpoints = Mapping[str, Endpoint]


def check_policies(document: Document, policies: Iterable[Policy], segments: Segments, endpoints: Endpoints, faults: Faults) -> None:
    for (path, _), policy in zip(document.items("policies"), policies, strict=True):
        for key, party, other in (("from", policy.sender, policy.receiver), ("to", policy.receiver, policy.sender)):
            hidden = next(_unknown(key, party, other, segments, endpoints), None)
            if hidden is not None:
                what = f"{key} {party.said}: endpoint \"{hidden}\" has no address that a switch could know it by: give it ip"
                faults.add((*path, key), what)


def _unknown(key: str, party: Party, other: Party, segments: Segments, endpoints: Endpoints) -> Iterator[str]:
    """Endpoints without an address that would have to be known by one: of who asks, wherever the one who is asked is met directly, and of
    who is asked, where the one who asks is met behind its host's address."""
    bare = party.segment is not None and not segments[party.segment].subnets
    members = [name for name, e in endpoints.items() if e.segment == party.segment] if bare else party.endpoints or ()
    for name in members:
        mine = endpoints[name]
        if mine.addresses:
            continue
        if other.word == "any" and key == "from":
            yield name
        for met in _segments_of(other, endpoints):
            if met == mine.segment if key == "from" else segments[met].mode == "nat":
                yield name


def _segments_of(party: Party, endpoints: Endpoints) -> set[str]:
    if party.segment is not None:
        return {party.segment}
    return {endpoints[name].segment for name in party.endpoints or ()}


# ---- warnings


def policy_warnings(fabric: Fabric) -> Iterator[str]:
    for place, policy in enumerate(fabric.policies):
        said = f'{policy.source}: policy "{policy.name}"'
        if reason := _never(policy, fabric):
            yield f"{said}: can never match: {reason}"
        elif first := next((p for p in fabric.policies[:place] if _shadows(p, policy, fabric)), None):
            yield f'{said}: never decides: policy "{first.name}" on line {first.source.line} says {first.verdict} to all of it before'
    for segment in fabric.segments.values():
        inhabited = any(endpoint.segment == segment.name for endpoint in fabric.endpoints.values())
        if segment.closed and inhabited and not any(p.verdict == "allow" and _enters(p.receiver, segment, fabric) for p in fabric.policies):
            yield f'{segment.source}: segment "{segment.name}": is closed, and no policy allows anything to enter it'


def overdue(fabric: Fabric, now: datetime) -> Iterator[str]:
    """Policies whose time is over."""
    for policy in fabric.policies:
        if policy.until is not None and policy.until <= now:
            yield f'{policy.source}: policy "{policy.name}": its time was over on {policy.until:%Y-%m-%d at %H:%M %Z}'


def _never(policy: Policy, fabric: Fabric) -> str:
    """Why a policy matches nothing; empty where it can match."""
    sender, receiver = policy.sender, policy.receiver
    for party in (sender, receiver):
        if party.endpoints == ():
            return f"{party.said} is no guest's" if party.said.startswith("{") else f"{party.said} has no endpoint"
    families = _families(sender, fabric) & _families(receiver, fabric)
    asked = {"icmp": {4}, "icmp6": {6}}.get(policy.service.protocol, {4, 6})
    if not families & asked:
        return f"{sender.said} and {receiver.said} have no IP version in common{'' if not families else f' that {policy.service} is of'}"
    places = [_places(party, fabric) for party in (sender, receiver)]
    if None not in places and not any(_meet(a, b) for a in places[0] or () for b in places[1] or ()):
        return f"nothing leads from {sender.said} to {receiver.said}"
    if not any(_has_guests(party, fabric) for party in (sender, receiver)):
        return f"no guest is at either end of what goes from {sender.said} to {receiver.said}"
    return ""


WIRE = None
"""Where `outside` and hosts are: whatever is not isolated leads there."""


def _places(party: Party, fabric: Fabric) -> list[Segment | None] | None:
    """The segments that a party can be in; None: anywhere."""
    if party.word == "any":
        return None
    if party.word == "outside":
        return [WIRE]
    if party.word == "host":
        return [WIRE, *(fabric.segments[e.segment] for e in fabric.endpoints.values() if e.attach == "host")]
    if party.network is not None:
        within = [s for s in fabric.segments.values() if any(_overlap(subnet.network, party.network) for subnet in s.subnets)]
        return [WIRE, *within]
    named = party.endpoints or ()
    found: list[Segment | None] = [fabric.segments[party.segment]] if party.segment else []
    wire = [WIRE] if party.said in fabric.hosts else []
    return [*found, *(fabric.segments[fabric.endpoints[name].segment] for name in named), *wire]


def _meet(one: Segment | None, other: Segment | None) -> bool:
    if one is not None and other is not None and one.name == other.name:
        return True
    return all(segment is None or segment.mode != "isolated" for segment in (one, other))


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _has_guests(party: Party, fabric: Fabric) -> bool:
    if party.network is not None:
        known = (interface.ip in party.network for e in fabric.endpoints.values() for interface in e.addresses)
        return any(known) or any(not e.addresses for e in fabric.endpoints.values())
    return party.word not in ("outside", "host") or any(e.attach == "host" for e in fabric.endpoints.values())


def _families(party: Party, fabric: Fabric) -> set[int]:
    if party.network is not None:
        return {party.network.version}
    segment = fabric.segments[party.segment] if party.segment else None
    if segment is not None and segment.subnets:
        return {subnet.network.version for subnet in segment.subnets}
    if party.endpoints and all(fabric.endpoints[name].addresses for name in party.endpoints):
        return {interface.version for name in party.endpoints for interface in fabric.endpoints[name].addresses}
    return {4, 6}


def _shadows(first: Policy, later: Policy, fabric: Fabric) -> bool:
    """Whether an earlier policy takes all that a later one speaks of. One that decides nothing takes it from none but its like."""
    if first.verdict == "audit" and later.verdict != "audit":
        return False
    if first.until is not None and (later.until is None or later.until > first.until):
        return False
    ends = ((first.sender, later.sender), (first.receiver, later.receiver))
    return _serves(first.service, later.service) and all(_covers(a, b, fabric) for a, b in ends)


def _serves(wide: Service, narrow: Service) -> bool:
    return wide.protocol == "any" or (wide.protocol == narrow.protocol and wide.low <= narrow.low and narrow.high <= wide.high)


def _covers(wide: Party, narrow: Party, fabric: Fabric) -> bool:
    if wide.word:
        return wide.word in ("any", narrow.word)
    named = [fabric.endpoints[name] for name in narrow.endpoints or ()] if narrow.said not in fabric.hosts else []
    if wide.segment is not None:
        return narrow.segment == wide.segment or (bool(named) and all(e.segment == wide.segment for e in named))
    if wide.network is not None:
        networks = [narrow.network] if narrow.network is not None else []
        networks += [interface.network.__class__(interface.ip) for e in named for interface in e.addresses]
        if (not named and not networks) or not all(e.addresses for e in named):
            return False
        return all(net.version == wide.network.version and net.subnet_of(wide.network) for net in networks)  # type: ignore[arg-type]
    return bool(named) and set(narrow.endpoints or ()) <= set(wide.endpoints or ())


def _enters(party: Party, segment: Segment, fabric: Fabric) -> bool:
    if party.network is not None:
        return any(_overlap(subnet.network, party.network) for subnet in segment.subnets) or not segment.subnets
    if party.word == "host":
        return any(e.attach == "host" for e in fabric.members(segment.name))
    named = party.endpoints or ()
    return party.word == "any" or party.segment == segment.name or any(fabric.endpoints[n].segment == segment.name for n in named)
