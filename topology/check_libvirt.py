"""Whether libvirt can do what a file asks of it: its URI, and the guests that it plugs in."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from weft.topology.document import Document, Faults
from weft.topology.yaml12 import Path

Complaints = Iterator[tuple[Path, str]]

SCHEME = re.compile(r"[a-z]+(\+[a-z]+)?")
LOCAL = {"qemu", "qemu+unix"}
"""Of libvirt's URIs (https://libvirt.org/uri.html), those of the machine itself, whose guests are in its Open vSwitch."""


def check_libvirt(document: Document, faults: Faults) -> None:
    for path, host in document.items("hosts"):
        if host.libvirt is not None and (what := _uri(host.libvirt)):
            faults.add((*path, "libvirt"), what)
    for path, what in (*_guests(document), *_pins(document)):
        faults.add(path, what)


def _uri(uri: str) -> str:
    parts = urlsplit(uri)
    if not SCHEME.fullmatch(parts.scheme):
        return f'libvirt "{uri}" is no URI of libvirt: qemu:///system is the usual one'
    if parts.scheme not in LOCAL or parts.netloc:
        return f"libvirt {uri} is not on the host itself: qemu:///system, or qemu+unix:///system?socket=PATH"
    if parts.path != "/system":
        return f"libvirt {uri} is a user's own, which has no networks on bridges: qemu:///system"
    return ""


def _guests(document: Document) -> Complaints:
    for path, guest in document.items("guests"):
        host = document.spec.hosts.get(guest.host)
        for place, nic in enumerate(guest.nics):
            at = (*path, "nics", place)
            if not nic.of_libvirt or host is None:
                continue
            if host.libvirt is None:
                yield (*at, "attach"), f'host "{guest.host}" has no libvirt: give it libvirt: qemu:///system'
            if nic.trunk is not None:
                yield (*at, "attach"), "libvirt plugs a NIC into one segment, not into a trunk: attach: {port: NAME}"


def _pins(document: Document) -> Complaints:
    taken: dict[str, str] = {}
    for path, guest in document.items("guests"):
        for place, nic in enumerate(guest.nics):
            name = f"{path[-1]}.eth{place}"
            if nic.pin and taken.setdefault(nic.pin, name) != name:
                yield (*path, "nics", place, "attach"), f'interface id {nic.pin} is already that of "{taken[nic.pin]}": each NIC has its own'
