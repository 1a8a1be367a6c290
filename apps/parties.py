"""Whom policies speak of, in terms of what a switch sees of a connection's first packet.

A connection has two ends. The one that a switch judges it for (`SELF`) it knows by its port; the other end it knows by address alone. What
an address is depends on the address space: all joined segments together are one, every other segment is one of its own; each has a
conntrack zone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv6Network, ip_interface

from weft.apps.facts import Facts
from weft.apps.fields import IP, IPV6
from weft.apps.flow import Given, Port
from weft.apps.pipeline import CLASS, ELSEWHERE, FOLLOWED, HOME, HOST, OUTSIDE, SELF, SERVER, held
from weft.topology import names
from weft.topology.model import Endpoint, Fabric, Host, Segment
from weft.topology.model_rules import Party, Policy
from weft.topology.terms import Address, Network

Terms = Mapping[str, Given]
"""Match arguments; what is to be met all at once."""

LINK_LOCAL = IPv6Network("fe80::/10")
SRC, DST = "src", "dst"
JOINED = "joined"
"""The address space of all joined segments; no segment's name meets it, since the others are called ``only/NAME``."""


def space(segment: Segment) -> str:
    return JOINED if segment.joined else f"only/{segment.name}"


def end(side: str, address: Address | Network) -> Terms:
    """The source or target of a connection's first packet."""
    if address.version == 4:
        return {"eth_type": IP, f"ct_nw_{side}": address}
    return {"eth_type": IPV6, f"ct_ipv6_{side}": address}


def addresses(endpoint: Endpoint) -> list[Address]:
    """What an endpoint sends from: the link-local address too, where it has IPv6."""
    own: list[Address] = [interface.ip for interface in endpoint.addresses]
    return [*own, names.link_local(endpoint.mac)] if any(address.version == 6 for address in own) else own


def gateways(segment: Segment) -> list[Address]:
    own: list[Address] = [subnet.gateway for subnet in segment.subnets] if segment.served else []
    return [*own, names.link_local(segment.gateway_mac)] if any(address.version == 6 for address in own) else own


@dataclass(frozen=True)
class Rule:
    """A policy in force, with its ends by address. `place`: in the file, from 0."""

    place: int
    policy: Policy
    senders: tuple[Terms, ...]
    """As the one who asks, seen from the one who is asked."""
    receivers: tuple[Terms, ...]
    """As the one who is asked, beyond the asker's own address space; who is in it judges for itself."""
    asking: frozenset[str]
    asked: frozenset[str]
    """Endpoints, where they are named."""


Known = tuple[tuple[Address | Network, tuple[str, ...]], ...]
"""Addresses, each with the objects it comes from."""


@dataclass(frozen=True)
class Surroundings:
    """What addresses are, as seen from one address space: its own, and what is of the fabric but only reached by the wire."""

    zone: int
    gateways: Known
    hosts: Known
    inside: Known
    elsewhere: Known


class Crowd:
    """All endpoints that any of several parties can be."""

    def __init__(self, parties: Iterable[Party]) -> None:
        said = list(parties)
        self._words = {party.word for party in said}
        self._segments = {party.segment for party in said}
        self._names = {name for party in said for name in party.endpoints or ()}
        self._networks = {party.network for party in said if party.network is not None}

    def __contains__(self, endpoint: Endpoint) -> bool:
        if "any" in self._words or endpoint.name in self._names or endpoint.segment in self._segments:
            return True
        if endpoint.attach == "host" and "host" in self._words:
            return True
        unknown = bool(self._networks) and not endpoint.addresses
        return unknown or any(own in network for network in self._networks for own in addresses(endpoint))


