"""What is plugged into segments, on its way to become endpoints: NICs of guests, each tag of a trunk, and hosts themselves.

====================  ====================================================================
``web1.eth0``         a NIC, or what its trunk carries without a tag
``fw.eth0.5``         what the same NIC's trunk carries with tag 5: same port, same MAC
``kvm1.db``           the host's own interface in a segment with ``host: true``
====================  ====================================================================
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from weft.topology import names
from weft.topology.direct import numbers
from weft.topology.document import Document, Faults
from weft.topology.model import Endpoint, Segment
from weft.topology.schema import AttachMacvtap, AttachPort, AttachTap, AttachVf, Host, Nic
from weft.topology.terms import Address, Interface
from weft.topology.yaml12 import Path

Attach = Literal["tap", "netns", "port", "libvirt", "host", "vf", "macvtap"]


@dataclass(frozen=True, slots=True)
class Plug:
    """Its host and segment exist."""

    path: Path
    guest: str
    nic: str
    host: str
    segment: Segment
    tag: int | None
    mac: str
    port: str
    attach: Attach
    spoof: bool = False
    trunk: bool = False
    given: tuple[tuple[int, Address | Interface], ...] = ()
    """Addresses that the file gives it, with their place in the NIC's list."""
    via: str = ""
    mode: str = ""
    number: int = 0
    tap: str = ""
    link: str = ""
    pin: str = ""

    @property
    def name(self) -> str:
        return f"{self.guest}.{self.nic}" if self.tag is None else f"{self.guest}.{self.nic}.{self.tag}"


def plugs(document: Document, segments: Mapping[str, Segment], lab: bool) -> Iterator[Plug]:
    spec, functions = document.spec, numbers(document)
    for guest_name, guest in spec.guests.items():
        for place, nic in enumerate(guest.nics):
            if guest.host in spec.hosts:
                yield from _nic(document, segments, guest_name, place, nic, functions.get((guest_name, place), 0), lab)
    for name, segment in segments.items():
        for host in spec.hosts if segment.host else ():
            if any(guest.host == host and name in nic.segments for guest in spec.guests.values() for nic in guest.nics):
                mac = names.mac(spec.fabric, f"{host}.{name}")
                yield Plug(("segments", name, "host"), host, name, host, segment, None, mac, names.host_port(name), "host")


def _nic(document: Document, segments: Mapping[str, Segment], guest: str, place: int, nic: Nic, number: int, lab: bool) -> Iterator[Plug]:
    spec, label, tap = document.spec, f"eth{place}", ""
    mac = nic.mac or names.mac(spec.fabric, f"{guest}.{label}")
    port, via, mode, link = names.endpoint_port(guest, label), "", "", ""
    match nic.attach:
        case AttachPort():
            port = nic.attach.port
        case AttachVf():
            port, via, link = "", nic.attach.vf, nic.attach.link
        case AttachTap(tap=said):
            tap = tap_word(said.owner, said.group, said.multiqueue)
        case AttachMacvtap():
            via, mode = nic.attach.macvtap, nic.attach.mode
    there = [(tag, segments[name]) for tag, name in nic.plugs if name in segments]
    homes = [_home(ip, [segment for _, segment in there]) for ip in nic.ip]
    for tag, segment in there:
        given = tuple((number, ip) for number, (ip, home) in enumerate(zip(nic.ip, homes, strict=True)) if home is segment)
        path, host, trunk = ("guests", guest, "nics", place), spec.guests[guest].host, nic.trunk is not None
        attach = _attach(nic, lab, libvirt_of(spec.hosts[host], lab) is not None)
        yield Plug(path, guest, label, host, segment, tag, mac, port, attach, nic.spoof, trunk, given, via, mode, number, tap, link, nic.pin)


def tap_word(owner: str | None, group: str | None, multiqueue: bool) -> str:
    return ":".join((owner or "", group or "", "multi" if multiqueue else "")).removesuffix("::")


def _home(given: Address | Interface, segments: list[Segment]) -> Segment | None:
    """Whose address it is of a trunk's: the segment with a subnet that holds it, else one without subnets, else the first."""
    plain = getattr(given, "ip", given)
    held = (s for s in segments if any(plain in subnet.network for subnet in s.subnets))
    return next(held, None) or next((s for s in segments if not s.subnets), None) or next(iter(segments), None)


def libvirt_of(host: Host, lab: bool) -> str | None:
    """The URI of a host's libvirt. A lab's host has one of its own only where the URI says its socket: any other is this machine's, which
    a lab leaves alone.
    """
    return None if lab and host.libvirt and "?socket=" not in host.libvirt else host.libvirt


def _attach(nic: Nic, lab: bool, libvirt: bool) -> Attach:
    if isinstance(nic.attach, AttachPort):
        return "port"
    if nic.of_libvirt:
        return "libvirt" if libvirt else "netns"
    if isinstance(nic.attach, AttachVf | AttachMacvtap):
        return "vf" if isinstance(nic.attach, AttachVf) else "macvtap"
    return "netns" if nic.attach == "netns" or (nic.attach is None and lab) else "tap"


def same_macs(plugged: Iterable[Plug], segments: Mapping[str, Segment], faults: Faults) -> None:
    """A trunk's one MAC is in several segments, all others are in one."""
    taken = {segment.gateway_mac: f'the gateway of segment "{segment.name}"' for segment in segments.values()}
    for plug in plugged:
        whose = f'"{plug.guest}.{plug.nic}"'
        first = taken.setdefault(plug.mac, whose)
        if first != whose:
            faults.add((*plug.path, "mac"), f"mac {plug.mac} is already that of {first}")


def endpoint(document: Document, plug: Plug, addresses: tuple[Interface, ...]) -> Endpoint:
    return Endpoint(
        name=plug.name,
        guest=plug.guest,
        nic=plug.nic,
        host=plug.host,
        segment=plug.segment.name,
        mac=plug.mac,
        addresses=addresses,
        port=plug.port,
        attach=plug.attach,
        spoof=plug.spoof,
        source=document.source(*plug.path),
        tag=plug.tag,
        trunk=plug.trunk,
        via=plug.via,
        mode=plug.mode,
        number=plug.number,
        tap=plug.tap,
        link=plug.link,
        pin=plug.pin,
    )
