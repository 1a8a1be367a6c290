"""Addresses that are shared among endpoints: which segment each is in, and what is wrong with what the file says of them.

An address is in the segment whose subnet holds it; a service that names a segment and no address gets one that follows from its name, as a
guest does, and never one that the file gives to a guest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from weft.topology import names
from weft.topology.check_segments import gateway_of, is_usable
from weft.topology.complaints import suggestion
from weft.topology.document import Document, Faults
from weft.topology.rules import VirtualService
from weft.topology.schema import Dhcp, Nic, Segment
from weft.topology.terms import Address, Network
from weft.topology.yaml12 import Path

PROTOCOLS = ("tcp", "udp")
"""Whose ports a switch rewrites."""


@dataclass(slots=True)
class Shared:
    """What was found out, whole where the document has no faults."""

    places: dict[str, tuple[str, Address]] = field(default_factory=dict)
    """Segment and address of each service."""

    @property
    def taken(self) -> dict[tuple[str, Address], str]:
        """By segment and address, in the words of a complaint: nobody else may have them."""
        return {place: f'service "{name}"' for name, place in reversed(self.places.items())}


def share(document: Document, faults: Faults) -> Shared:
    """The address of every service. Says what is wrong with services."""
    shared = Shared()
    for path, service in document.items("services"):
        for key, what in _wrong(document, service):
            faults.add((*path, *key), what)
    later = []
    for path, service in document.items("services"):
        segment = _segment(document, service)
        if segment is not None and service.address is not None:
            shared.places[service.name] = segment, service.address
        elif segment is not None:
            later.append((path, service.name, segment))
    for path, name, segment in sorted(later, key=lambda found: found[1]):
        address = _derived(document, name, segment, shared)
        if address is not None:
            shared.places[name] = segment, address
        elif document.spec.segments[segment].subnets:
            faults.add(path, f'no address is left in segment "{segment}"')
    _same_listen(document, shared, faults)
    return shared


def _segment(document: Document, service: VirtualService) -> str | None:
    segments = document.spec.segments
    if service.segment is not None:
        return service.segment if service.segment in segments else None
    return next((name for name, segment in segments.items() if segment.mode != "bridged" and _subnet(segment, service.address)), None)


def _subnet(segment: Segment, address: Address | None) -> Network | None:
    return next((subnet for subnet in segment.subnets if address in subnet), None)


def _wrong(document: Document, service: VirtualService) -> Iterator[tuple[Path, str]]:
    protocol = service.listen.partition("/")[0]
    if protocol not in PROTOCOLS:
        yield ("listen",), f"listen {service.listen}: only tcp and udp can be shared"
    name, broken = _segment(document, service), any(path[0] == "segments" for path in document.broken)
    if name is not None:
        yield from _placed(document.spec.segments[name], name, service)
        yield from _members(document, name, service)
    elif service.segment is not None and not document.is_broken("segments", service.segment):
        yield ("segment",), f'there is no segment "{service.segment}"{suggestion(service.segment, document.spec.segments)}'
    elif service.segment is None and not broken:
        yield ("address",), f"address {service.address} is in no segment's subnet"


def _placed(segment: Segment, name: str, service: VirtualService) -> Iterator[tuple[Path, str]]:
    """Its segment has a gateway, which answers for it; its address is nobody else's."""
    address = service.address
    if segment.mode == "bridged":
        yield ("segment",), f'segment "{name}" is bridged: it has no gateway of weft\'s to answer for a shared address'
    elif not segment.subnets:
        yield ("segment",), f'segment "{name}" has no subnets, so nothing can be shared in it'
    elif address is not None:
        subnet = _subnet(segment, address)
        if subnet is None:
            listed = " and ".join(str(subnet) for subnet in segment.subnets)
            yield ("address",), f'address {address} is outside {listed} of segment "{name}"'
        elif not is_usable(address, subnet):
            yield ("address",), f"address {address} is not an address of {subnet} that a machine can have"
        elif address == gateway_of(segment, subnet):
            yield ("address",), f'address {address} is the gateway\'s in segment "{name}"'
        elif isinstance(segment.dhcp, Dhcp) and segment.dhcp.range and _within(segment.dhcp.range, address):
            yield ("address",), f'address {address} is in the dhcp range of segment "{name}", which is given to strangers'


def _within(ends: tuple[Address, Address], address: Address) -> bool:
    first, last = ends
    return address.version == first.version and int(first) <= int(address) <= int(last)


def _members(document: Document, segment: str, service: VirtualService) -> Iterator[tuple[Path, str]]:
    who, spec = service.to, document.spec
    if isinstance(who, dict):
        return
    guest, _, nic = who.partition(".")
    if who in spec.segments:
        if who != segment:
            yield ("to",), f'"{who}" is another segment than "{segment}", which address and members are in'
    elif guest not in spec.guests:
        if not document.is_broken("guests", guest) and not document.is_broken("segments", who):
            yield ("to",), f'"{who}" is not something that answers: name guests, endpoints, labels or segment "{segment}"'
    elif not any(segment in plugged.segments for plugged in _nics(spec.guests[guest].nics, nic)):
        yield ("to",), f'"{who}" is not in segment "{segment}"'


def _nics(nics: tuple[Nic, ...], name: str) -> Iterator[Nic]:
    return (nic for place, nic in enumerate(nics) if name in ("", f"eth{place}"))


def _derived(document: Document, name: str, segment: str, shared: Shared) -> Address | None:
    """In the first subnet: from the slot of the name upwards, and round, past what the file gives to somebody."""
    spec = document.spec.segments[segment]
    if not spec.subnets or spec.mode == "bridged":
        return None
    subnet = spec.subnets[0]
    given = {getattr(ip, "ip", ip) for guest in document.spec.guests.values() for nic in guest.nics if segment in nic.segments for ip in nic.ip}
    given |= {gateway_of(spec, subnet)} | {address for where, address in shared.places.values() if where == segment}
    ends = spec.dhcp.range if isinstance(spec.dhcp, Dhcp) else None
    at, size = names.address_slot(subnet, f"service/{name}"), min(subnet.num_addresses - 2, 1 << 32)
    for _ in range(len(given) + 3):
        address: Address = subnet[1 + at % size]
        if ends and _within(ends, address):
            at = int(ends[1]) - int(subnet.network_address)
        elif address in given:
            at += 1
        else:
            return address
    return None


def _same_listen(document: Document, shared: Shared, faults: Faults) -> None:
    taken: dict[tuple[str, Address, str], Path] = {}
    for path, service in document.items("services"):
        if service.name in shared.places:
            first = taken.setdefault((*shared.places[service.name], service.listen), path)
            if first != path:
                address = shared.places[service.name][1]
                faults.add(path, f"{service.listen} of {address} is shared on line {document.line(*first)} already")
