"""libvirt, by its own library: looked at when it says that something changed, and never waited for longer than a while.

Its calls block, and one to a libvirtd that hangs blocks for good: each runs in a thread of its own that nobody waits for at the end, one at
a time. What libvirt says by itself comes through the library's event loop, which is one for the whole process.
"""

import asyncio
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from weft.agents import steps as s
from weft.agents.observed import Domain, Network, Virt
from weft.topology.errors import WeftError
from weft.topology.libvirt_xml import mark_of

PATIENCE = 10.0
"""Seconds that a call may take."""
RETRY = 1.0
"""Seconds until libvirt is asked again where it does not answer."""
PROBE, PROBES = 5, 3
"""Seconds between two probes of a connection, and how many may be lost."""
MISSING = "libvirt's Python library is not installed: apt install libvirt-dev pkgconf gcc python3-dev, then pip install libvirt-python"

_begin = threading.Lock()
_library: Any = None


def library() -> Any:
    """The module `libvirt`, its event loop running. Raises WeftError where it is not installed."""
    global _library
    with _begin:
        if _library is None:
            try:
                import libvirt
            except ImportError:
                raise WeftError(MISSING) from None
            libvirt.registerErrorHandler(lambda _, error: None, None)  # else every error is printed as well
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=_run_events, args=(libvirt,), name="libvirt-events", daemon=True).start()
            _library = libvirt
    return _library


def _run_events(libvirt: Any) -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


@contextmanager
def said_plainly(about: str) -> Iterator[None]:
    """libvirt's errors as one line of ours."""
    try:
        yield
    except library().libvirtError as error:
        raise WeftError(f"{about}: {error.get_error_message()}") from None


def connect(uri: str) -> Any:
    """Raises WeftError with what to do."""
    try:
        connection = library().open(uri)
    except library().libvirtError as error:
        raise WeftError(f"libvirt at {uri} does not answer: {error.get_error_message()}: systemctl start libvirtd") from None
    connection.setKeepAlive(PROBE, PROBES)
    return connection


