"""Multicast to those alone who asked for it, on segments with ``multicast: snoop`` (RFC 4541).

=======  ====================================================================================================
`serve`  what a guest says of groups goes to the controller, a few a second, and on to multicast routers alone; queries go to everybody
`flood`  a group that somebody joined: copies for those who did, for multicast routers, and for the uplink; what is for everybody on the
         link (224.0.0.0/24, ff02::/16) and groups that nobody ever joined are flooded as on any segment
=======  ====================================================================================================

Who joined is heard by the controller and is a fact like any other: a unit of flows for each group. While the controller is away switches keep
what they know; one that starts anew floods until it has asked again, so that nothing is lost. A multicast router is an endpoint that was heard
to ask, and always the uplink. Source: RFC 4541, 2.1.1 and 2.1.2; RFC 3376 (IGMPv3), RFC 3810 (MLDv2).
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from weft.apps import meters
from weft.apps.fields import IP
from weft.apps.flow import CONTROLLER, Action, Flow, Given, Goto, Meter, Output, Port, Resubmit, ToMeter, match
from weft.apps.pipeline import (
    BALANCE,
    FLOOD,
    GUEST,
    ORIGIN,
    OUT,
    PROTECT,
    SEGMENT,
    SERVE,
    SERVICE,
    TOWARDS,
    TUNNEL,
    WIRE,
    held,
    put,
)
from weft.apps.view import Part, Site, Unit, View, Way
from weft.topology.model import Endpoint, Segment
from weft.topology.terms import Address

QUERY, REPORT = 160, 150
"""Priorities in `serve`."""
SENT, CAME = 150, 140
"""Priorities in `flood`: from a guest of this host, from anywhere else."""
IGMP = 2
EVERYBODY = IPv4Address("224.0.0.1")
"""Receiver of a general query (RFC 3376, 4.1.12)."""
MLD_QUERY, MLD_REPORTS = 130, (131, 132, 143)
"""ICMPv6 types (RFC 2710, 3; RFC 3810, 5.2)."""
RATE = 50
"""Packets a second that one endpoint may say of groups; a kernel says a few at a time."""
LINK = IPv4Network("224.0.0.0/24"), IPv6Network("ff00::/15"), IPv6Network("ff02::/16")
"""Never restricted (RFC 4541, 2.1.2(2) and 3): what is for the link or for no farther."""


def restricted(group: Address) -> bool:
    """Whether traffic for a group may be kept from those who did not join it."""
    return group.is_multicast and not any(group in network for network in LINK if network.version == group.version)


def parts(here: View) -> Iterator[Part]:
    numbers = meters.numbers(here)
    for site in here.inhabited:
        if not site.segment.snoop:
            continue
        name, segment = site.segment.name, site.segment
        asking = frozenset(here.facts.routers.get(name, ()))
        routers, beyond = _receivers(site, asking)
        for endpoint in site.local:
            others = tuple(port for port in routers if port != endpoint.port)
            inputs = (endpoint, segment, numbers[f"snoop/{endpoint.name}"], others, beyond, endpoint.name in asking)
            yield Part(("hear", endpoint.name), hear, inputs)
        yield Part(("hear", name), hear_beyond, (segment, routers))
        for (where, group), joined in here.facts.joined.items():
            if where == name:
                yield Part(("group", name, str(group)), forward, (segment, group, *_receivers(site, asking | {*joined})))


def _receivers(site: Site, wanted: frozenset[str]) -> tuple[tuple[str, ...], tuple[Way, ...]]:
    """The ports here and the ways beyond to those who are wanted; an uplink is one always."""
    ports = tuple(endpoint.port for endpoint in site.local if endpoint.name in wanted)
    ways = {way for endpoint, way in site.remote if endpoint.name in wanted}
    return ports, tuple(way for way in site.beyond if way in ways or way.place == WIRE)


def _copies(ports: tuple[str, ...], ways: tuple[Way, ...] = ()) -> Iterator[Action]:
    yield put(TOWARDS, GUEST)
    for port in ports:
        yield from (put(OUT, Port(port)), Resubmit(PROTECT.number))
    for way in ways:
        yield from (put(TOWARDS, way.place), put(OUT, Port(way.port)), Resubmit(PROTECT.number))


def hear(endpoint: Endpoint, segment: Segment, meter: int, routers: tuple[str, ...], beyond: tuple[Way, ...], asks: bool) -> Unit:
    """What an endpoint says of groups. Other guests do not hear it, or they would not say it themselves (RFC 4541, 2.1.1(1)). One that asks
    is heard by everybody."""
    why = (endpoint.path, segment.path)
    own: dict[str, Given] = {**held((SEGMENT, segment.id), (ORIGIN, GUEST)), "in_port": Port(endpoint.port)}
    told: tuple[Action, ...] = (ToMeter(meter), Output(CONTROLLER))
    asked, said = (*told, Goto(BALANCE.number)), (*told, *_copies(routers, beyond))
    return (
        Meter(meter, RATE, RATE, True, why),
        SERVE.flow(QUERY, match(**own, eth_type=IP, ip_proto=IGMP, ip_dst=EVERYBODY), *asked, why=why),
        SERVE.flow(QUERY, match(**own, icmpv6_type=MLD_QUERY), *asked, why=why),
        SERVE.flow(REPORT, match(**own, eth_type=IP, ip_proto=IGMP), *(asked if asks else said), why=why),
        *(SERVE.flow(REPORT, match(**own, icmpv6_type=kind), *said, why=why) for kind in MLD_REPORTS),
    )


def hear_beyond(segment: Segment, routers: tuple[str, ...]) -> tuple[Flow, ...]:
    """What comes from other hosts is for routers; so is what the wire says, but the controller hears that: a query of one group looks like a
    report of it, and is handed on to guests by the controller."""
    flows = []
    for origin in (TUNNEL, WIRE, SERVICE):
        here = held((SEGMENT, segment.id), (ORIGIN, origin))
        told: tuple[Action, ...] = (Output(CONTROLLER),) if origin == WIRE else ()
        igmp = match(**here, eth_type=IP, ip_proto=IGMP)
        flows.append(SERVE.flow(QUERY, match(**here, eth_type=IP, ip_proto=IGMP, ip_dst=EVERYBODY), Goto(BALANCE.number), why=(segment.path,)))
        flows.append(SERVE.flow(REPORT, igmp, *told, *_copies(routers), why=(segment.path,)))
        flows += [SERVE.flow(REPORT, match(**here, icmpv6_type=kind), *_copies(routers), why=(segment.path,)) for kind in MLD_REPORTS]
    return tuple(flows)


def forward(segment: Segment, group: Address, ports: tuple[str, ...], ways: tuple[Way, ...]) -> tuple[Flow, ...]:
    """By address and not by MAC, which 32 groups share (RFC 4541, 2.1.2(4)). A group that everybody left goes to nobody."""
    sent = {"ip_dst" if isinstance(group, IPv4Address) else "ipv6_dst": group}
    unknown = ((SEGMENT, segment.id), (TOWARDS, 0))
    return (
        FLOOD.flow(SENT, match(**held(*unknown, (ORIGIN, GUEST)), **sent), *_copies(ports, ways), why=(segment.path,)),
        FLOOD.flow(CAME, match(**held(*unknown), **sent), *_copies(ports), why=(segment.path,)),
    )
