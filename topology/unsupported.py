"""What a fabric file may say and weft does not do yet: refused, never ignored."""

from collections.abc import Iterator

from weft.topology.document import Document, Faults
from weft.topology.schema import Host, Nic, Uplink
from weft.topology.yaml12 import Path

LATER = "not supported yet"

_SECTIONS = ("invariants", "switches", "links")


def refuse_unsupported(document: Document, faults: Faults) -> None:
    for path, what in _found(document):
        faults.add(path, what)


def _found(document: Document) -> Iterator[tuple[Path, str]]:
    yield from _whole_fabric(document)
    for path, host in document.items("hosts"):
        for rest, what in _host(host):
            yield (*path, *rest), f"{what} {LATER}"
    for path, guest in document.items("guests"):
        for place, nic in enumerate(guest.nics):
            for key, what in _nic(nic):
                yield (*path, "nics", place, key), f"{what} {LATER}"


def _whole_fabric(document: Document) -> Iterator[tuple[Path, str]]:
    spec = document.spec
    if spec.overlay.type == "stt":
        yield ("overlay", "type"), "stt is in no maintained kernel: use geneve"
    for section in _SECTIONS:
        for path, _ in document.items(section):
            yield path, LATER


def _host(host: Host) -> Iterator[tuple[tuple[str, ...], str]]:
    if host.libvirt:
        yield ("libvirt",), "libvirt is"
    for name, uplink in host.uplinks.items():
        yield from ((("uplinks", name, key), what) for key, what in _uplink(uplink))


def _uplink(uplink: Uplink) -> Iterator[tuple[str, str]]:
    if uplink.bond != "none":
        yield "bond", f"bond {uplink.bond} is"
    elif len(uplink.nics) > 1:
        yield "nics", "more than one NIC on an uplink is"
    if uplink.address == "dhcp":
        yield "address", "address dhcp is"


def _nic(nic: Nic) -> Iterator[tuple[str, str]]:
    if nic.attach == "libvirt":
        yield "attach", "attach libvirt is"
