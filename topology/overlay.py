"""What joins hosts: tunnels, what they take off each packet, and where copies of packets travel."""

from collections.abc import Iterator

from weft.topology.model import Fabric, Host, Uplink, underlay_uplink
from weft.topology.model_rules import Mirror

WIRE_MTU = 1500
OVERHEAD = {"geneve": {4: 58, 6: 78}, "vxlan": {4: 50, 6: 70}, "gre": {4: 42, 6: 62}, "stt": {4: 76, 6: 96}}
"""What a tunnel takes off the underlay's MTU, by IP version: outer IP, UDP (8) and geneve (8 and 8 of options) or vxlan (8), or GRE with
a key (8, RFC 2890), and the inner Ethernet header (14). stt is refused, and has a number so that its MTU is no second fault.
"""


def tunnel_mtu(overlay: str, host: Host) -> int:
    """The largest packet that a host's tunnels carry whole, in bytes of layer 3."""
    uplink = underlay_uplink(host)
    version = host.address.version if host.address else 4
    return (uplink.mtu if uplink else WIRE_MTU) - OVERHEAD[overlay][version]


def crosses(fabric: Fabric, mirror: Mirror) -> bool:
    """Whether a mirror's copies go from one host to another."""
    there = mirror.to and fabric.endpoints[mirror.to].host
    return there not in (None, fabric.endpoints[mirror.endpoint].host)


def joined(fabric: Fabric) -> bool:
    """Whether the hosts of a fabric are joined by tunnels."""
    return any(s.tunnelled for s in fabric.segments.values()) or any(crosses(fabric, mirror) for mirror in fabric.mirrors)


def mirror_uplink(fabric: Fabric, mirror: Mirror) -> Uplink | None:
    """Where an RSPAN mirror leaves its host: by its segment's uplink, else the host's first; None: it has a target, or no uplink."""
    endpoint = fabric.endpoints[mirror.endpoint]
    uplinks, wire = fabric.hosts[endpoint.host].uplinks, fabric.segments[endpoint.segment].uplink
    if mirror.vlan is None:
        return None
    return uplinks.get(wire or "") or next(iter(uplinks.values()), None)


def mirrored_vlans(fabric: Fabric, host: str, uplink: str) -> tuple[int, ...]:
    """The VLANs by which copies leave a host by one of its uplinks: nothing is to be learned there (a copy's sender is elsewhere)."""
    found = {mirror.vlan for mirror in _leaving(fabric, host, uplink) if mirror.vlan is not None}
    return tuple(sorted(found))


def _leaving(fabric: Fabric, host: str, uplink: str) -> Iterator[Mirror]:
    for mirror in fabric.mirrors:
        way = mirror_uplink(fabric, mirror)
        if way is not None and way.name == uplink and fabric.endpoints[mirror.endpoint].host == host:
            yield mirror
