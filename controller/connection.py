"""One connection to one switch.

It frames what it hears, shakes hands, keeps the ports known and the line alive, and answers packet-ins in the very call
that brought them: whatever arrived together is answered with one write. Nobody waits for anybody. A switch that sends nonsense, that
falls silent or that does not read what it is sent is let go with one line in the log; it will connect again.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from itertools import count
from struct import Struct
from struct import error as StructError
from typing import Any, Protocol

from weft.controller import wire
from weft.controller.refusal import Refused

log = logging.getLogger("weft.controller")

BUFFER_HIGH = 256 << 10
BUFFER_MOST = 1 << 20
"""Bytes kept for a switch that does not read."""
REPLY_MOST = 512 << 20
"""Bytes of one multipart reply."""

Answer = Callable[[bytes, int, int], bytes]
"""What to send for the packet-in at ``data[begin:end]``; b"" for nothing. It may raise: the packet is logged and the next one comes."""


class Owner(Protocol):
    """Whom a channel tells what happens."""

    def connected(self, connection: "Connection") -> None: ...
    def lost(self, connection: "Connection") -> None: ...
    def ports_changed(self, connection: "Connection", names: set[str]) -> None: ...
    def flows_changed(self, connection: "Connection", body: bytes) -> None: ...


class Home(Protocol):
    """What all connections have in common; in earnest a `weft.controller.channel.Channel`."""

    connections: "set[Connection]"
    owner: Owner
    epoch: int

    def ready(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """One switch, from its TCP or unix connection to its end. `answer` and `errors` belong to whoever owns the switch."""

    def __init__(self, channel: Home) -> None:
        self.dpid = 0
        self.version = 0
        self.maker = ""
        self.ports: dict[str, int] = {}
        self.ready = False
        self.answer: Answer | None = None
        self.errors: dict[int, Refused] | None = None
        """Where errors go that nobody waits for; None: into the log."""
        self.quiet = self.age = self.stalled = 0
        self.closed = self._fragments = False
        self.gone = asyncio.Event()
        self._channel = channel
        self._transport: Any = None
        self._peer = ""
        self._rest = b""
        self._xids = count(1)
        self._waiting: dict[int, tuple[asyncio.Future[list[bytes]], list[bytes]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._full: asyncio.Future[None] | None = None

    def __str__(self) -> str:
        return f"switch {self.dpid:016x}" if self.dpid else f"connection from {self._peer}"

    @property
    def open_vswitch(self) -> bool:
        return self.maker.startswith("Nicira")

    def see_fragments(self, wanted: bool) -> None:
        """Whether first fragments show their ports; other makes than Open vSwitch have no say in it."""
        if self.open_vswitch and wanted != self._fragments:
            self._fragments = wanted
            self.write(wire.set_config(self.version, self.xid(), wanted))

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=BUFFER_HIGH)
        peer = transport.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "a unix socket"
        tcp = transport.get_extra_info("socket")
        if tcp is not None and tcp.family != socket.AF_UNIX:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._channel.connections.add(self)
        self.write(wire.hello(self.xid()))

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.connections.discard(self)
        self.gone.set()
        for task in self._tasks:
            task.cancel()
        for future, _ in self._waiting.values():
            future.cancel()
        self._waiting.clear()
        if self._full is not None:
            self._full.cancel()
        if not self.closed:
            log.log(logging.INFO if self.ready else logging.DEBUG, "%s: gone", self)
        self.closed = True
        if self.ready:
            self.ready = False
            self._channel.owner.lost(self)

    def pause_writing(self) -> None:
        self._full = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        self.stalled = 0
        if self._full is not None and not self._full.done():
            self._full.set_result(None)
        self._full = None

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        if self._rest:
            data = self._rest + data
        try:
            used, answers = self._messages(data)
        except wire.Malformed as error:
            self.close(str(error))
        except (StructError, IndexError, ValueError) as error:
            self.close(f"a message that cannot be read ({error})")
        else:
            self._rest = data[used:]
            if used:
                self.quiet = 0
            if answers:
                self.write(b"".join(answers))

    def _messages(self, data: bytes) -> tuple[int, list[bytes]]:
        """Handles every whole message; how many bytes that were, and what to answer."""
        answers: list[bytes] = []
        unpack, answer = wire.HEADER.unpack_from, self.answer
        begin, most = 0, len(data)
        while most - begin >= 8:
            version, kind, length, xid = unpack(data, begin)
            if length < 8 or (version != self.version and not self._may_differ(version, kind)):
                raise wire.Malformed(f"no OpenFlow: it begins with {data[begin : begin + 8].hex()}")
            end = begin + length
            if end > most:
                break
            if kind != wire.PACKET_IN:
                self._handle(kind, xid, data[begin:end])
                answer = self.answer
            elif answer is not None:
                try:
                    answers.append(answer(data, begin, end))
                except wire.Malformed:
                    raise
                except Exception:
                    log.exception("%s: no answer to packet-in %s", self, data[begin:end].hex())
            begin = end
            if self.closed:
                break
        return begin, answers

    def _may_differ(self, version: int, kind: int) -> bool:
        """Before the version is agreed only a HELLO may come, or the error that says why not."""
        return self.version == 0 and 0 < version < 0x20 and kind in (wire.HELLO, wire.ERROR)

    # What others may ask of a switch.

    def xid(self) -> int:
        return next(self._xids) & 0xFFFFFFFF

    @property
    def full(self) -> bool:
        """More waits to be read than should."""
        return self._full is not None

    def write(self, data: bytes) -> None:
        """Sends, or lets the switch go where it has not read for too long."""
        if self.closed:
            return
        if self._full is not None and self._transport.get_write_buffer_size() + len(data) > BUFFER_MOST:
            self.close("does not read what it is sent")
        else:
            self._transport.write(data)

    async def drained(self) -> None:
        """Waits until there is room to send. The channel lets go of those that never have."""
        if self._full is not None:
            await self._full

    def ask(self, xid: int, request: bytes) -> asyncio.Future[list[bytes]]:
        """Sends a request; its answer (bodies of all parts of a multipart, else the one message). Refused where it is an error.

        To be awaited in a task made by `spawn`: the end of the connection cancels both.
        """
        future: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[xid] = (future, [])
        self.write(request)
        return future

    def multipart(self, kind: int, body: bytes = b"") -> asyncio.Future[list[bytes]]:
        xid = self.xid()
        return self.ask(xid, wire.multipart_request(self.version, xid, kind, body))

    def barrier(self) -> asyncio.Future[list[bytes]]:
        xid = self.xid()
        return self.ask(xid, wire.message(self.version, wire.BARRIER_REQUEST, xid))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` for as long as the connection lives; what it raises closes the connection."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, wire.Malformed | Refused):
            self.close(str(error))
        elif error is not None:
            log.error("%s: a fault of weft's own", self, exc_info=error)
            self.close("dropped, to begin afresh")

    def close(self, reason: str, level: int = logging.WARNING) -> None:
        if not self.closed:
            log.log(level, "%s: closed: %s", self, reason)
            self.closed = True
            self._transport.abort()

    # What a switch says.

    def _handle(self, kind: int, xid: int, message: bytes) -> None:
        if self.version == 0:
            self._hello(kind, message)
        elif kind == wire.ECHO_REQUEST:
            self.write(wire.message(self.version, wire.ECHO_REPLY, xid, message[8:]))
        elif kind == wire.MULTIPART_REPLY:
            self._part(xid, message)
        elif kind == wire.PORT_STATUS:
            self._port_status(message)
        elif kind == wire.ERROR:
            self._error(xid, message)
        elif kind == wire.ROLE_STATUS:
            log.warning("%s: another controller took over", self)
        elif xid in self._waiting and kind != wire.ECHO_REPLY:
            future, _ = self._waiting.pop(xid)
            if not future.done():
                future.set_result([message])

    def _hello(self, kind: int, message: bytes) -> None:
        if kind == wire.ERROR:
            raise wire.Malformed(f"refused to talk: {message[12:].decode(errors='replace')}")
        version = wire.common_version(message)
        if version is None:
            spoken = wire.VERSION_TEXT.get(message[0], str(message[0]))
            self.write(wire.message(message[0], wire.ERROR, 0, b"\0\0\0\0weft speaks OpenFlow 1.3 and 1.4"))
            raise wire.Malformed(f"speaks OpenFlow {spoken}, weft 1.3 and 1.4 (ovs-vsctl set bridge BRIDGE protocols=OpenFlow14)")
        self.version = version
        self.spawn(self._shake_hands())

    async def _shake_hands(self) -> None:
        version, xid = self.version, self.xid()
        asked = self.ask(xid, wire.message(version, wire.FEATURES_REQUEST, xid))
        self.write(wire.set_config(version, self.xid()))
        descriptions, ports = self.multipart(wire.MP_DESC), self.multipart(wire.MP_PORT_DESC)
        (features,) = await asked
        if len(features) < 24:
            raise wire.Malformed("features cut short")
        dpid, _, _, auxiliary = Struct("!QIBB").unpack_from(features, 8)
        self.maker = b"".join(await descriptions)[:256].split(b"\0", 1)[0].decode(errors="replace")
        for part in await ports:
            self.ports.update((name, number) for name, number, _ in wire.ports(version, part))
        if auxiliary:
            raise wire.Malformed("an auxiliary connection, which weft has no use for")
        self.dpid = dpid
        await self._become_master()
        self.ready = True
        log.info("%s: connected from %s, %s, OpenFlow %s", self, self._peer, self.maker or "of unknown make", wire.VERSION_TEXT[version])
        self._channel.ready(self)

    async def _become_master(self) -> None:
        xid, epoch = self.xid(), self._channel.epoch
        try:
            await self.ask(xid, wire.role_request(self.version, xid, epoch))
        except Refused as error:
            if error.kind != 11 or error.code != 0:
                raise
            raise wire.Malformed(f"it obeys a controller with a later epoch than {epoch}") from error

    def _part(self, xid: int, message: bytes) -> None:
        kind, flags = Struct("!HH").unpack_from(message, 8)
        if kind == wire.MP_FLOW_MONITOR and xid not in self._waiting:
            self._channel.owner.flows_changed(self, message[16:])
        if xid not in self._waiting:
            return
        future, parts = self._waiting[xid]
        parts.append(message[16:])
        if len(parts) << 16 > REPLY_MOST:
            raise wire.Malformed("an answer without an end")
        if not flags & wire.MORE:
            del self._waiting[xid]
            if not future.done():
                future.set_result(parts)

    def _port_status(self, message: bytes) -> None:
        reason = message[8]
        changed = set()
        for name, number, _ in wire.ports(self.version, message[16:]):
            for old in [old for old, had in self.ports.items() if had == number and (old != name or reason == 1)]:
                del self.ports[old]
                changed.add(old)
            if reason != 1 and self.ports.get(name) != number:
                self.ports[name] = number
                changed.add(name)
        if changed and self.ready:
            self._channel.owner.ports_changed(self, changed)

    def _error(self, xid: int, message: bytes) -> None:
        kind, code = Struct("!HH").unpack_from(message, 8)
        refused = Refused(kind, code, message[12:])
        if xid in self._waiting:
            future, _ = self._waiting.pop(xid)
            if not future.done():
                future.set_exception(refused)
        elif self.errors is not None:
            self.errors[xid] = refused
        else:
            log.warning("%s: refused a message: %s", self, refused)
