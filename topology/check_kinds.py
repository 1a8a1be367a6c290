"""Whether the kinds of segment that a file asks for can be had: islands, private ones, the host in them."""

from collections.abc import Iterator

from weft.topology.check_segments import overlap
from weft.topology.document import Document, Faults
from weft.topology.schema import Segment
from weft.topology.yaml12 import Path

Complaints = Iterator[tuple[Path, str]]


def check_kinds(document: Document, faults: Faults) -> None:
    for path, segment in document.items("segments"):
        for key, what in _segment(segment):
            faults.add((*path, key), what)
    for path, what in (*_private(document), *_trunks(document), *_host_networks(document)):
        faults.add(path, what)


def _segment(segment: Segment) -> Iterator[tuple[str, str]]:
    if segment.span == "host" and segment.mode == "bridged":
        yield "span", "span host is not for bridged segments: their wire joins the hosts"
    if segment.private and segment.multicast == "snoop":
        yield "multicast", "multicast snoop leads from guest to guest, which private does not let them reach"
    if segment.qinq and segment.mode == "bridged" and segment.vlan is None:
        yield "qinq", "qinq needs a vlan: its guests' tags travel inside that one"
    if segment.host and segment.mode == "bridged":
        yield "host", "host is not for bridged segments: the host is on their wire itself"
    elif segment.host and not segment.subnets:
        yield "host", "host needs a subnet to give the host an address of"


def _private(document: Document) -> Complaints:
    """On a wire, private guests are told from others by their MACs."""
    for path, guest in document.items("guests"):
        for place, nic in enumerate(guest.nics):
            for name in nic.segments:
                segment = document.spec.segments.get(name)
                if nic.spoof and segment and segment.private and segment.mode == "bridged":
                    what = f'spoof is not for guests of "{name}": it is private, and on the wire its guests are known by their MACs'
                    yield (*path, "nics", place, "spoof"), what


def _trunks(document: Document) -> Complaints:
    for path, guest in document.items("guests"):
        for place, nic in enumerate(guest.nics):
            twice = sorted({name for name in nic.segments if nic.segments.count(name) > 1})
            for name in twice:
                yield (*path, "nics", place, "trunk"), f'segment "{name}" is in its trunk twice'
            for name in nic.segments if nic.trunk else ():
                if name in document.spec.segments and document.spec.segments[name].qinq:
                    what = f'segment "{name}" has qinq, where every tag is its guests\' own: it cannot be one of a trunk'
                    yield (*path, "nics", place, "trunk"), what


def _host_networks(document: Document) -> Complaints:
    """Where a host has an address of a segment, it has a route to the segment's subnets, and must not need one to elsewhere."""
    for path, segment in document.items("segments"):
        for name, host in document.spec.hosts.items() if segment.host else ():
            own = [host.address, *(uplink.address for uplink in host.uplinks.values() if not isinstance(uplink.address, str))]
            for subnet in segment.subnets:
                for address in own:
                    if address is not None and overlap(subnet, address.network):
                        yield (*path, "host"), f'host "{name}" has {address} already, which overlaps subnet {subnet}'
