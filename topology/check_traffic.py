"""Whether what is copied, limited and marked makes sense: mirrors and qos."""

from collections.abc import Iterator

from weft.topology.check_names import known
from weft.topology.document import Document, Faults
from weft.topology.rules import Mirror
from weft.topology.schema import Guest, Segment
from weft.topology.yaml12 import Path

Complaints = Iterator[tuple[Path, str]]


def check_traffic(document: Document, faults: Faults) -> None:
    for path, mirror in document.items("mirrors"):
        for key, what in _mirror(document, mirror):
            faults.add((*path, key), what)
    for path, what in _qos(document):
        faults.add(path, what)


def _mirror(document: Document, mirror: Mirror) -> Iterator[tuple[str, str]]:
    if mirror.to == mirror.source:
        yield "to", f'"{mirror.to}" would get what it sends itself: a mirror leads elsewhere'
    source, target = _place(document, mirror.source), _place(document, mirror.to)
    if source and mirror.vlan is not None:
        yield from _vlan(document, mirror.vlan, *source)
    if source and target and source[0].host != target[0].host:
        for name in (source[0].host, target[0].host):
            if name in document.spec.hosts and document.spec.hosts[name].address is None:
                yield (
                    "to",
                    f'host "{name}" has no address, and copies from "{source[0].host}" to "{target[0].host}" need a tunnel',
                )


def _place(document: Document, endpoint: str | None) -> tuple[Guest, Segment] | None:
    """Guest and (first) segment of an endpoint; None where it does not exist, which is said elsewhere."""
    nic = known(document).endpoints.get(endpoint or "")
    segment = document.spec.segments.get((nic.segment or "") if nic else "")
    return (document.spec.guests[str(endpoint).partition(".")[0]], segment) if segment else None


def _vlan(document: Document, vlan: int, guest: Guest, segment: Segment) -> Iterator[tuple[str, str]]:
    host = document.spec.hosts.get(guest.host)
    if host is None:
        return
    if not host.uplinks:
        yield "vlan", f'host "{guest.host}" has no uplink by which vlan {vlan} could leave'
        return
    wire = segment.uplink if segment.uplink in host.uplinks else next(iter(host.uplinks))
    for name, other in document.items("segments"):
        if other.mode == "bridged" and (other.uplink, other.vlan) == (wire, vlan):
            yield "vlan", f'vlan {vlan} on "{wire}" is segment "{name[1]}" (line {document.line(*name)})'


def _qos(document: Document) -> Complaints:
    taken: dict[tuple[str, str], Path] = {}
    for path, qos in document.items("qos"):
        first = taken.setdefault((qos.endpoint, qos.direction), path)
        if first != path:
            yield path, f'"{qos.endpoint}" has a limit {qos.direction} on line {document.line(*first)} already'
        if qos.burst is not None and qos.rate is None:
            yield (*path, "burst"), "burst needs a rate beside it"
        elif qos.rate is None and qos.dscp is None:
            yield path, "says neither rate nor dscp"
