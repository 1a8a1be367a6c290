"""A small switch in memory on a real socket: enough of OpenFlow 1.4 for a controller to keep flows in it."""

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from weft.controller import wire
from weft.controller.encode import Entry, Key

MAKER = b"Nicira, Inc."
FLOW_MOD_FIXED = struct.Struct("!8xQ8xBBxxxxHxxxxxxxxxxxxxxxxxxH")


class FakeSwitch:
    """Holds flows by identity, takes bundles whole, refuses what `refuses` names, counts flow-mods."""

    def __init__(self, dpid: int = 1, ports: dict[str, int] | None = None, version: int = wire.V1_4, maker: bytes = MAKER) -> None:
        self.dpid, self.version, self.maker = dpid, version, maker
        self.ports = ports if ports is not None else {"p1": 1, "p2": 2}
        self.flows: dict[Key, Entry] = {}
        self.refuses: Callable[[Key], bool] = lambda key: False
        self.flow_mods = 0
        self.packet_outs = 0
        self.epochs: list[int] = []
        self.heard: list[int] = []
        self._bundle: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()

    async def connect(self, path: Path) -> "FakeSwitch":
        self.closed.clear()
        self.reader, self.writer = await asyncio.open_unix_connection(str(path))
        self.send(wire.HELLO, 1)
        self._task = asyncio.create_task(self._serve())
        return self

    async def disconnect(self) -> None:
        self.writer.close()
        if self._task is not None:
            await self._task

    def send(self, kind: int, xid: int, body: bytes = b"") -> None:
        self.writer.write(wire.message(self.version, kind, xid, body))

    async def _serve(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self.reader.readexactly(8)
                _, kind, length, xid = wire.HEADER.unpack(head)
                self._hear(kind, xid, head + await self.reader.readexactly(length - 8))
        self.writer.close()
        self.closed.set()

    def _hear(self, kind: int, xid: int, message: bytes) -> None:
        self.heard.append(kind)
        if kind == wire.FEATURES_REQUEST:
            self.send(wire.FEATURES_REPLY, xid, struct.pack("!QIBB2xII", self.dpid, 0, 254, 0, 0x4F, 0))
        elif kind == wire.ECHO_REQUEST:
            self.send(wire.ECHO_REPLY, xid, message[8:])
        elif kind == wire.BARRIER_REQUEST:
            self.send(wire.BARRIER_REPLY, xid)
        elif kind == wire.ROLE_REQUEST:
            self.epochs.append(int.from_bytes(message[16:24], "big"))
            self.send(wire.ROLE_REPLY, xid, message[8:])
        elif kind == wire.MULTIPART_REQUEST:
            self._multipart(xid, message)
        elif kind == wire.PACKET_OUT:
            self.packet_outs += 1
        elif kind == wire.FLOW_MOD:
            self._flow_mod(xid, message)
        elif kind == wire.BUNDLE_ADD:
            self._bundle.append(message[16:])
        elif kind == wire.BUNDLE_CONTROL:
            self._control(xid, message)

    def port(self, name: str, number: int) -> bytes:
        if self.version == wire.V1_3:
            return struct.pack("!I4x6s2x16s8I", number, bytes(6), name.encode(), 0, 0, 0, 0, 0, 0, 0, 0)
        return struct.pack("!IH2x6s2x16sII", number, 40, bytes(6), name.encode(), 0, 0)

    def _multipart(self, xid: int, message: bytes) -> None:
        kind = int.from_bytes(message[8:10], "big")
        body = b""
        if kind == wire.MP_DESC:
            body = self.maker.ljust(1056, b"\0")
        elif kind == wire.MP_PORT_DESC:
            body = b"".join(self.port(name, number) for name, number in self.ports.items())
        elif kind == wire.MP_FLOW:
            body = b"".join(self._stats(key, entry) for key, entry in self.flows.items())
        self.send(wire.MULTIPART_REPLY, xid, message[8:10] + bytes(6) + body)

    @staticmethod
    def _stats(key: Key, entry: Entry) -> bytes:
        match = wire.pad(struct.pack("!HH", 1, 4 + len(key[2])) + key[2])
        length = 48 + len(match) + len(entry[1])
        return struct.pack("!HBxIIHHHHH2xQQQ", length, key[0], 0, 0, key[1], 0, 0, 0, 0, entry[0], 0, 0) + match + entry[1]

    def _flow_mod(self, xid: int, message: bytes) -> bool:
        self.flow_mods += 1
        cookie, table, command, priority, matched = FLOW_MOD_FIXED.unpack_from(message)
        key = (table, priority, message[52 : 48 + matched])
        if command == wire.DELETE_STRICT:
            self.flows.pop(key, None)
        elif self.refuses(key):
            self.send(wire.ERROR, xid, struct.pack("!HH", 2, 4) + message[:64])
            return False
        else:
            self.flows[key] = (cookie, message[48 + (matched + 7) // 8 * 8 :])
        return True

    def _control(self, xid: int, message: bytes) -> None:
        bundle, kind, flags = struct.unpack_from("!IHH", message, 8)
        if kind == wire.BUNDLE_OPEN:
            self._bundle = []
        elif kind == wire.BUNDLE_COMMIT:
            before = dict(self.flows)
            taken = [self._flow_mod(int.from_bytes(one[4:8], "big"), one) for one in self._bundle]
            if not all(taken):
                self.flows = before
                self.send(wire.ERROR, xid, struct.pack("!HH", 17, 15) + message)
                return
        self.send(wire.BUNDLE_CONTROL, xid, struct.pack("!IHH", bundle, kind + 1, flags))

    def say_port(self, reason: int, name: str, number: int) -> None:
        """A port-status: 0 added, 1 removed, 2 changed."""
        self.send(wire.PORT_STATUS, 0, bytes((reason,)) + bytes(7) + self.port(name, number))

    def say_flow(self, event: int, key: Key, entry: Entry) -> None:
        """A flow monitor's word: 1 added, 2 removed, 3 changed."""
        match = wire.pad(struct.pack("!HH", 1, 4 + len(key[2])) + key[2])
        body = struct.pack("!HBBHHH4xQ", event, key[0], 0, 0, 0, key[1], entry[0]) + match + entry[1]
        self.send(wire.MULTIPART_REPLY, 0, struct.pack("!HH4xH", wire.MP_FLOW_MONITOR, 0, 2 + len(body)) + body)
