"""What each host's DHCP, router advertisements and DNS say: the same of the model's guests on every host, a slice of the range of its own."""

from collections.abc import Iterator, Mapping

from weft.topology import dhcp_options, names
from weft.topology.hostrow import DhcpSpec, Spec
from weft.topology.model import HOST_UPLINK, Fabric, Host, Segment
from weft.topology.terms import Address


def dhcp_rows(fabric: Fabric, host: Host, row: Mapping[str, Spec]) -> Iterator[tuple[str, Spec]]:
    """For the segments that have a service port on this host, as its `row` says."""
    place = list(fabric.hosts).index(host.name)
    for name, segment in fabric.segments.items():
        if segment.answers and f"service/{name}" in row:
            leads = segment.mode != "isolated"
            dhcp = segment.dhcp
            yield f"dhcp/{name}", DhcpSpec(
                segment=name,
                inside=names.service_port(name),
                gateways=tuple(f"{subnet.gateway}/{subnet.network.prefixlen}" for subnet in segment.subnets),
                leases=dhcp is not None,
                ranges=tuple(_ranges(segment, place, len(fabric.hosts))),
                lease=dhcp.lease if dhcp else 0,
                options=tuple(dhcp_options.lines(dhcp.options)) if dhcp else (),
                advertises=segment.ra,
                routes=leads,
                dns=segment.dns,
                forwards=_asks_from(segment) if segment.dns and leads else "",
                mtu=segment.mtu,
                guests=tuple(" ".join((e.mac, e.guest, *(str(a.ip) for a in e.addresses))) for e in fabric.members(name)),
                inhabited=any(endpoint.host == host.name for endpoint in fabric.members(name)),
            )


def _asks_from(segment: Segment) -> str:
    """An address of the service namespace that its way out translates, and whose answers come back in."""
    if segment.uplink != HOST_UPLINK:
        return str(names.ECHO)
    return next((str(subnet.gateway) for subnet in segment.subnets if subnet.network.version == 4), "")


def _ranges(segment: Segment, place: int, hosts: int) -> Iterator[str]:
    gateways = {subnet.gateway for subnet in segment.subnets}
    for first, last in segment.dhcp.ranges if segment.dhcp else ():
        for one, other in slices(first, last, place, hosts, gateways):
            yield f"{one}-{other}"


def slices(first: Address, last: Address, place: int, hosts: int, taken: set[Address]) -> Iterator[tuple[Address, Address]]:
    """The part of a range that the host at `place` (from 0) of so many gives away: parts that differ by one address at most.

    Nothing where there are more hosts than addresses and this one goes without. It is cut again where an address of it is `taken`.
    """
    low, size = int(first), int(last) - int(first) + 1
    start, end = low + size * place // hosts, low + size * (place + 1) // hosts
    kind = type(first)
    for stop in sorted(int(address) for address in taken if address.version == first.version and start <= int(address) < end):
        if start < stop:
            yield kind(start), kind(stop - 1)
        start = stop + 1
    if start < end:
        yield kind(start), kind(end - 1)
