"""One router between the segments that are joined (nat and routed), spread over the hosts: a packet is routed where it comes from.

=========  ===================================================================================================
`serve`    what a guest sends to its gateway's MAC, beyond the gateway's own addresses, is marked as routed; what answers a
           question of the gateway goes to every host with that segment, since the gateway has one MAC on all of them
`route`    a known guest's address: TTL, the gateway's MAC of its segment as sender, its own as receiver, its segment; it goes
           on like any other packet for that guest. What is not known, and what has come too far, goes to the service port:
           that kernel knows the uplink, and says so where there is no way or no time left
`protect`  of the gateway nothing but unicast IP and questions for an address leave by a tunnel
=========  ===================================================================================================

A routed packet crosses a tunnel as the gateway's of its receiver's segment. Source: RFC 1812, 4.2.2.9 and 5.3.1 (TTL); RFC 8200, 3 (hop
limit); RFC 4291, 2.5.6 (what has a link-local sender is not routed).
"""

from collections.abc import Iterator
from ipaddress import IPv6Network

from weft.apps import bridging
from weft.apps.fields import IP, IPV6
from weft.apps.flow import Action, DecTtl, Flow, Given, Goto, Port, Resubmit, Set, mac_number, match
from weft.apps.pipeline import (
    BALANCE,
    FORWARD,
    GUEST,
    ORIGIN,
    OUT,
    PROTECT,
    ROUTE,
    ROUTED,
    SEGMENT,
    SERVE,
    SERVICE,
    TOWARDS,
    TUNNEL,
    held,
    put,
)  # fmt: skip
from weft.apps.view import Part, View, Way
from weft.topology import names
from weft.topology.model import Endpoint, Segment
from weft.topology.terms import Address, Network

ANSWER, OWN, BEYOND = 120, 105, 100
"""Priorities in `serve`: what answers the gateway, what is for itself, what is to be routed."""
APART, SPENT, KNOWN, UNKNOWN = 120, 110, 100, 10
"""Priorities in `route`: private guests, no time left, a known receiver, the service namespace."""
BARRED = 110
"""Priority in `protect`."""
LINK_LOCAL = IPv6Network("fe80::/10")
NEVER_ABROAD: tuple[dict[str, Given], ...] = ({"arp_op": 2}, {"icmpv6_type": 134}, {"icmpv6_type": 136}, {"icmpv6_type": 137})
"""What a gateway says to the guests of its own host alone: ARP answers, router and neighbour advertisements, redirects."""


def parts(here: View) -> Iterator[Part]:
    joined = [site for site in here.sites.values() if site.segment.joined]
    for site in joined:
        name = site.segment.name
        if site.here:
            yield Part(("router", name), router, (site.segment, names.service_port(name), site.beyond))
        for endpoint in (*site.local, *(endpoint for endpoint, _ in site.remote)):
            yield Part(("route", endpoint.name), route, (endpoint, site.segment))
        for endpoint, way in site.remote if not site.here else ():
            yield Part(("reach", endpoint.name), bridging.reach, (endpoint, site.segment, way))
    for site in here.inhabited:
        if site.segment.served and not site.segment.joined:
            yield Part(("at home", site.segment.name), at_home, (site.segment,))


def own_addresses(segment: Segment) -> list[Address]:
    """A gateway's: one in each subnet, and its link-local one."""
    addresses: list[Address] = [subnet.gateway for subnet in segment.subnets]
    if any(address.version == 6 for address in addresses):
        addresses.append(names.link_local(segment.gateway_mac))
    return addresses


