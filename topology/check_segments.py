"""Whether what a segment says makes sense, and whether segments leave each other alone."""

from collections.abc import Iterator
from itertools import combinations

from weft.topology.document import Document, Faults
from weft.topology.model import HOST_UPLINK
from weft.topology.schema import Segment
from weft.topology.terms import Address, Network
from weft.topology.yaml12 import Path

V6_MTU_MIN = 1280
"""RFC 8200, 5."""

Complaints = Iterator[tuple[Path, str]]


def check_segments(document: Document, faults: Faults) -> None:
    for path, segment in document.items("segments"):
        for rest, what in (*_mode(segment), *_addresses(segment)):
            faults.add((*path, *rest), what)
    for path, what in (*_same_wire(document), *_overlaps(document)):
        faults.add(path, what)


def _mode(segment: Segment) -> Complaints:
    mode = segment.mode
    if mode == "isolated" and segment.uplink is not None:
        yield ("uplink",), "an isolated segment has no way out, and no uplink"
    if mode != "isolated" and segment.uplink is None:
        yield (), f"a {mode} segment needs an uplink"
    if mode == "nat" and not segment.ipv4:
        yield ("subnets",), "a nat segment needs an IPv4 subnet"
    if mode == "routed" and not segment.subnets:
        yield ("subnets",), "a routed segment needs a subnet"
    if mode != "nat" and segment.uplink == HOST_UPLINK:
        yield ("uplink",), f"uplink host, the way the host itself goes, is for nat segments, this one is {mode}"
    if mode != "bridged" and segment.vlan is not None:
        yield ("vlan",), f"vlan is the tag of a bridged segment, this one is {mode}"
    if segment.mtu is not None and segment.mtu < V6_MTU_MIN and segment.ipv6:
        yield ("mtu",), f"mtu {segment.mtu} is less than the {V6_MTU_MIN} that IPv6 needs"
    if segment.qinq and mode != "bridged":
        yield ("qinq",), f"qinq is for bridged segments, this one is {mode}"


def _addresses(segment: Segment) -> Complaints:
    for place, (one, other) in _clashes(segment.subnets):
        yield ("subnets", place), f"subnet {other} overlaps {one}"
    owners: list[Network | None] = []
    for gateway in segment.gateway:
        owner = next((subnet for subnet in segment.subnets if gateway in subnet), None)
        if owner is None:
            yield ("gateway",), f"gateway {gateway} is in none of its subnets"
        elif not is_usable(gateway, owner):
            yield ("gateway",), f"gateway {gateway} is not an address of {owner} that a machine can have"
        elif owner in owners:
            yield ("gateway",), f"gateway {gateway} is the second one in {owner}"
        owners.append(owner)


def _clashes(subnets: tuple[Network, ...]) -> Iterator[tuple[int, tuple[Network, Network]]]:
    for (_, one), (place, other) in combinations(enumerate(subnets), 2):
        if overlap(one, other):
            yield place, (one, other)


def overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def is_usable(address: Address, subnet: Network) -> bool:
    """Neither the network's own address nor, in IPv4, its broadcast address."""
    return address != subnet.network_address and (subnet.version == 6 or address != subnet.broadcast_address)


def gateway_of(segment: Segment, subnet: Network) -> Address:
    """The one that is given, else the first address."""
    return next((gateway for gateway in segment.gateway if gateway in subnet), subnet[1])




def _same_wire(document: Document) -> Complaints:
    taken: dict[tuple[str, int | None], Path] = {}
    for path, segment in document.items("segments"):
        if segment.mode != "bridged" or segment.uplink is None:
            continue
        first = taken.setdefault((segment.uplink, segment.vlan), path)
        if first != path:
            tag = "untagged" if segment.vlan is None else f"vlan {segment.vlan}"
            key = "uplink" if segment.vlan is None else "vlan"
            yield (*path, key), f'{tag} on "{segment.uplink}" is segment "{first[1]}" already (line {document.line(*first)})'


def _overlaps(document: Document) -> Complaints:
    """Subnets of different segments meet where packets are routed out, and in the service namespace of a host with guests on both."""
    hosts: dict[str, set[str]] = {}
    for guest in document.spec.guests.values():
        for nic in guest.nics:
            for plugged in nic.segments:
                hosts.setdefault(plugged, set()).add(guest.host)
    served = [
        (subnet, name, place, segment)
        for name, segment in document.spec.segments.items()
        if segment.mode != "bridged"
        for place, subnet in enumerate(segment.subnets)
    ]
    served.sort(key=lambda entry: (entry[0].version, int(entry[0].network_address), entry[0].prefixlen))
    for index, (subnet, name, _, segment) in enumerate(served):
        for other_subnet, other, _, other_segment in served[index + 1 :]:
            if not overlap(subnet, other_subnet):
                break
            meet = sorted(hosts.get(name, set()) & hosts.get(other, set()))
            routed = "isolated" not in (segment.mode, other_segment.mode)
            if name != other and (routed or meet):
                yield _overlap_said(document, (name, subnet), (other, other_subnet), None if routed else meet[0])


def _overlap_said(document: Document, one: tuple[str, Network], other: tuple[str, Network], host: str | None) -> tuple[Path, str]:
    """On the line of the one that comes later in the file."""
    first, later = sorted((one, other), key=lambda entry: document.line("segments", entry[0]))
    where = f', and host "{host}" has guests on both' if host else ""
    said = f'subnet {later[1]} overlaps {first[1]} of segment "{first[0]}" (line {document.line("segments", first[0])}){where}'
    return ("segments", later[0], "subnets"), said