class Libvirt:
    """One host's libvirt, for one event loop. `changed` is called there when there is something to look at."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._uri: str | None = None
        self._connection: Any = None
        self._stale = True
        self._last = Virt()
        self._ran: frozenset[str] = frozenset()
        """Guests that were seen running here, by uuid: of two paused ones of one uuid, on two hosts, the one that is about to leave."""
        self._running: asyncio.Future[Any] | None = None

    async def look(self, uri: str | None, thorough: bool) -> Virt | None:
        """What it has. Where nobody asks for libvirt any more, the last one is looked at until nothing of ours is in it."""
        if (uri or self._uri) is None:
            return None
        if uri is not None and uri != self._uri:
            self._uri, self._connection = uri, None
        if not thorough and not self._stale and self._connection is not None:
            return self._last
        try:
            self._last = await self._call(self._look)
        except WeftError as error:
            self._last = Virt(str(error))
            asyncio.get_running_loop().call_later(RETRY, self._changed)
        return self._last

    async def do(self, step: s.LibvirtStep) -> None:
        """Raises WeftError."""
        self._stale = True
        await self._call(lambda: self._do(step))

    async def _call(self, work: Callable[[], Any]) -> Any:
        """In a thread of its own. Raises WeftError when it takes too long, and as long as the one before has not come back."""
        loop = asyncio.get_running_loop()
        if self._running is not None and not self._running.done():
            raise WeftError(f"libvirt at {self._uri} hangs: systemctl restart libvirtd")
        self._running = future = loop.create_future()

        def run() -> None:
            try:
                result, error = work(), None
            except Exception as raised:
                result, error = None, raised
            with suppress(RuntimeError):  # the loop is closed by now
                loop.call_soon_threadsafe(_settle, future, result, error)

        threading.Thread(target=run, name="libvirt", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(future), PATIENCE)
        except TimeoutError:
            raise WeftError(f"libvirt at {self._uri} hangs: systemctl restart libvirtd") from None

    # ---- in the thread

    def _open(self) -> Any:
        assert self._uri is not None
        if self._connection is not None and self._connection.isAlive():
            return self._connection
        libvirt, connection = library(), connect(self._uri)
        loop = _loop_of(self._running)

        def said(*_: Any) -> None:
            self._stale = True
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._changed)

        with said_plainly(f"libvirt at {self._uri}"):
            connection.registerCloseCallback(said, None)
            connection.networkEventRegisterAny(None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE, said, None)
            for kind in ("LIFECYCLE", "DEVICE_ADDED", "DEVICE_REMOVED"):
                connection.domainEventRegisterAny(None, getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{kind}"), said, None)
        self._connection = connection
        return connection

    def _look(self) -> Virt:
        connection = self._open()
        self._stale = False  # what is said from now on is news
        with said_plainly(f"libvirt at {self._uri}"):
            networks = {network.name(): it for network in connection.listAllNetworks() if (it := _network(network))}
            domains = {uuid: known for each in connection.listAllDomains() if (known := _domain(each, (uuid := each.UUIDString()) in self._ran))}
        self._ran = frozenset(uuid for uuid, found in domains.items() if found.running or (found.alive and uuid in self._ran))
        return Virt("", networks, domains)

    def _do(self, step: s.LibvirtStep) -> None:
        connection = self._open()
        with said_plainly(f"libvirt network {step.name}"):
            network = _ours(connection, step.name)
            if isinstance(step, s.DefineNetwork):
                connection.networkDefineXML(_with_uuid(step.xml, network.UUIDString() if network else None))
                return
            if network is None:
                raise WeftError(f"libvirt network {step.name}: somebody removed it in this moment")
            if isinstance(step, s.KeepNetwork):
                network.setAutostart(1)
                return
            if network.isActive() and (isinstance(step, s.RemoveNetwork) or step.again):
                network.destroy()
            if isinstance(step, s.StartNetwork) and not network.isActive():
                network.create()
            elif isinstance(step, s.RemoveNetwork) and network.isPersistent():
                network.undefine()


def _loop_of(future: "asyncio.Future[Any] | None") -> asyncio.AbstractEventLoop:
    assert future is not None
    return future.get_loop()


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
        future.exception()  # it may be that nobody waits any more
    else:
        future.set_result(result)


def _network(network: Any) -> Network | None:
    """None: it went meanwhile."""
    libvirt = library()
    try:
        defined = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE) if network.isPersistent() else ""
        live = network.XMLDesc(0) if network.isActive() else None
        return Network(defined, live, bool(network.isPersistent() and network.autostart()), _lent(network, live or ""))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
            return None
        raise


def _lent(network: Any, live: str) -> dict[str, str]:
    """By PCI address, who has a function of a pool: the guest's own XML does not say the pool any more. (https://libvirt.org/formatnetworkport.html)"""
    if "hostdev" not in live:
        return {}
    ports = [ET.fromstring(port.XMLDesc()) for port in network.listAllPorts()]
    return {pci: port.findtext("owner/name", "") for port in ports for pci in _addresses(port, "plug/address")}


def _addresses(element: ET.Element, path: str) -> Iterator[str]:
    """PCI addresses, as sysfs has them."""
    for found in element.findall(path):
        if found.get("domain") is not None:
            domain, bus, slot, function = (int(found.get(name, "0"), 16) for name in ("domain", "bus", "slot", "function"))
            yield f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _domain(domain: Any, ran: bool) -> Domain | None:
    """None: it went meanwhile."""
    libvirt = library()
    try:
        state, why = domain.state()
        text = domain.XMLDesc(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    root = ET.fromstring(text)
    networks = frozenset(source.get("network", "") for source in root.findall("devices/interface/source")) - {""}
    functions = frozenset(pci for kind in ("interface", "hostdev") for pci in _addresses(root, f"devices/{kind}/source/address"))
    running = state == libvirt.VIR_DOMAIN_RUNNING
    left = ran and (state, why) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
    return Domain(domain.name(), running, bool(domain.isActive()), networks, functions, left)


def _ours(connection: Any, name: str) -> Any:
    """The network of that name, None where there is none. Raises WeftError where it is not weft's, or not any more since it was looked at."""
    libvirt = library()
    try:
        network = connection.networkLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_NETWORK:
            return None
        raise
    if mark_of(network.XMLDesc(0)) is None:
        raise WeftError(f"libvirt network {name}: somebody else made one of this name in this moment")
    return network


def _with_uuid(text: str, uuid: str | None) -> str:
    """libvirt takes a definition without the uuid of the network that is there for another one of the same name, and refuses it."""
    if uuid is None:
        return text
    network = ET.fromstring(text)
    ET.SubElement(network, "uuid").text = uuid
    return ET.tostring(network, encoding="unicode")
