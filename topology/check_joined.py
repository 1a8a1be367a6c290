"""Uplinks beside a Linux bridge that the host has and keeps: what such a neighbour cannot do is refused."""

from collections.abc import Iterator

from weft.topology.document import Document, Faults
from weft.topology.schema import Host
from weft.topology.yaml12 import Path

Complaints = Iterator[tuple[Path, str]]


def check_joined(document: Document, faults: Faults) -> None:
    for path, host in document.items("hosts"):
        for rest, what in _uplinks(host):
            faults.add((*path, "uplinks", *rest), what)
    for path, what in _leaving(document):
        faults.add(path, what)


def _uplinks(host: Host) -> Complaints:
    for name, uplink in host.uplinks.items():
        if uplink.bridge is None:
            if not uplink.nics:
                yield (name,), "needs nics, or bridge: a Linux bridge that the host has and keeps"
            continue
        if uplink.nics:
            yield (name, "bridge"), f'has nics too: put them into "{uplink.bridge}" yourself, or leave it out'
        for key in ("address", "gateway", "bond"):
            if key in uplink.model_fields_set and getattr(uplink, key) not in (None, "none"):
                yield (name, key), f'goes with nics: "{uplink.bridge}" keeps its NICs and the host\'s address'


def _leaving(document: Document) -> Complaints:
    """What is translated or routed on its way out leaves by an address of the host's on the uplink's own bridge."""
    hosts = list(document.items("hosts"))
    joined = {name: (path[1], uplink.bridge) for path, host in hosts for name, uplink in host.uplinks.items() if uplink.bridge}
    for path, segment in document.items("segments"):
        if segment.mode in ("nat", "routed") and segment.uplink in joined:
            host, bridge = joined[segment.uplink]
            instead = "uplink: host leaves by it" if segment.mode == "nat" else "a bridged segment is on it"
            what = f'"{segment.uplink}" is Linux bridge "{bridge}" on host "{host}", with the host\'s address on that: {instead}'
            yield (*path, "uplink"), what
