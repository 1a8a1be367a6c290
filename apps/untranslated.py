"""Routed segments on an uplink: their guests leave by `exit` as they are, and what is for them comes in by it.

======================  ===================================================================================
from `exit`             with an address of a routed segment: out as it is; to the host's own address: to the host
for the host's MAC      to an address of a routed segment: into `exit`, whose kernel routes it to the guest
from the host           to such an address: the same
ICMP errors             that the namespace's kernel writes about such packets leave with the host's address
======================  ===================================================================================

On the way back the physical network has a route to the subnet by any host of the uplink, or the subnet is part of the physical network's
own: then the namespace answers ARP and ND for the guests of its host, and only the addresses of guests are taken, not the whole subnet:
of those of other hosts too, since a neighbour may still send to the host where a guest was.
"""

from collections.abc import Iterator

from weft.apps.flow import LOCAL, Flow, Given, Output, Port, Resubmit, Set, mac_number, match
from weft.apps.outlet import AS_HOST, Outlet, by, errors, outlet, to
from weft.apps.pipeline import FROM_GUEST, GUEST_TO_HOST
from weft.apps.translate import translating
from weft.apps.view import Part, View
from weft.topology.check_segments import overlap
from weft.topology.model import Fabric
from weft.topology.terms import Address, Network


def parts(here: View, number: int) -> Iterator[Part]:
    """For the n-th uplink of a host, where routed segments leave by it."""
    way, uplink = outlet(here, number), here.uplink(number).name
    if way is None:
        return
    nets = tuple(dict.fromkeys(visible(here.fabric, uplink)))
    if not nets:
        return
    routed = {segment.name for segment in here.fabric.segments.values() if segment.mode == "routed" and segment.uplink == uplink}
    members = [endpoint for endpoint in here.fabric.endpoints.values() if endpoint.segment in routed]
    guests = tuple(own.ip for endpoint in members for own in endpoint.addresses if _physical(way, own.network))
    tracked = tuple(family.address for family in translating(here, way, uplink))
    yield Part(("untranslated", uplink), untranslated, (way, nets, guests, tracked))


def visible(fabric: Fabric, uplink: str) -> Iterator[Network]:
    """Whose packets leave an uplink as they are: routed subnets, and what is behind a guest of one that hides nobody translated."""
    segments = [segment for segment in fabric.segments.values() if segment.uplink == uplink]
    hidden = [subnet.network for segment in segments if segment.mode == "nat" for subnet in segment.subnets]
    for net in (net for segment in segments if segment.mode == "routed" for net in segment.networks):
        if net.prefixlen and not any(overlap(net, other) for other in hidden):
            yield net


def _physical(way: Outlet, network: Network) -> bool:
    """Whether a segment's network is the physical network's own, or part of it with the host in it."""
    return any(address in network for address in way.addresses)


def untranslated(way: Outlet, nets: tuple[Network, ...], guests: tuple[Address, ...], tracked: tuple[Address, ...]) -> tuple[Flow, ...]:
    """`guests`: addresses in networks that the host itself is in. `tracked`: addresses that other segments are translated to."""
    inward = (*(net for net in nets if not _physical(way, net)), *guests)
    return (
        *(flow for net in nets for flow in _outward(way, net, tracked)),
        *(flow for target in inward for flow in _inward(way, target)),
        *(flow for address in way.addresses for flow in _errors(way, address, tracked)),
    )


def _outward(way: Outlet, net: Network, tracked: tuple[Address, ...]) -> Iterator[Flow]:
    leaving: dict[str, Given] = {"in_port": Port(way.exit), **by(net)}
    own = way.address(net.version)
    yield way.sort(103, *AS_HOST, **leaving)
    if own is not None and own in tracked:  # it may be for a forward
        yield way.sort(104, Resubmit(GUEST_TO_HOST.number), **leaving, **to(own))
        yield GUEST_TO_HOST.flow(10, match(**by(net)), Output(LOCAL), why=way.why)
    elif own is not None:
        yield way.sort(104, Output(LOCAL), **leaving, **to(own))
    if net.version == 4:
        answering: dict[str, Given] = {"in_port": Port(way.exit), "arp_op": 2, "arp_spa": net}
        yield way.sort(101, Output(LOCAL), **answering, eth_dst=way.mac)
        yield way.sort(100, *AS_HOST, **answering)


def _inward(way: Outlet, target: Network | Address) -> Iterator[Flow]:
    """From the wire, or from the host: its kernel may think that they are beyond its gateway, or on the wire."""
    yield way.sort(83, Set("eth_dst", mac_number(way.mac)), Output(Port(way.exit)), in_port=LOCAL, **to(target))
    yield way.sort(71, Output(Port(way.exit)), vlan_vid=0, eth_dst=way.mac, **to(target))


def _errors(way: Outlet, address: Address, tracked: tuple[Address, ...]) -> Iterator[Flow]:
    """Those about a translated conversation are translated with it, and are not invalid."""
    named = (Set("ipv6_src", int(address)),) if address.version == 6 else ()
    for terms in errors(way, address):
        if address in tracked:
            yield FROM_GUEST.flow(4, match(**terms, ct_state="+trk+inv"), *named, *AS_HOST, why=way.why)
        else:
            yield way.sort(105, *named, *AS_HOST, in_port=Port(way.exit), **terms)
