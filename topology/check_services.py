"""Whether what a segment asks its services for makes sense: DHCP, router advertisements and DNS."""

from collections.abc import Iterator

from weft.topology import dhcp_options
from weft.topology.check_segments import is_usable
from weft.topology.document import Document, Faults
from weft.topology.schema import Dhcp, Segment
from weft.topology.yaml12 import Path

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LEASE_MIN, LEASE_MAX = 120, 0xFFFFFFFE
"""Seconds: dnsmasq makes two minutes of anything shorter (dnsmasq(8), dhcp-range); the highest number means for ever (RFC 2131, 3.3)."""

INTERFACE_ID = 64

Complaints = Iterator[tuple[Path, str]]


def check_services(document: Document, faults: Faults) -> None:
    for path, segment in document.items("segments"):
        for rest, what in (*_whose(segment), *_dhcp(segment)):
            faults.add((*path, *rest), what)


def _whose(segment: Segment) -> Complaints:
    """What is asked of a segment that weft does not serve, or that has nothing to say it with."""
    asked = {"dhcp": segment.dhcp is not False, "ra": bool(segment.ra), "dns": segment.dns}
    for key in (key for key, asks in asked.items() if asks):
        if segment.mode == "bridged":
            yield (key,), f"{key} is the physical network's on a bridged segment: what serves that serves its guests"
        elif key == "dns" and not segment.subnets:
            yield (key,), "dns needs a subnet whose gateway answers"
        elif key == "ra" and not segment.ipv6:
            yield (key,), "ra needs an IPv6 subnet"
    if segment.mode != "bridged":
        yield from _sizes(segment)


def _sizes(segment: Segment) -> Complaints:
    """RFC 4862, 5.5.3: guests form addresses in a /64; dnsmasq gives none of anything larger."""
    for subnet in segment.ipv6:
        if segment.dhcp is not False and subnet.prefixlen < INTERFACE_ID:
            yield ("subnets",), f"DHCPv6 is for a /64 or less, {subnet} is more"
        elif segment.dhcp is False and segment.ra is not False and subnet.prefixlen != INTERFACE_ID:
            yield ("subnets",), f"router advertisements are for a /64, {subnet} is none: write ra: false"


def _dhcp(segment: Segment) -> Complaints:
    if segment.dhcp is False:
        return
    if not segment.subnets:
        yield ("dhcp",), "dhcp needs a subnet to give addresses of"
    if not isinstance(segment.dhcp, Dhcp):
        return
    if segment.dhcp.range:
        first, last = segment.dhcp.range
        owner = next((subnet for subnet in segment.subnets if first in subnet and last in subnet), None)
        if owner is None:
            yield ("dhcp", "range"), f"dhcp range {first}-{last} is in none of its subnets"
        elif not (is_usable(first, owner) and is_usable(last, owner)):
            yield ("dhcp", "range"), f"dhcp range {first}-{last} holds an address of {owner} that no machine can have"
    if segment.dhcp.lease and not LEASE_MIN <= seconds(segment.dhcp.lease) <= LEASE_MAX:
        yield ("dhcp", "lease"), f"dhcp lease {segment.dhcp.lease} is not 2m-49710d"
    for name, value in segment.dhcp.options.items():
        if what := dhcp_options.refusal(name, value):
            yield ("dhcp", "options", name), f"dhcp option {name} {what}"


def seconds(duration: str) -> int:
    """Of ``30s``, ``10m``, ``1h`` or ``2d``."""
    return int(duration[:-1]) * SECONDS[duration[-1]]
