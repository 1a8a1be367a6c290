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
from weft.topology.model import Address, Endpoint, Fabric, Host, Network, Party, Policy, Segment

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


class Law:
    """All policies in force, and whose connections are followed for them. Made anew for every compilation."""

    def __init__(self, fabric: Fabric, facts: Facts) -> None:
        self._fabric, self._facts = fabric, facts
        self._host_endpoints = [endpoint for endpoint in fabric.endpoints.values() if endpoint.attach == "host"]
        self.zones = {
            name: FOLLOWED | number for name, number in names.allot("zone", {space(s) for s in fabric.segments.values()}, 15).items()
        }
        joined = {endpoint.segment for endpoint in fabric.endpoints.values() if fabric.segments[endpoint.segment].joined}
        self.joins = len(joined) > 1
        in_force = [(place, p) for place, p in enumerate(fabric.policies) if p.name not in facts.expired]
        self.rules = tuple(Rule(place, p, tuple(self._senders(p.sender)), tuple(self._receivers(p.receiver))) for place, p in in_force)
        self._asked = [p.receiver for _, p in in_force]
        self._asking = [(p.sender, p.receiver) for _, p in in_force]

    @cached_property
    def hosts(self) -> tuple[Address, ...]:
        """All addresses of all hosts."""
        return tuple(sorted({a for host in self._fabric.hosts.values() for a in self._of_host(host)}, key=lambda a: (a.version, int(a))))

    def zone(self, segment: Segment) -> int:
        return self.zones[space(segment)]

    def follows(self, endpoint: Endpoint) -> bool:
        """Whether a policy can concern an endpoint, or its segment has a rule of its own."""
        segment = self._fabric.segments[endpoint.segment]
        if segment.closed or (segment.mode == "nat" and self.joins):
            return True
        if any(self.means(party, endpoint) for party in self._asked):
            return True
        return any(self.means(asking, endpoint) and self._beyond(asked, segment) for asking, asked in self._asking)

    def means(self, party: Party, endpoint: Endpoint) -> bool:
        """Whether a party can be this endpoint."""
        if party.endpoints is not None:
            return endpoint.name in party.endpoints
        if party.segment is not None:
            return endpoint.segment == party.segment
        if party.network is not None:
            return not endpoint.addresses or any(own in party.network for own in addresses(endpoint))
        return party.word == "any" or (party.word == "host" and endpoint.attach == "host")

    def _beyond(self, party: Party, segment: Segment) -> bool:
        """Whether a party can be somebody whom endpoints of `segment` do not meet in their own address space."""
        home = space(segment)
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
            for endpoint in self._fabric.members(segment.name):
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


def selves(party: Party, role: int, local: Iterable[tuple[Endpoint, Segment]]) -> Iterator[Terms]:
    """A party as the end that is judged here: the one who asks (CLIENT) or is asked (SERVER), among the followed endpoints of a host."""
    if party.word == "any":
        yield {}
    elif party.network is not None:
        yield end(DST if role == SERVER else SRC, party.network)
    elif party.segment is not None:
        yield from (held((HOME, number)) for number in {segment.id for _, segment in local if segment.name == party.segment})
    else:
        for endpoint, _ in local:
            of_host = party.word == "host" and endpoint.attach == "host"
            if of_host or endpoint.name in (party.endpoints or ()):
                yield {SELF.field: (Port(endpoint.port), SELF.mask)}


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