class Law:
    """All policies in force, and whose connections are followed for them. Made anew for every compilation; what is equal to that of the
    one before is the very same object, so that it is compared once and not for every host."""

    def __init__(self, fabric: Fabric, facts: Facts, before: "Law | None" = None) -> None:
        self._fabric, self._facts = fabric, facts
        self._host_endpoints = [endpoint for endpoint in fabric.endpoints.values() if endpoint.attach == "host"]
        self.members: dict[str, list[Endpoint]] = {name: [] for name in fabric.segments}
        for endpoint in fabric.endpoints.values():
            self.members[endpoint.segment].append(endpoint)
        self.zones = {
            name: FOLLOWED | number for name, number in names.allot("zone", {space(s) for s in fabric.segments.values()}, 15).items()
        }
        inhabited = {name for name, found in self.members.items() if found} | {stranger.segment for stranger in facts.strangers}
        self.joins = sum(segment.joined and segment.name in inhabited for segment in fabric.segments.values()) > 1
        self._crowds: dict[str, Crowd] = {}
        self._known: dict[str, Surroundings] = {}
        self._last: dict[str, Surroundings] = before._known if before else {}
        last: dict[str, Rule] = {rule.policy.name: rule for rule in before.rules} if before else {}
        made = (self._rule(place, p) for place, p in enumerate(fabric.policies) if p.name not in facts.expired)
        self.rules: tuple[Rule, ...] = tuple(last[rule.policy.name] if last.get(rule.policy.name) == rule else rule for rule in made)
        self._asked = Crowd(rule.policy.receiver for rule in self.rules)

    def _rule(self, place: int, policy: Policy) -> "Rule":
        senders, receivers = tuple(self._senders(policy.sender)), tuple(self._receivers(policy.receiver))
        return Rule(place, policy, senders, receivers, *(frozenset(party.endpoints or ()) for party in (policy.sender, policy.receiver)))

    @cached_property
    def hosts(self) -> tuple[Address, ...]:
        """All addresses of all hosts."""
        return tuple(sorted({a for host in self._fabric.hosts.values() for a in self._of_host(host)}, key=lambda a: (a.version, int(a))))

    def zone(self, segment: Segment) -> int:
        return self.zones[space(segment)]

    def follows(self, endpoint: Endpoint) -> bool:
        """Whether a policy can concern an endpoint, or its segment has a rule of its own."""
        segment = self._fabric.segments[endpoint.segment]
        if segment.closed or (segment.mode == "nat" and self.joins) or endpoint in self._asked:
            return True
        home = space(segment)
        if home not in self._crowds:
            policies = [rule.policy for rule in self.rules]
            self._crowds[home] = Crowd(policy.sender for policy in policies if self._beyond(policy.receiver, home))
        return endpoint in self._crowds[home]

    def surroundings(self, home: Segment) -> "Surroundings":
        """What there is in and around the address space of a segment."""
        name = space(home)
        if name not in self._known:
            made = self._surroundings(home)
            old = self._last.get(name)
            self._known[name] = old if old is not None and old == made else made
        return self._known[name]

    def _surroundings(self, home: Segment) -> "Surroundings":
        every = list(self._fabric.segments.values())
        mates = [segment for segment in every if space(segment) == space(home)]
        inside: list[tuple[Address | Network, tuple[str, ...]]] = []
        elsewhere: list[tuple[Address | Network, tuple[str, ...]]] = []
        for segment in every:
            near = segment in mates
            found = inside if near else elsewhere
            if near or segment.mode == "routed":
                found += [(subnet.network, (segment.path,)) for subnet in segment.subnets]
            if segment.mode == "bridged":
                found += [(i.ip, (e.path,)) for e in self.members[segment.name] for i in e.addresses]
        own = {i.ip for segment in mates for e in self.members[segment.name] if e.attach == "host" for i in e.addresses}
        hosts = sorted(own, key=lambda a: (a.version, int(a))) if home.mode == "isolated" else self.hosts
        gates = tuple((address, (segment.path,)) for segment in mates for address in gateways(segment))
        known = {address for address, _ in inside}
        away = tuple(entry for entry in elsewhere if entry[0] not in known)
        return Surroundings(self.zone(home), gates, tuple((a, ("pipeline",)) for a in hosts), tuple(inside), away)

    def _beyond(self, party: Party, home: str) -> bool:
        """Whether a party can be somebody whom endpoints of an address space do not meet in it."""
        if party.segment is not None:
            return space(self._fabric.segments[party.segment]) != home
        if party.endpoints is not None and party.said not in self._fabric.hosts:
            return any(space(self._segment(name)) != home for name in party.endpoints)
        return True

    def _segment(self, endpoint: str) -> Segment:
        return self._fabric.segments[self._fabric.endpoints[endpoint].segment]

    # ---- by address

    def _senders(self, party: Party) -> Iterator[Terms]:
        if party.endpoints is not None:
            for name in party.endpoints:
                yield from self._endpoint(SRC, self._fabric.endpoints[name])
            yield from self._named_host(SRC, party)
        elif party.segment is not None:
            yield from self._members(SRC, self._fabric.segments[party.segment])
        else:
            yield from _words(SRC, party)

    def _receivers(self, party: Party) -> Iterator[Terms]:
        elsewhere = held((CLASS, ELSEWHERE))
        if party.endpoints is not None:
            for name in party.endpoints:
                if self._segment(name).mode in ("bridged", "routed"):
                    yield from (both(elsewhere, terms) for terms in self._endpoint(DST, self._fabric.endpoints[name]))
            yield from self._named_host(DST, party)
        elif party.segment is not None:
            segment = self._fabric.segments[party.segment]
            if segment.mode in ("bridged", "routed"):
                yield from (both(elsewhere, terms) for terms in self._members(DST, segment))
        else:
            yield from _words(DST, party)

    def _endpoint(self, side: str, endpoint: Endpoint) -> Iterator[Terms]:
        """What is isolated is met in its own address space alone: another may have the same addresses."""
        segment = self._fabric.segments[endpoint.segment]
        where: Terms = {"ct_zone": self.zone(segment)} if segment.mode == "isolated" else {}
        for address in addresses(endpoint):
            home: Terms = held((HOME, segment.id)) if address in LINK_LOCAL else {}
            yield both(where, home, end(side, address))

    def _members(self, side: str, segment: Segment) -> Iterator[Terms]:
        if not segment.subnets:
            for endpoint in self.members[segment.name]:
                yield from self._endpoint(side, endpoint)
            return
        where: Terms = {"ct_zone": self.zone(segment)} if segment.mode == "isolated" else {}
        yield from (both(where, end(side, subnet.network)) for subnet in segment.subnets)
        if any(subnet.network.version == 6 for subnet in segment.subnets):
            yield both(held((HOME, segment.id)), end(side, LINK_LOCAL))

    def _named_host(self, side: str, party: Party) -> Iterator[Terms]:
        if party.said in self._fabric.hosts:
            yield from (end(side, address) for address in self._of_host(self._fabric.hosts[party.said], inside=False))

    def _of_host(self, host: Host, inside: bool = True) -> Iterator[Address]:
        if host.address is not None:
            yield host.address.ip
        for uplink in host.uplinks.values():
            if "/" in uplink.address:
                yield ip_interface(uplink.address).ip
            fact = self._facts.uplinks.get((host.name, uplink.name))
            if fact is not None:
                yield from (address for address in (fact.translate, fact.translate6) if address is not None)
        for endpoint in self._host_endpoints if inside else ():
            if endpoint.host == host.name:
                yield from (interface.ip for interface in endpoint.addresses)


