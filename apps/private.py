"""Segments whose guests do not reach each other (``private: true``): only their gateway, their host, the wire, and others by the router.

=========  ==============================================================================================
`forward`  what a guest sends to the MAC of another guest of its segment ends here; what the host's own interface sends does not
`flood`    what a guest sends to all gets to the host's own interface and to the wire, to no guest
`admit`    on the wire, what comes from a guest of another host is not let in
=========  ==============================================================================================

That the router leads none of them to another is in `weft.apps.routing`. Source: RFC 5517 (private VLANs, where this is an isolated
port, and gateway, host and wire are promiscuous).
"""

from collections.abc import Iterator

from weft.apps import admit
from weft.apps.bridging import KNOWN, copies, to
from weft.apps.flow import Flow, Given, Goto, Port, match
from weft.apps.pipeline import FLOOD, FORWARD, GUEST, ORIGIN, PROTECT, ROUTED, SEGMENT, TOWARDS, WIRE, held
from weft.apps.view import Part, Site, View, Way
from weft.topology import names
from weft.topology.model import Endpoint, Segment

APART, HOST = KNOWN + 10, KNOWN + 20
"""Priorities: guests among themselves, and before that what the host's own interface sends."""


def parts(here: View) -> Iterator[Part]:
    for site in here.inhabited:
        if site.segment.private:
            yield from _site(site)


def _site(site: Site) -> Iterator[Part]:
    segment, hosts = site.segment, host_ports(site)
    ports = tuple(endpoint.port for endpoint in site.local)
    yield Part(("private flood", segment.name), flood, (segment, ports, hosts, site.beyond))
    for endpoint, way in (*((endpoint, Way(endpoint.port, GUEST)) for endpoint in site.local), *site.remote):
        if endpoint.attach != "host":
            yield Part(("apart", endpoint.name), apart, (endpoint, segment, way, hosts))
    if segment.mode == "bridged" and segment.uplink is not None:
        for endpoint, _ in site.remote:
            yield Part(("guard", endpoint.name), admit.wire_guard, (endpoint, segment, names.patch_port(segment.uplink)))


def host_ports(site: Site) -> tuple[str, ...]:
    return tuple(endpoint.port for endpoint in site.local if endpoint.attach == "host")


def apart(endpoint: Endpoint, segment: Segment, way: Way, hosts: tuple[str, ...]) -> tuple[Flow, ...]:
    """One guest, kept from the others."""
    why = (endpoint.path, segment.path)
    known: dict[str, Given] = {**held((SEGMENT, segment.id), (ORIGIN, GUEST), (ROUTED, 0)), "eth_dst": endpoint.mac}
    return (
        FORWARD.flow(APART, match(**known), why=why),
        *(FORWARD.flow(HOST, match(**known, in_port=Port(port)), *to(way), Goto(PROTECT.number), why=why) for port in hosts),
    )


def flood(segment: Segment, here: tuple[str, ...], hosts: tuple[str, ...], beyond: tuple[Way, ...]) -> tuple[Flow, ...]:
    """Group traffic of the guests here, and of the host's own interface: in place of what `weft.apps.bridging` floods."""
    sent = held((SEGMENT, segment.id), (TOWARDS, 0), (ORIGIN, GUEST))
    few = copies(hosts, tuple(way for way in beyond if way.place == WIRE))
    every = copies(here, beyond)
    return (
        FLOOD.flow(KNOWN, match(**sent), *few, why=(segment.path,)),
        *(FLOOD.flow(HOST, match(**sent, in_port=Port(port)), *every, why=(segment.path,)) for port in hosts),
    )
