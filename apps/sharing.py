"""Addresses that are shared among endpoints (L4 load balancing): the switch of a client's host chooses, translates and undoes it.

=========  ==============================================================================================
`serve`    questions for the address are answered by the gateway's kernel; what is for its port goes on
`balance`  is it a known connection? An endpoint's answer to itself is told by its port
`choose`   established: on to its endpoint; new: by lot (a select group), or to the endpoint that this client had before (`sticky`);
`elect`    one that had none, or a dead one, draws by its address: what a switch learns takes effect a moment later, and connections
           that are opened together must not draw differently
`hand`     committed with its translation, and remembered where clients stay
`route`    the endpoint's MAC; an endpoint that chose itself gets itself under the shared address
`answers`  what an endpoint says from its port to a client of this host is undone, if it is of such a connection
=========  ==============================================================================================

The client keeps its own address. An endpoint that is dead is not chosen, and nobody is handed to it again; its established connections stay
with it. While none lives, the gateway's kernel refuses. Source: ovs-actions(7) ct, learn and group; RFC 4787 for hairpins.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import chain
from typing import Any, NamedTuple

from weft.apps.fields import FIELDS, IP, IPV6, TCP, UDP
from weft.apps.flow import (
    Action,
    Bits,
    Bucket,
    BySender,
    Ct,
    Flow,
    Given,
    Goto,
    Group,
    Learn,
    LearnLoad,
    LearnMatch,
    Nat,
    Port,
    Resubmit,
    Set,
    ToGroup,
    mac_number,
    match,
)
from weft.apps.neighbours import GATEWAY, question
from weft.apps.pipeline import (
    ANSWERS,
    BALANCE,
    BALANCED,
    CHOOSE,
    ELECT,
    EMIT,
    FORWARD,
    GUEST,
    HAIRPINNED,
    HAND,
    LOT,
    MEMBER,
    ORIGIN,
    OUT,
    PROTECT,
    ROUTE,
    ROUTED,
    SEGMENT,
    SERVE,
    SERVICE,
    SHARED,
    STICKY,
    STICKY_IDLE,
    STICKY_MAX,
    TOWARDS,
    held,
    put,
)  # fmt: skip
from weft.apps.view import Part, Unit, View
from weft.topology import names
from weft.topology.model import Endpoint, Fabric, Segment
from weft.topology.model_rules import VirtualService
from weft.topology.names import LEARNED_COOKIES
from weft.topology.terms import Address

HAIRPIN, PORT, OWN = 140, 130, 100
"""Priorities: an endpoint and itself; the shared port, above all else that is for the gateway; everything here beside others."""
NEW, KNOWN, ANSWER = "+trk+new", "+trk+est", "+trk+rpl"


class Member(NamedTuple):
    """An endpoint behind a shared address."""

    number: int
    """By name, so that the switch's memory of who had whom survives a change of the others."""
    endpoint: Endpoint
    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Share:
    """A service as one host's flows are made from it."""

    service: VirtualService
    segment: Segment
    members: tuple[Member, ...]
    living: tuple[Member, ...]
    here: tuple[Member, ...]
    """On this host."""
    clients: tuple[Segment, ...]
    """Segments with guests here that may reach it."""

    @property
    def why(self) -> tuple[str, ...]:
        return (self.service.path,)

    @property
    def kind(self) -> dict[str, Given]:
        """What its packets are in any case; a switch wants to be told before it translates."""
        v4 = isinstance(self.service.address, IPv4Address)
        return {"eth_type": IP if v4 else IPV6, "ip_proto": TCP if self.service.protocol == "tcp" else UDP}

    def held(self, *pairs: tuple[Bits, int]) -> dict[str, tuple[int, int]]:
        return held((SHARED, self.service.id), *pairs)


class Answering(NamedTuple):
    """Where an endpoint's answers come from. It may be behind several addresses."""

    endpoint: Endpoint
    address: Address
    protocol: str
    port: int


def parts(here: View) -> Iterator[Part]:
    """Where clients are, since all of it is done on their own host. Endpoints and addresses may be those of several services."""
    found = list(shares(here))
    for share in found:
        yield Part(("share", share.service.name), balance, (share,))
    asked = ((("shared",), who_has, (share.segment, share.service.address), share) for share in found if share.segment in share.clients)
    answering = (
        (("answers",), answers, (client, _answering(share, member)), share)
        for share in found
        for client in share.clients
        for member in share.members
    )
    itself = (
        wanted
        for share in found
        for member in share.here
        for wanted in (
            (("hairpin",), own_answer, (share.segment, _answering(share, member), share.service.address), share),
            (("back",), way_back, (share.segment, member.endpoint, member.address), share),
        )
    )
    yield from _together(chain(asked, answering, itself))


