"""A guest of libvirt is plugged into a network, and unplugged, while it runs as well as for its next start."""

import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from weft.agents.libvirt import connect, library, said_plainly
from weft.topology.errors import WeftError
from weft.topology.interface_xml import network_interface

PATIENCE = 15.0
"""Seconds a guest's system has to let go of a NIC."""

LOOK = 0.5
"""Seconds after which it is looked whether it has, should libvirt not say so."""


@dataclass(frozen=True, slots=True)
class Plug:
    """What is plugged in: a NIC of a guest in one of libvirt's networks."""

    uri: str
    guest: str
    network: str
    mac: str | None = None
    """When it is unplugged, None: the only one that the guest has there."""
    mtu: int = 1500

    @property
    def xml(self) -> str:
        return network_interface(self.mac or "", self.network, self.mtu)


def attach(plug: Plug) -> None:
    """Raises WeftError where there is no such guest or network, and where it is plugged in already."""
    with _guest(plug) as domain:
        if there := [mac for text in _texts(domain) for mac in _nics(text, plug.network)]:
            raise WeftError(f"guest {plug.guest} is in network {plug.network} already, with MAC {there[0]}")
        if any(mac.get("address") == plug.mac for text in _texts(domain) for mac in ET.fromstring(text).findall("devices/interface/mac")):
            raise WeftError(f"guest {plug.guest} has a NIC with MAC {plug.mac} already, in another network: detach that one first")
        domain.attachDeviceFlags(plug.xml, _affected(domain))


def detach(plug: Plug) -> str:
    """The MAC of what was unplugged. Returns when the guest's system has let go of it; raises WeftError when it does not."""
    libvirt = library()
    with _guest(plug) as domain:
        texts = _texts(domain)
        found = {mac: nic for text in texts for mac, nic in _nics(text, plug.network).items() if plug.mac in (None, mac)}
        if not found:
            raise WeftError(f"guest {plug.guest} is not in network {plug.network}{f' with MAC {plug.mac}' if plug.mac else ''}")
        if len(found) > 1:
            raise WeftError(f"guest {plug.guest} has several NICs in network {plug.network}: give --mac {' or --mac '.join(sorted(found))}")
        (mac,) = found
        if domain.isActive() and (nic := _nics(domain.XMLDesc(0), plug.network).get(mac)) is not None:
            _unplug(domain, mac, nic, plug)
        if domain.isPersistent():
            kept = _nics(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), plug.network).get(mac)
            if kept is not None:
                domain.detachDeviceFlags(ET.tostring(kept, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        return mac


def _unplug(domain: Any, mac: str, nic: ET.Element, plug: Plug) -> None:
    libvirt, gone = library(), threading.Event()
    connection = domain.connect()
    heard = connection.domainEventRegisterAny(domain, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, lambda *_: gone.set(), None)
    try:
        domain.detachDeviceFlags(ET.tostring(nic, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
        end = time.monotonic() + PATIENCE
        while not gone.wait(LOOK) and mac in _nics(domain.XMLDesc(0), plug.network):
            if time.monotonic() > end:
                why = "its system has to run, and to know PCI hotplug"
                raise WeftError(f"guest {plug.guest} does not let go of its NIC in {plug.network}: {why}")
    finally:
        connection.domainEventDeregisterAny(heard)


@contextmanager
def _guest(plug: Plug) -> Iterator[Any]:
    connection = connect(plug.uri)
    libvirt = library()
    try:
        with said_plainly(f"guest {plug.guest}"):
            try:
                domain = connection.lookupByName(plug.guest)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
                known = sorted(each.name() for each in connection.listAllDomains())
                raise WeftError(f"libvirt has no guest {plug.guest} here: it has {', '.join(known) or 'none'}") from None
            yield domain
    finally:
        connection.close()


def _affected(domain: Any) -> int:
    libvirt = library()
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0
    return int(live | (libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else 0))


def _texts(domain: Any) -> list[str]:
    """What it has now, and what it has when it starts again."""
    return [domain.XMLDesc(0), *([domain.XMLDesc(library().VIR_DOMAIN_XML_INACTIVE)] if domain.isPersistent() else [])]


def _nics(text: str, network: str) -> dict[str, ET.Element]:
    """By MAC, a guest's NICs in a network: one that runs says beside it what bridge that is."""
    found = {}
    for nic in ET.fromstring(text).findall("devices/interface"):
        source, mac = nic.find("source"), nic.find("mac")
        if source is not None and mac is not None and source.get("network") == network:
            found[mac.get("address", "")] = nic
    return found
