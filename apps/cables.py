"""Ports that are more than one untagged guest: a guest's trunk, and the host's own interface in a segment.

=========  ===========================================================================================
`emit`     what a segment sends to a port of a trunk gets the tag that the trunk has for that segment
`forward`  to the host's own interface goes what is for its addresses, and ARP: its kernel may be a router for other networks, and
           would be a way out of a segment that has none
=========  ===========================================================================================

A trunk's frames lose their tag in `admit`, which tells their segment.
"""

from collections.abc import Iterator
from ipaddress import IPv6Network

from weft.apps.bridging import KNOWN, to
from weft.apps.fields import IP, IPV6
from weft.apps.flow import Given, Goto, Output, PopVlan, Port, PushVlan, Set, match
from weft.apps.pipeline import EMIT, FORWARD, GUEST, OUT, PROTECT, SEGMENT, TOWARDS, VLAN_PRESENT, held
from weft.apps.view import Part, Unit, View, Way
from weft.topology.model import Endpoint, Segment
from weft.topology.names import link_local

CLOSED, OPEN = KNOWN + 30, KNOWN + 40
"""Priorities: nothing else goes to the host, and before that what does."""
GROUPS = IPv6Network("ff00::/8")


def parts(here: View) -> Iterator[Part]:
    for site in here.inhabited:
        for endpoint in site.local:
            if endpoint.tag is not None:
                yield Part(("tag", endpoint.name), tag, (endpoint, site.segment))
            if endpoint.attach == "host":
                yield Part(("host", endpoint.name), of_host, (endpoint, site.segment))


def tag(endpoint: Endpoint, segment: Segment) -> Unit:
    """The trunk's tag for this segment."""
    number = VLAN_PRESENT | (endpoint.tag or 0)
    there: dict[str, Given] = {**held((SEGMENT, segment.id), (TOWARDS, GUEST)), OUT.field: (Port(endpoint.port), OUT.mask)}
    tagged = (PushVlan(), Set("vlan_vid", number), Output(OUT), PopVlan())  # the next copy goes to somebody else
    return (EMIT.flow(KNOWN, match(**there), *tagged, why=(endpoint.path, segment.path)),)


def of_host(endpoint: Endpoint, segment: Segment) -> Unit:
    """Nothing that it would have to route gets to a host."""
    why, on = (endpoint.path, segment.path), (*to(Way(endpoint.port, GUEST)), Goto(PROTECT.number))
    its: dict[str, Given] = {**held((SEGMENT, segment.id)), "eth_dst": endpoint.mac}
    return (
        *(FORWARD.flow(OPEN, match(**its, **terms), *on, why=why) for terms in _own(endpoint)),
        *(FORWARD.flow(CLOSED, match(**its, eth_type=kind), why=why) for kind in (IP, IPV6)),
    )


def _own(endpoint: Endpoint) -> Iterator[dict[str, Given]]:
    for address in endpoint.addresses:
        yield {"ip_dst" if address.version == 4 else "ipv6_dst": address.ip}
    if any(address.version == 6 for address in endpoint.addresses):
        yield {"ipv6_dst": link_local(endpoint.mac)}
        yield {"ipv6_dst": GROUPS}  # a question for its address