def _together(wanted: Iterable[tuple[tuple[str, ...], Callable[..., Unit], tuple[Any, ...], Share]]) -> Iterator[Part]:
    """What several services want alike is there once, with all of them as its reason."""
    whose: dict[tuple[Any, ...], tuple[tuple[str, ...], Callable[..., Unit], tuple[Any, ...], tuple[str, ...]]] = {}
    for kind, make, inputs, share in wanted:
        key = (*kind, *map(_said, inputs))
        why = whose[key][3] if key in whose else ()
        whose[key] = kind, make, inputs, (*why, *share.why)
    for key, (_, make, inputs, why) in whose.items():
        yield Part(key, make, (*inputs, why))


def _said(given: Segment | Endpoint | Address | Answering) -> str:
    match given:
        case Segment() | Endpoint():
            return given.name
        case Answering(endpoint, address, protocol, port):
            return f"{endpoint.name} {address} {protocol}/{port}"
        case _:
            return str(given)


def _answering(share: Share, member: Member) -> Answering:
    return Answering(member.endpoint, member.address, share.service.protocol, member.port)


def shares(here: View) -> Iterator[Share]:
    """The services that guests of this host may reach."""
    for service in here.fabric.services:
        site, segment = here.sites.get(service.segment), here.fabric.segments[service.segment]
        if site is None:
            continue
        near = [other.segment for other in here.inhabited if other.segment == segment or (segment.joined and other.segment.joined)]
        numbers = names.allot(f"member/{service.name}", service.members, MEMBER.width)
        endpoints = [here.fabric.endpoints[name] for name in service.members]
        found = ((endpoint, endpoint.beside(service.address)) for endpoint in endpoints)
        members = tuple(Member(numbers[e.name], e, address, service.to_port) for e, address in found if address is not None)
        living = tuple(member for member in members if (service.name, member.endpoint.name) not in here.facts.dead)
        local = tuple(member for member in members if member.endpoint.host == here.host.name)
        if near:
            yield Share(service, segment, members, living, local, tuple(near))


def members_of(fabric: Fabric, hosts: Collection[str]) -> frozenset[tuple[str, str]]:
    """Service and endpoint of all members on some hosts: whom nobody asks when a host is gone, and who are gone with it."""
    return frozenset((service.name, name) for service in fabric.services for name in service.members if fabric.endpoints[name].host in hosts)


def address_field(address: Address, side: str) -> str:
    return f"ip_{side}" if isinstance(address, IPv4Address) else f"ipv6_{side}"


def who_has(segment: Segment, address: Address, why: tuple[str, ...]) -> Unit:
    """The kernel of the service namespace has the address beside the gateway's."""
    asked = match(**held((SEGMENT, segment.id), (ORIGIN, GUEST)), **question(address))
    return (SERVE.flow(GATEWAY, asked, *_to_gateway(segment), why=why),)


def _to_gateway(segment: Segment) -> tuple[Action, ...]:
    return put(TOWARDS, SERVICE), put(OUT, Port(names.service_port(segment.name))), Goto(PROTECT.number)


def balance(share: Share) -> Unit:
    """A service on one host, from its clients to the endpoint that each gets."""
    return (*_enter(share), *_choose(share), *_hand(share), *_itself(share))


def _enter(share: Share) -> Iterator[Flow]:
    service, why = share.service, share.why
    for client in share.clients:
        sent: dict[str, Given] = {**held((SEGMENT, client.id), (ORIGIN, GUEST)), "eth_dst": client.gateway_mac}
        sent |= {address_field(service.address, "dst"): service.address, f"{service.protocol}_dst": service.port}
        if client == share.segment:
            yield SERVE.flow(PORT, match(**sent), Goto(BALANCE.number), why=why)
        track = Ct(zone=BALANCED, nat=Nat(), table=CHOOSE.number)
        yield BALANCE.flow(PORT, match(**sent), put(SHARED, service.id), track, why=why)


def _choose(share: Share) -> Iterator[Flow | Group]:
    service, why, new = share.service, share.why, match(**share.held(), ct_state=NEW)
    yield CHOOSE.flow(OWN, match(**share.held(), ct_state=KNOWN), Goto(ROUTE.number), why=why)
    if not share.living:
        for client in share.clients:
            yield CHOOSE.flow(HAIRPIN, match(**share.held((SEGMENT, client.id)), ct_state=NEW), *_to_gateway(client), why=why)
        return
    if not service.sticky:
        yield Group(service.id, "select", tuple(Bucket((put(MEMBER, one.number), Resubmit(HAND.number))) for one in share.living), why)
        yield CHOOSE.flow(OWN, new, ToGroup(service.id), why=why)
        return
    yield CHOOSE.flow(OWN, new, Resubmit(STICKY.number), Goto(ELECT.number), why=why)
    draw = (put(MEMBER, 0), BySender(len(share.living), LOT), Goto(HAND.number))
    yield ELECT.flow(OWN, match(**share.held()), *draw, why=why)
    for one in share.living:
        yield ELECT.flow(PORT, match(**share.held((MEMBER, one.number))), Goto(HAND.number), why=(*why, one.endpoint.path))


