"""Whether the kinds of segment that a file asks for can be had: islands, private ones, the host in them."""

from collections.abc import Iterator

from weft.topology.document import Document, Faults
from weft.topology.schema import Segment
from weft.topology.yaml12 import Path

Complaints = Iterator[tuple[Path, str]]


def check_kinds(document: Document, faults: Faults) -> None:
    for path, segment in document.items("segments"):
        for key, what in _segment(segment):
            faults.add((*path, key), what)
    for path, what in _private(document):
        faults.add(path, what)


def _segment(segment: Segment) -> Iterator[tuple[str, str]]:
    if segment.span == "host" and segment.mode == "bridged":
        yield "span", "span host is not for bridged segments: their wire joins the hosts"


def _private(document: Document) -> Complaints:
    """On a wire, private guests are told from others by their MACs."""
    for path, guest in document.items("guests"):
        for place, nic in enumerate(guest.nics):
            segment = document.spec.segments.get(nic.segment or "")
            if nic.spoof and segment and segment.private and segment.mode == "bridged":
                what = f'spoof is not for guests of "{nic.segment}": it is private, and on the wire its guests are known by their MACs'
                yield (*path, "nics", place, "spoof"), what
