"""DHCP, router solicitations and DNS: to the service port of the guest's own host, and nowhere else.

=========  ===================================  ==========================================================
table      what                                 becomes of it
=========  ===================================  ==========================================================
`serve`    DHCP request (UDP to port 67)        to the service port, metered
`serve`    DHCPv6 request (UDP to port 547)     the same
`serve`    router solicitation                  the same
`serve`    DNS question to the gateway          to the service port, by a meter of its own
`serve`    any of these from elsewhere          ends: what a guest asks is answered on its own host
=========  ===================================  ==========================================================

Only on segments that have the service. A broadcast request reaches no neighbour. A guest that asks too often loses its own requests and
nobody else's: every endpoint has its own meters, which count packets. Answers, and advertisements to all, come from the service port and are
forwarded like any other packet from there, to guests of this host alone. Source: RFC 2131 and RFC 8415 (ports), RFC 4861 (router
solicitations), OpenFlow 1.3.5, 5.7 (meters).
"""

from collections.abc import Iterator
from ipaddress import IPv4Address

from weft.apps.fields import IP, IPV6, TCP, UDP
from weft.apps.flow import Flow, Given, Goto, Meter, Port, ToMeter, match
from weft.apps.meters import numbers
from weft.apps.pipeline import GUEST, ORIGIN, OUT, PROTECT, SEGMENT, SERVE, SERVICE, TOWARDS, held, put
from weft.apps.view import Part, Unit, View
from weft.topology import names
from weft.topology.model import Endpoint, Segment
from weft.topology.names import link_local
from weft.topology.terms import Address

ASK, ELSEWHERE = 140, 130
"""Priorities, above those of ARP, ND and other traffic for the gateway."""

SERVER, SERVER6, DOMAIN = 67, 547, 53
"""Ports (RFC 2131, 4.1; RFC 8415, 7.2; RFC 1035, 4.2)."""
SOLICIT = 133
"""ICMPv6 type of a router solicitation (RFC 4861, 4.1)."""

REQUESTS, REQUESTS_BURST = 20, 40
"""DHCP and router solicitations a second that one endpoint may send: a client that boots sends less than ten."""
QUESTIONS, QUESTIONS_BURST = 500, 1000
"""DNS questions a second that one endpoint may ask."""


def parts(here: View) -> Iterator[Part]:
    for site in here.inhabited:
        segment = site.segment
        if not segment.answers:
            continue
        numbered, port = numbers(here), names.service_port(segment.name)
        yield Part(("elsewhere", segment.name), elsewhere, (segment,))
        for endpoint in site.local:
            serve, dns = numbered.get(f"serve/{endpoint.name}"), numbered.get(f"dns/{endpoint.name}")
            yield Part(("asks", endpoint.name), asks, (endpoint, segment, port, serve, dns))


def asks(endpoint: Endpoint, segment: Segment, port: str, serve: int | None, dns: int | None) -> Unit:
    """What one endpoint asks, by its meters `serve` and `dns`."""
    why = (endpoint.path, segment.path)
    here: dict[str, Given] = {"in_port": Port(endpoint.port), **held((SEGMENT, segment.id), (ORIGIN, GUEST))}
    made: list[Flow | Meter] = []
    for number, rate, burst, found in (
        (serve, REQUESTS, REQUESTS_BURST, requests(segment)),
        (dns, QUESTIONS, QUESTIONS_BURST, questions(segment)),
    ):
        if number is not None:
            to_it = (ToMeter(number), put(TOWARDS, SERVICE), put(OUT, Port(port)), Goto(PROTECT.number))
            made.append(Meter(number, rate, burst, packets=True, why=why))
            made += (SERVE.flow(ASK, match(**here, **terms), *to_it, why=why) for terms in found)
    return tuple(made)


def elsewhere(segment: Segment) -> Unit:
    """By a tunnel, or from a port that is no endpoint's: such a request found its own host's services already, or none."""
    terms = ({**held((SEGMENT, segment.id)), **one} for one in requests(segment))
    return tuple(SERVE.flow(ELSEWHERE, match(**one), why=(segment.path,)) for one in terms)


def requests(segment: Segment) -> Iterator[dict[str, Given]]:
    """Match arguments of what asks for an address, or for a router."""
    if segment.dhcp and _has(segment, 4):
        yield {"eth_type": IP, "ip_proto": UDP, "udp_dst": SERVER}
    if segment.dhcp and _has(segment, 6):
        yield {"eth_type": IPV6, "ip_proto": UDP, "udp_dst": SERVER6}
    if segment.ra:
        yield {"icmpv6_type": SOLICIT}


def questions(segment: Segment) -> Iterator[dict[str, Given]]:
    """Match arguments of what asks the gateway for a name."""
    addresses: list[Address] = [subnet.gateway for subnet in segment.subnets] if segment.dns else []
    if any(address.version == 6 for address in addresses):
        addresses.append(link_local(segment.gateway_mac))
    for address in addresses:
        family: dict[str, Given] = {"ip_dst": address} if isinstance(address, IPv4Address) else {"ipv6_dst": address}
        yield {**family, "ip_proto": UDP, "udp_dst": DOMAIN}
        yield {**family, "ip_proto": TCP, "tcp_dst": DOMAIN}


def _has(segment: Segment, version: int) -> bool:
    return any(subnet.network.version == version for subnet in segment.subnets)
