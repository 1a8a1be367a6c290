"""Guests that hang on a NIC itself and in no bridge: by one of its virtual functions (SR-IOV), or by a macvtap on it."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from weft.topology.document import Document
from weft.topology.names import digest
from weft.topology.schema import AttachMacvtap, AttachVf, Nic
from weft.topology.yaml12 import Path

Place = tuple[str, int]
"""A guest, and the place of one of its NICs."""


def direct(nic: Nic) -> bool:
    return isinstance(nic.attach, AttachVf | AttachMacvtap)


def called(nic: Nic) -> str:
    return "virtual function" if isinstance(nic.attach, AttachVf) else "macvtap"


def on(document: Document) -> dict[tuple[str, str], list[Place]]:
    """By host and NIC: who hangs on it, in the order of the file."""
    found: dict[tuple[str, str], list[Place]] = {}
    for guest, place, nic in _nics(document):
        via = nic.attach.vf if isinstance(nic.attach, AttachVf) else nic.attach.macvtap if isinstance(nic.attach, AttachMacvtap) else ""
        found.setdefault((document.spec.guests[guest].host, via), []).append((guest, place))
    return found


def numbers(document: Document) -> dict[Place, int]:
    """Which virtual function each has: the one that its name says, and where that is taken the next. Who comes later in the file moves
    nobody who is there."""
    chosen: dict[Place, int] = {}
    used: dict[tuple[str, str], set[int]] = {}
    for guest, place, nic in _nics(document):
        host = document.spec.hosts.get(document.spec.guests[guest].host)
        card = host.sriov.get(nic.attach.vf) if host and isinstance(nic.attach, AttachVf) else None
        if card is None or not isinstance(nic.attach, AttachVf):
            continue
        taken = used.setdefault((document.spec.guests[guest].host, nic.attach.vf), set())
        if len(taken) < card.vfs:
            number = digest(f"vf/{guest}.eth{place}", 32) % card.vfs
            chosen[guest, place] = next(free for step in range(card.vfs) if (free := (number + step) % card.vfs) not in taken)
            taken.add(chosen[guest, place])
    return chosen


class PoolSpec(NamedTuple):
    """A pool as the file says it."""

    path: Path
    host: str
    kind: Literal["vf", "macvtap"]
    nic: str
    uplink: str
    segments: tuple[str, ...]


def pools(document: Document, host: str) -> Iterator[PoolSpec]:
    spec = document.spec.hosts[host]
    for nic, pf in spec.sriov.items():
        if pf.pool:
            yield PoolSpec(("hosts", host, "sriov", nic, "pool"), host, "vf", nic, pf.uplink, pf.pool)
    for nic, given in spec.macvtap.items():
        if given.pool:
            yield PoolSpec(("hosts", host, "macvtap", nic, "pool"), host, "macvtap", nic, given.uplink, given.pool)


def at(place: Place) -> Path:
    return ("guests", place[0], "nics", place[1])


def _nics(document: Document) -> Iterator[tuple[str, int, Nic]]:
    for guest, given in document.spec.guests.items():
        yield from ((guest, place, nic) for place, nic in enumerate(given.nics) if direct(nic))
