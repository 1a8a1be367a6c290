"""Addresses that are somebody's: a guest whose addresses nobody knows may use any but these.

On a bridged segment a guest may have its address from elsewhere, so it is not told by its addresses (`weft.apps.admit`). What it must not
do is to say, by ARP, by ND or as a sender, that it is the segment's gateway or a guest that the model knows. One flow in `learn` for each
such claim, on hosts where such a guest is.
"""

from collections.abc import Iterator

from weft.apps.flow import Flow, Given, match
from weft.apps.pipeline import LEARN, SEGMENT, UNPROVEN, held
from weft.apps.view import Part, View
from weft.topology.model import Endpoint, Segment
from weft.topology.names import link_local
from weft.topology.terms import Address

CLAIM = 200


def parts(here: View) -> Iterator[Part]:
    for site in here.inhabited:
        if not any(is_unproven(endpoint) for endpoint in (*site.local, *site.coming)):
            continue
        yield Part(("claim", site.segment.name), of_gateway, (site.segment,))
        for endpoint in (*site.local, *(endpoint for endpoint, _ in site.remote)):
            if endpoint.addresses:
                yield Part(("claim", endpoint.name), of_guest, (endpoint, site.segment))


def is_unproven(endpoint: Endpoint) -> bool:
    return not endpoint.addresses and not endpoint.spoof


def of_gateway(segment: Segment) -> tuple[Flow, ...]:
    addresses: list[Address] = [subnet.gateway for subnet in segment.subnets]
    if segment.served and any(address.version == 6 for address in addresses):
        addresses.append(link_local(segment.gateway_mac))
    return _claims(segment, addresses, (segment.path,))


def of_guest(endpoint: Endpoint, segment: Segment) -> tuple[Flow, ...]:
    addresses: list[Address] = [address.ip for address in endpoint.addresses]
    if any(address.version == 6 for address in addresses):
        addresses.append(link_local(endpoint.mac))
    return _claims(segment, addresses, (endpoint.path, segment.path))


def _claims(segment: Segment, addresses: list[Address], why: tuple[str, ...]) -> tuple[Flow, ...]:
    here = held((SEGMENT, segment.id), (UNPROVEN, 1))
    return tuple(LEARN.flow(CLAIM, match(**here, **terms), why=why) for address in addresses for terms in _ways(address))


def _ways(address: Address) -> tuple[dict[str, Given], ...]:
    """How one claims an address: as a sender, and by saying where it is."""
    if address.version == 4:
        return {"arp_spa": address}, {"ip_src": address}
    return {"icmpv6_type": 136, "nd_target": address}, {"ipv6_src": address}