def router(segment: Segment, port: str, beyond: tuple[Way, ...]) -> tuple[Flow, ...]:
    """A joined segment's way into the router, on a host of its guests: `port` leads to the service namespace, `beyond` to its other hosts."""
    why = (segment.path,)
    serve = (put(TOWARDS, SERVICE), put(OUT, Port(port)), Goto(PROTECT.number))
    to_gateway: dict[str, Given] = {**held((SEGMENT, segment.id), (ORIGIN, GUEST)), "eth_dst": segment.gateway_mac}
    routed = (put(ROUTED, 1), Goto(BALANCE.number))
    came: dict[str, Given] = {**held((SEGMENT, segment.id), (ROUTED, 1))}
    return (
        *(SERVE.flow(OWN, match(**to_gateway, **_to(address)), *serve, why=why) for address in own_addresses(segment)),
        SERVE.flow(OWN, match(**to_gateway, ipv6_src=LINK_LOCAL), *serve, why=why),
        *(SERVE.flow(BEYOND, match(**to_gateway, eth_type=kind), *routed, why=why) for kind in (IP, IPV6)),
        SERVE.flow(BEYOND - 1, match(**to_gateway), *serve, why=why),
        *(
            ROUTE.flow(SPENT, match(**came, eth_type=kind, nw_ttl=left), *serve, why=why)
            for kind in (IP, IPV6)
            for left in (0, 1)
        ),
        ROUTE.flow(UNKNOWN, match(**came), *serve, why=why),
        *_apart(segment),
        *_answers(segment, port, beyond),
    )  # fmt: skip


def _to(target: Address | Network) -> dict[str, Given]:
    return {"ip_dst" if target.version == 4 else "ipv6_dst": target}


def _apart(segment: Segment) -> tuple[Flow, ...]:
    """Guests of a private segment do not reach each other by the router either."""
    if not segment.private:
        return ()
    here = held((SEGMENT, segment.id), (ROUTED, 1))
    return tuple(ROUTE.flow(APART, match(**here, **_to(subnet.network)), why=(segment.path,)) for subnet in segment.subnets)


def _answers(segment: Segment, port: str, beyond: tuple[Way, ...]) -> tuple[Flow, ...]:
    """ARP answers and neighbour advertisements for the gateway: of a guest here to all that may have asked, of one elsewhere to ours."""
    why = (segment.path,)
    home: tuple[Action, ...] = (put(TOWARDS, SERVICE), put(OUT, Port(port)))
    copies: tuple[Action, ...] = (*home, Resubmit(PROTECT.number))
    for way in beyond:
        copies += (put(TOWARDS, way.place), put(OUT, Port(way.port)), Resubmit(PROTECT.number))
    flows = []
    kinds: tuple[dict[str, Given], ...] = ({"arp_op": 2}, {"icmpv6_type": 136})
    for kind in kinds:
        for origin, actions in ((GUEST, copies), (TUNNEL, (*home, Goto(PROTECT.number)))):
            asked = match(**held((SEGMENT, segment.id), (ORIGIN, origin)), eth_dst=segment.gateway_mac, **kind)
            flows.append(SERVE.flow(ANSWER, asked, *actions, why=why))
    stray = match(**held((SEGMENT, segment.id), (ORIGIN, TUNNEL)), eth_dst=segment.gateway_mac)
    barred = held((SEGMENT, segment.id), (ORIGIN, SERVICE), (TOWARDS, TUNNEL))
    return (
        *flows,
        SERVE.flow(BEYOND, stray, why=why),
        *(PROTECT.flow(BARRED, match(**barred, **kind), why=why) for kind in NEVER_ABROAD),
    )


def route(endpoint: Endpoint, segment: Segment) -> tuple[Flow, ...]:
    """Into a joined segment, to one of its guests."""
    on = (
        DecTtl(),
        Set("eth_src", mac_number(segment.gateway_mac)),
        Set("eth_dst", mac_number(endpoint.mac)),
        put(SEGMENT, segment.id),
        Goto(FORWARD.number),
    )
    return tuple(
        ROUTE.flow(KNOWN, match(**held((ROUTED, 1)), **_to(address.ip)), *on, why=(endpoint.path, segment.path))
        for address in endpoint.addresses
    )


def at_home(segment: Segment) -> tuple[Flow, ...]:
    """A gateway that joins nothing never leaves its host."""
    abroad = held((SEGMENT, segment.id), (ORIGIN, SERVICE), (TOWARDS, TUNNEL))
    return (PROTECT.flow(BARRED, match(**abroad), why=(segment.path,)),)