def _hand(share: Share) -> Iterator[Flow]:
    """Not by MAC: a connection that is opened again keeps the endpoint that the tracker has for it."""
    for lot, one in enumerate(share.living):
        nat = Nat(dst=one.address, port=one.port)
        take = Ct(zone=BALANCED, table=ROUTE.number, commit=True, nat=nat)
        learn = (_remember(share.service, one),) if share.service.sticky else ()
        drawn = (((MEMBER, 0), (LOT, lot)),) if share.service.sticky else ()
        for whose in (((MEMBER, one.number),), *drawn):
            yield HAND.flow(OWN, match(**share.held(*whose), **share.kind), *learn, take, why=(*share.why, one.endpoint.path))
    for one in share.members:
        to = match(**share.held((ROUTED, 0)), **{address_field(one.address, "dst"): one.address})
        mac = Set("eth_dst", mac_number(one.endpoint.mac))
        yield ROUTE.flow(OWN, to, mac, Goto(FORWARD.number), why=(*share.why, one.endpoint.path))


def _remember(service: VirtualService, member: Member) -> Learn:
    """One cookie a service, since a learned flow's limit is that of its table and cookie."""
    source = address_field(service.address, "src")
    whole = Bits(source, 0, FIELDS[source].bits)
    specs = (
        LearnMatch(SHARED, SHARED),
        LearnMatch(Bits("eth_type", 0, 16), IP if source == "ip_src" else IPV6),
        LearnMatch(whole, whole),
        LearnLoad(MEMBER, member.number),
    )
    cookie = LEARNED_COOKIES[service.id % len(LEARNED_COOKIES)]
    return Learn(STICKY.number, 1, cookie, specs, idle_timeout=STICKY_IDLE, limit=STICKY_MAX)


def _itself(share: Share) -> Iterator[Flow]:
    """An endpoint that is its own client and was chosen: it sees the shared address, or it would answer to itself inside."""
    for one in share.here:
        both = {address_field(one.address, side): one.address for side in ("src", "dst")}
        hide = Ct(zone=HAIRPINNED, table=ANSWERS.number, commit=True, nat=Nat(src=share.service.address))
        found = match(**share.held((SEGMENT, share.segment.id)), **both)
        yield ROUTE.flow(PORT, found, *_back(share.segment, one.endpoint), hide, why=(*share.why, one.endpoint.path))


def _back(segment: Segment, endpoint: Endpoint) -> tuple[Action, ...]:
    """Out by the port it came in by, which a switch does only where it does not know that."""
    macs = (Set("eth_src", mac_number(segment.gateway_mac)), Set("eth_dst", mac_number(endpoint.mac)))
    return (*macs, put(TOWARDS, GUEST), put(OUT, Port(endpoint.port)), Set("in_port", 0))


def own_answer(segment: Segment, source: Answering, address: Address, why: tuple[str, ...]) -> Unit:
    """What an endpoint answers to the shared address is for itself."""
    why = (*why, source.endpoint.path)
    sent: dict[str, Given] = {**held((SEGMENT, segment.id), (ORIGIN, GUEST)), "eth_dst": segment.gateway_mac}
    sent |= {address_field(address, "src"): source.address, f"{source.protocol}_src": source.port, address_field(address, "dst"): address}
    track = Ct(zone=HAIRPINNED, nat=Nat(), table=CHOOSE.number)
    return (
        SERVE.flow(HAIRPIN, match(**sent), Goto(BALANCE.number), why=why),
        BALANCE.flow(HAIRPIN, match(**sent), track, why=why),
    )


def way_back(segment: Segment, endpoint: Endpoint, address: Address, why: tuple[str, ...]) -> Unit:
    """The same, its receiver known again."""
    own = {address_field(address, side): address for side in ("src", "dst")}
    found = match(**held((SEGMENT, segment.id), (SHARED, 0)), **own, ct_state=ANSWER)
    return (CHOOSE.flow(HAIRPIN, found, *_back(segment, endpoint), Goto(ANSWERS.number), why=(*why, endpoint.path)),)


def answers(segment: Segment, source: Answering, why: tuple[str, ...]) -> Unit:
    """On a client's host, whichever way the answer came; other connections with the endpoint are unknown in the zone, and unharmed."""
    sent: dict[str, Given] = {**held((SEGMENT, segment.id), (TOWARDS, GUEST)), address_field(source.address, "src"): source.address}
    undone = Ct(zone=BALANCED, nat=Nat(), table=EMIT.number)
    found = match(**sent, **{f"{source.protocol}_src": source.port})
    return (ANSWERS.flow(OWN, found, undone, why=(*why, source.endpoint.path)),)