def selves(rule: Rule, role: int, local: Iterable[tuple[Endpoint, Segment]]) -> Iterator[Terms]:
    """Whom a policy means as the end that is judged here: the one who asks (CLIENT) or is asked (SERVER), among the followed endpoints of
    a host."""
    party, names = (rule.policy.receiver, rule.asked) if role == SERVER else (rule.policy.sender, rule.asking)
    if party.word == "any":
        yield {}
    elif party.network is not None:
        yield end(DST if role == SERVER else SRC, party.network)
    elif party.segment is not None:
        yield from (held((HOME, number)) for number in {segment.id for _, segment in local if segment.name == party.segment})
    else:
        for endpoint, segment in local:
            of_host = party.word == "host" and endpoint.attach == "host"
            if of_host or endpoint.name in names:
                one: Terms = {SELF.field: (Port(endpoint.port), SELF.mask)}
                yield both(one, held((HOME, segment.id))) if endpoint.trunk else one


def both(*terms: Terms) -> Terms:
    """What meets all of them; they contradict each other nowhere."""
    met = meet(*terms)
    assert met is not None
    return met


def meet(*terms: Terms) -> Terms | None:
    """What meets all of them; None: nothing does."""
    made: dict[str, Given] = {}
    for name, given in (pair for each in terms for pair in each.items()):
        had = made.setdefault(name, given)
        if had == given:
            continue
        one, other = _bits(had), _bits(given)
        if not name.startswith("reg") or one is None or other is None or (one[0] ^ other[0]) & one[1] & other[1]:
            return None
        made[name] = (one[0] | other[0], one[1] | other[1])
    return made


def _bits(given: Given) -> tuple[int, int] | None:
    """Of a register; a port's number is nothing else at the same time."""
    return (given[0], given[1]) if isinstance(given, tuple) and isinstance(given[0], int) else None


def _words(side: str, party: Party) -> Iterator[Terms]:
    if party.network is not None:
        yield end(side, party.network)
    else:
        yield {"any": {}, "outside": held((CLASS, OUTSIDE)), "host": held((CLASS, HOST))}[party.word]
