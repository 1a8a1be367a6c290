"""Whether what a segment says of its ways out makes sense: forwards and static routes."""

from collections.abc import Iterator, Mapping

from weft.topology.check_segments import overlap
from weft.topology.document import Document, Faults
from weft.topology.model import HOST_UPLINK, Endpoint
from weft.topology.rules import Forward, Route
from weft.topology.schema import Segment
from weft.topology.terms import Network
from weft.topology.yaml12 import Path

TUNNELS = {"geneve": "udp/6081", "vxlan": "udp/4789"}
"""Where the tunnels of each kind come in on an uplink (RFC 8926, 3.3; RFC 7348, 5)."""

Complaints = Iterator[tuple[Path, str]]


def check_outward(document: Document, endpoints: Mapping[str, Endpoint], faults: Faults) -> None:
    for path, segment in document.items("segments"):
        for place, forward in enumerate(segment.forwards):
            for what in _forward(segment, forward, endpoints.get(forward.to), TUNNELS.get(document.spec.overlay.type)):
                faults.add((*path, "forwards", place), what)
        for place, route in enumerate(segment.routes):
            for what in _route(segment, route):
                faults.add((*path, "routes", place), what)
    for at, what in (*_same_listen(document, endpoints), *_same_route(document)):
        faults.add(at, what)


def _forward(segment: Segment, forward: Forward, endpoint: Endpoint | None, tunnels: str | None) -> Iterator[str]:
    if segment.mode != "nat":
        yield f"forwards are for nat segments, this one is {segment.mode}"
    elif segment.uplink == HOST_UPLINK:
        yield "forwards need an uplink of the fabric: with uplink host only the host's own kernel translates"
    elif endpoint and segment.ipv4 and all(address.version == 6 for address in endpoint.addresses):
        yield f'forward to "{forward.to}", which has no IPv4 address'
    if forward.listen.startswith("sctp/"):
        yield f"{forward.listen}: sctp is not forwarded, Open vSwitch's userspace datapath does not follow its connections"
    if forward.listen == tunnels:
        yield f"{tunnels} is where the tunnels between hosts come in"


def _route(segment: Segment, route: Route) -> Iterator[str]:
    if segment.mode in ("isolated", "bridged"):
        yield f"routes are for nat and routed segments, this one is {segment.mode}"
    elif not any(route.via in subnet for subnet in segment.subnets):
        yield f"route via {route.via}, which is in none of its subnets"
    elif route.via.version != route.to.version:
        yield f"route to {route.to} via {route.via}, which is of another version of IP"
    for subnet in segment.subnets:
        if route.to.prefixlen >= subnet.prefixlen and overlap(route.to, subnet):
            yield f"route to {route.to}, which is in its own subnet {subnet}"


def _same_listen(document: Document, endpoints: Mapping[str, Endpoint]) -> Complaints:
    """On the same uplink of the same host: forwards to guests of different hosts listen on different addresses."""
    taken: dict[tuple[str, str | None, str], Path] = {}
    for path, segment in document.items("segments"):
        for place, forward in enumerate(segment.forwards):
            if forward.to not in endpoints:
                continue
            at, host = (*path, "forwards", place), endpoints[forward.to].host
            first = taken.setdefault((host, segment.uplink, forward.listen), at)
            if first != at:
                where = f'"{segment.uplink}" of host "{host}"'
                yield at, f"{forward.listen} on {where} is forwarded on line {document.line(*first)} already"


def _same_route(document: Document) -> Complaints:
    """The service namespaces are one router for all segments that have a way out."""
    taken: dict[Network, Path] = {}
    for path, segment in document.items("segments"):
        for place, route in enumerate(segment.routes):
            at = (*path, "routes", place)
            first = taken.setdefault(route.to, at)
            if first != at:
                yield at, f"route to {route.to} is said on line {document.line(*first)} already"
