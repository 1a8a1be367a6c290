"""What is allowed in a fabric and yet hardly meant."""

from collections.abc import Iterator

from weft.topology.check_policies import policy_warnings
from weft.topology.model import Fabric, Guest, Host


def warnings(fabric: Fabric) -> Iterator[str]:
    """One line each, with file and line."""
    inhabited = {endpoint.segment for endpoint in fabric.endpoints.values()}
    inhabited |= {segment for host in fabric.hosts.values() for pool in host.pools for segment in pool.segments}
    for segment in fabric.segments.values():
        expects = segment.dhcp is not None and segment.dhcp.ranges  # guests that the file does not name
        if segment.name not in inhabited and not expects:
            yield f'{segment.source}: segment "{segment.name}": no guest is in it'
    for guest in fabric.guests.values():
        seen: set[str] = set()
        for endpoint in guest.endpoints:
            if endpoint.segment in seen:
                yield f'{endpoint.source}: endpoint "{endpoint.name}": its guest is in segment "{endpoint.segment}" already'
            seen.add(endpoint.segment)
        yield from _hairpins(guest)
    for host in fabric.hosts.values():
        for uplink in host.uplinks.values():
            if uplink.bond != "none" and len(uplink.nics) == 1:
                yield f'{uplink.source}: host "{host.name}" uplink "{uplink.name}": bond {uplink.bond} of one NIC: nothing takes over'
        yield from _empty_pools(fabric, host)
    yield from _mtus(fabric)
    yield from policy_warnings(fabric)
    for service in fabric.services:
        if not service.members:
            yield f'{service.source}: service "{service.name}": no guest of segment "{service.segment}" is behind it'


def _hairpins(guest: Guest) -> Iterator[str]:
    """IEEE 802.1Qbg: a virtual Ethernet port aggregator leaves switching to the switch at the other end of its cable."""
    for endpoint in guest.endpoints:
        if endpoint.mode == "vepa":
            told = f'mode vepa: others on "{endpoint.via}" hear it only if the switch there sends frames back where they came from (hairpin)'
            yield f'{endpoint.source}: endpoint "{endpoint.name}": {told}'


def _empty_pools(fabric: Fabric, host: Host) -> Iterator[str]:
    for pool in host.pools:
        given = [e for e in fabric.endpoints.values() if e.attach == "vf" and (e.host, e.via) == (host.name, pool.nic)]
        if pool.kind == "vf" and len(given) == host.cards[pool.nic].vfs:
            yield f'{pool.source}: host "{host.name}": pool of "{pool.nic}": guests of the file have all {len(given)} of its virtual functions'


def _mtus(fabric: Fabric) -> Iterator[str]:
    """Flows route, and say nothing of a packet that is too big for the segment it goes to."""
    joined = [segment for segment in fabric.segments.values() if segment.joined]
    widest = max(joined, key=lambda segment: segment.mtu, default=None)
    for segment in joined:
        if widest and segment.mtu < widest.mtu:
            told = f'guests of segment "{widest.name}" send it packets of up to {widest.mtu} bytes, and the larger ones are lost'
            yield f'{segment.source}: segment "{segment.name}": mtu {segment.mtu}, but {told}'
