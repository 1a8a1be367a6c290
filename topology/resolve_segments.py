"""Segments with every derived value: numbers, gateways, MTUs, what their services give."""

from collections.abc import Iterable, Mapping

from weft.topology import names
from weft.topology.check_segments import V6_MTU_MIN, gateway_of
from weft.topology.check_services import seconds
from weft.topology.document import Document, Faults
from weft.topology.model import Dhcp, Forward, Host, Route, Segment, Subnet
from weft.topology.overlay import OVERHEAD, WIRE_MTU, tunnel_mtu
from weft.topology.schema import Dhcp as DhcpSpec
from weft.topology.schema import Segment as SegmentSpec

LEASE = 3600
"""Seconds, where the file does not say."""


def resolve_segments(document: Document, hosts: Mapping[str, Host], faults: Faults) -> dict[str, Segment]:
    spec = document.spec
    ids = segment_ids(spec.fabric, spec.segments)
    spoofing = {name for guest in spec.guests.values() for nic in guest.nics if nic.spoof for name in nic.segments}
    return {
        name: Segment(
            name=name,
            mode=segment.mode,
            id=ids[name],
            subnets=tuple(Subnet(subnet, gateway_of(segment, subnet)) for subnet in segment.subnets),
            uplink=segment.uplink,
            vlan=segment.vlan,
            mtu=_mtu(document, name, segment, hosts, faults),
            gateway_mac=names.mac(spec.fabric, f"gateway/{name}"),
            strangers=segment.mode == "bridged" or name in spoofing,
            source=document.source("segments", name),
            dhcp=_dhcp(segment),
            ra=_ra(segment),
            dns=segment.dns,
            forwards=tuple(_forwards(document, name, segment)),
            routes=tuple(Route(route.to, route.via) for route in segment.routes),
            spans=segment.span == "fabric",
            private=segment.private,
            closed=segment.policy == "closed",
            host=segment.host,
            snoop=segment.multicast == "snoop",
            qinq=segment.qinq,
        )
        for name, segment in spec.segments.items()
    }


def segment_ids(fabric: str, segments: Iterable[str]) -> dict[str, int]:
    """1 to 2**24-1: what a tunnel key of geneve and vxlan holds."""
    return names.allot(f"segment/{fabric}", segments, 24)


def _dhcp(segment: SegmentSpec) -> Dhcp | None:
    if segment.dhcp is False:
        return None
    given = segment.dhcp if isinstance(segment.dhcp, DhcpSpec) else DhcpSpec()
    return Dhcp((given.range,) if given.range else (), seconds(given.lease) if given.lease else LEASE, dict(given.options))


def _ra(segment: SegmentSpec) -> bool:
    """Where the file does not say: where there is an IPv6 subnet whose gateway is ours."""
    return bool(segment.ipv6) and segment.mode != "bridged" if segment.ra is None else segment.ra


def _forwards(document: Document, name: str, segment: SegmentSpec) -> Iterable[Forward]:
    for place, given in enumerate(segment.forwards):
        protocol, _, port = given.listen.partition("/")
        source = document.source("segments", name, "forwards", place)
        yield Forward(protocol, int(port), given.to, given.port or int(port), source)  # type: ignore[arg-type]  # checked by the schema


def _mtu(document: Document, name: str, segment: SegmentSpec, hosts: Mapping[str, Host], faults: Faults) -> int:
    leaves, why = _mtu_left(segment, document.spec.overlay.type, hosts)
    if segment.mtu is None:
        if leaves < V6_MTU_MIN and segment.ipv6:
            faults.add(("segments", name), f"{why} leaves {leaves} bytes, less than the {V6_MTU_MIN} that IPv6 needs")
        return leaves
    if segment.mtu > leaves:
        faults.add(("segments", name, "mtu"), f"mtu {segment.mtu} is more than the {leaves} that {why} leaves")
    return segment.mtu


def _mtu_left(segment: SegmentSpec, overlay: str, hosts: Mapping[str, Host]) -> tuple[int, str]:
    """The largest packet that fits everywhere, and what sets that limit. All hosts count: a guest may move."""
    if segment.mode == "bridged":
        wires = [uplink.mtu for host in hosts.values() for name, uplink in host.uplinks.items() if name == segment.uplink]
        return min(wires, default=WIRE_MTU), f'uplink "{segment.uplink}"'
    left = [tunnel_mtu(overlay, host) for host in hosts.values() if host.address]
    return min(left, default=WIRE_MTU - OVERHEAD[overlay][4]), "the overlay"
