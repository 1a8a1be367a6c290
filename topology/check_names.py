"""Names: one name space for guests, segments and hosts, and nothing that is named may be missing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from weft.topology.complaints import suggestion
from weft.topology.document import KINDS, Document, Faults
from weft.topology.model import HOST_UPLINK
from weft.topology.schema import AttachMacvtap, AttachVf, Guest, MacvtapNic, Nic, Pf
from weft.topology.yaml12 import Path

WORDS = ("any", "outside", "host")
WIRES = "wires"
"""The namespace with a lab's cables: no host or guest of a lab could be called so."""


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to refer to."""

    document: Document
    endpoints: dict[str, Nic]
    uplinks: frozenset[str]

    def complaint(self, section: str, name: str) -> str | None:
        """What to say where a host, guest or segment does not exist; None where it does, or is wrong in another way."""
        held = getattr(self.document.spec, section)
        if name in held or self.document.is_broken(section, name):
            return None
        return f'there is no {KINDS[section]} "{name}"{suggestion(name, held)}'

    def endpoint_complaint(self, name: str) -> str | None:
        if name in self.endpoints or self.document.is_broken("guests", name.partition(".")[0]):
            return None
        return f'there is no endpoint "{name}"{suggestion(name, self.endpoints)}'

    def who_complaint(self, who: str | dict[str, str]) -> str | None:
        """For what stands in ``from`` and ``to``; labels may wait for their guests."""
        if isinstance(who, dict) or who in WORDS or who in self.endpoints or _is_network(who):
            return None
        spec, broken = self.document.spec, self.document.is_broken
        sections = ("guests", "segments", "hosts")
        if any(who in getattr(spec, section) or broken(section, who.partition(".")[0]) for section in sections):
            return None
        known = [*WORDS, *spec.guests, *spec.segments, *spec.hosts, *self.endpoints]
        return f'there is no guest, endpoint, segment or host "{who}"{suggestion(who, known)}'


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def known(document: Document) -> Known:
    spec = document.spec
    endpoints = {
        f"{name}.eth{place}" + (f".{tag}" if tag is not None else ""): nic
        for name, guest in spec.guests.items()
        for place, nic in enumerate(guest.nics)
        for tag in ([tag for tag, _ in nic.plugs] or [None])
    }
    return Known(document, endpoints, frozenset(uplink for host in spec.hosts.values() for uplink in host.uplinks))


def check_names(document: Document, faults: Faults) -> None:
    _one_name_space(document, faults)
    there = known(document)
    for path, complaint in _references(document, there):
        if complaint:
            faults.add(path, complaint)
    for section in ("policies", "services", "mirrors"):
        _names_in_list(document, section, faults)


def _one_name_space(document: Document, faults: Faults) -> None:
    """Also of what is broken otherwise: its name is taken all the same."""
    taken: dict[str, Path] = {}
    paths = [
        (section, name)
        for section in ("segments", "hosts", "guests", "switches")
        if isinstance(given := document.data.get(section), dict)
        for name in given
        if isinstance(name, str)
    ]
    for section, name in sorted(paths, key=lambda path: document.line(*path)):
        first = taken.setdefault(name, (section, name))
        if first != (section, name):
            faults.add((section, name), f"the name belongs to the {KINDS[str(first[0])]} of line {document.line(*first)}")
        if name in WORDS:
            faults.add((section, name), f'"{name}" is a word of the language ({", ".join(WORDS)})')
        if name == WIRES and section in ("hosts", "guests"):
            faults.add((section, name), f'"{WIRES}" is what the lab calls its cables')


def _names_in_list(document: Document, section: str, faults: Faults) -> None:
    taken: dict[str, Path] = {}
    for path, item in document.items(section):
        first = taken.setdefault(item.name, path)
        if first != path:
            faults.add(path, f"the name belongs to the {KINDS[section]} of line {document.line(*first)}")


Complaints = Iterator[tuple[Path, str | None]]


def _references(document: Document, there: Known) -> Complaints:
    yield from _wires(document, there)
    for path, guest in document.items("guests"):
        yield from _guest(path, guest, document, there)
    for path, segment in document.items("segments"):
        for place, forward in enumerate(segment.forwards):
            complaint = there.endpoint_complaint(forward.to)
            nic = there.endpoints.get(forward.to)
            if nic and path[1] not in nic.segments:
                complaint = f'forward to "{forward.to}", which is not in this segment'
            yield (*path, "forwards", place, "to"), complaint
    yield from _rules(document, there)
    yield from _links(document)


def _rules(document: Document, there: Known) -> Complaints:
    for path, policy in document.items("policies"):
        yield (*path, "from"), there.who_complaint(policy.source)
        yield (*path, "to"), there.who_complaint(policy.to)
    for path, invariant in document.items("invariants"):
        verdict = "never" if invariant.never else "always"
        yield (*path, verdict, "from"), there.who_complaint(invariant.flow.source)
        yield (*path, verdict, "to"), there.who_complaint(invariant.flow.to)
    for path, service in document.items("services"):
        yield (*path, "to"), there.who_complaint(service.to)
    for path, mirror in document.items("mirrors"):
        yield (*path, "from"), there.endpoint_complaint(mirror.source)
        yield (*path, "to"), there.endpoint_complaint(mirror.to) if mirror.to else None
    for path, qos in document.items("qos"):
        yield (*path, "endpoint"), there.endpoint_complaint(qos.endpoint)


def _wires(document: Document, there: Known) -> Complaints:
    """Physical networks go by the names that hosts give their uplinks."""
    whole = not any(path[0] == "hosts" for path in document.broken)
    for path, segment in document.items("segments"):
        if whole and segment.uplink not in (None, HOST_UPLINK) and segment.uplink not in _all_wires(document):
            yield (*path, "uplink"), f'no host has an uplink "{segment.uplink}"{suggestion(segment.uplink, there.uplinks)}'
    for path, host in document.items("hosts"):
        if HOST_UPLINK in host.uplinks:
            yield (*path, "uplinks", HOST_UPLINK), f'"{HOST_UPLINK}" is a word of the language: the way the host itself goes'
    wires = there.uplinks | {segment.uplink for segment in document.spec.segments.values() if segment.uplink}
    for path, host in document.items("hosts"):
        hardware = [("sriov", name, pf.uplink) for name, pf in host.sriov.items()]
        hardware += [("macvtap", name, nic.uplink) for name, nic in host.macvtap.items()]
        for kind, name, wire in hardware:
            if whole and wire not in wires:
                yield (*path, kind, name, "uplink"), f'no host or segment has an uplink "{wire}"{suggestion(wire, there.uplinks)}'


def _all_wires(document: Document) -> set[str]:
    return {wire for host in document.spec.hosts.values() for wire in host.wires}


def _guest(path: Path, guest: Guest, document: Document, there: Known) -> Complaints:
    yield (*path, "host"), there.complaint("hosts", guest.host)
    for place, nic in enumerate(guest.nics):
        at = (*path, "nics", place)
        if nic.segment is not None:
            yield (*at, "segment"), there.complaint("segments", nic.segment)
        if nic.trunk and nic.trunk.native is not None:
            yield (*at, "trunk", "native"), there.complaint("segments", nic.trunk.native)
        for tag, segment in nic.trunk.tags.items() if nic.trunk else ():
            yield (*at, "trunk", "tags", tag), there.complaint("segments", segment)
        yield (*at, "attach"), _hardware_complaint(nic, guest, document)


def _hardware_complaint(nic: Nic, guest: Guest, document: Document) -> str | None:
    """A virtual function or a macvtap needs its NIC on the guest's host, on the wire of the guest's segment."""
    host = document.spec.hosts.get(guest.host)
    if host is None or not isinstance(nic.attach, AttachVf | AttachMacvtap):
        return None
    wire: Pf | MacvtapNic | None
    if isinstance(nic.attach, AttachVf):
        kind, name, wire = "sriov", nic.attach.vf, host.sriov.get(nic.attach.vf)
    else:
        kind, name, wire = "macvtap", nic.attach.macvtap, host.macvtap.get(nic.attach.macvtap)
    if wire is None:
        return f'host "{guest.host}" has no {kind} NIC "{name}"'
    segment = document.spec.segments.get(nic.segment or "")
    if segment and segment.uplink != wire.uplink:
        return f'"{name}" is on "{wire.uplink}", where segment "{nic.segment}" is not'
    return None


def _links(document: Document) -> Complaints:
    spec = document.spec
    for path, ends in document.items("links"):
        for end in ends:
            node, _, port = end.partition("/")
            if node in spec.hosts:
                host = spec.hosts[node]
                nics: Iterable[str] = [*(nic for uplink in host.uplinks.values() for nic in uplink.nics), *host.sriov, *host.macvtap]
                yield path, None if port in nics else f'host "{node}" has no NIC "{port}"{suggestion(port, list(nics))}'
            elif node in spec.switches:
                yield path, None if port.isdecimal() else f'"{end}" is not a port number of switch "{node}"'
            elif not document.is_broken("hosts", node) and not document.is_broken("switches", node):
                yield path, f'there is no host or switch "{node}"{suggestion(node, [*spec.hosts, *spec.switches])}'
