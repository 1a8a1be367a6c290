"""One change on its way to a switch: taken whole or not at all.

OpenFlow 1.4: an atomic and ordered bundle. 1.3 has none, so there it is messages and a barrier, and what is refused is missing. A bundle
takes no meters; those go beside it.
"""

from itertools import count
from struct import Struct

from weft.controller import wire
from weft.controller.connection import Connection
from weft.controller.encode import Entry, Key
from weft.controller.refusal import Refused

CHUNK = 64 << 10
What = Key | str
"""A flow, or a group or a meter in words."""
_BUNDLES = count(1)
_BUNDLED_FLOW = Struct(wire.BUNDLE_ADD_HEAD.format + wire.FLOW_MOD_HEAD.format[1:])


class Bundle:
    """Opened by its first message. One at a time for each connection, whose errors it collects until `close`."""

    def __init__(self, connection: Connection) -> None:
        self.errors: dict[int, Refused] = {}
        self.blame: dict[int, What] = {}
        """What stands behind each message, by xid."""
        self._connection = connection
        self.version = connection.version
        self._number = next(_BUNDLES) if connection.version >= wire.V1_4 else None
        self._messages: list[bytes] = []
        self._bytes = 0
        self._open = False
        connection.errors = self.errors

    def close(self) -> None:
        self._connection.errors = None

    def xid(self, what: What) -> int:
        """For a message about `what`."""
        xid = self._connection.xid()
        self.blame[xid] = what
        return xid

    def beside(self, message: bytes) -> None:
        """A message that no bundle takes, at once."""
        self._connection.write(message)

    def add(self, message: bytes) -> None:
        self._begin()
        self._put(message if self._number is None else wire.bundled(self._number, message))

    def flow(self, command: int, key: Key, entry: Entry) -> bool:
        """True: enough has gathered to be flushed."""
        self._begin()
        xid = self.xid(key)
        if self._number is None:
            self._put(wire.flow_mod(self.version, xid, command, key, *entry))
        else:
            self._put(bundled_flow(self.version, self._number, xid, command, key, entry))
        return self._bytes >= CHUNK

    def _begin(self) -> None:
        if not self._open:
            self._open = True
            if self._number is not None:
                self._put(wire.bundle_control(self.version, self._connection.xid(), self._number, wire.BUNDLE_OPEN))

    def _put(self, message: bytes) -> None:
        self._messages.append(message)
        self._bytes += len(message)

    async def flush(self) -> None:
        """Sends what has gathered, and waits while the switch has more to read than it should."""
        self._connection.write(b"".join(self._messages))
        self._messages.clear()
        self._bytes = 0
        await self._connection.drained()

    async def commit(self) -> None:
        """What was refused is in `errors` then, under 0 where it is nobody's fault in particular; {}: the switch holds it all."""
        await self.flush()
        if not self.blame:
            return
        await self._connection.barrier()
        if self._number is None or not self._open:
            return
        xid = self._connection.xid()
        if self.errors:  # the switch would commit the rest
            self._connection.write(wire.bundle_control(self.version, xid, self._number, wire.BUNDLE_DISCARD))
            return
        try:
            await self._connection.ask(xid, wire.bundle_control(self.version, xid, self._number, wire.BUNDLE_COMMIT))
        except Refused as error:
            self.errors.setdefault(0, error)


def bundled_flow(version: int, bundle: int, xid: int, command: int, key: Key, entry: Entry) -> bytes:
    """`wire.bundled` of a `wire.flow_mod`, in one go."""
    table, priority, match = key
    matched = 4 + len(match)
    fill = wire.PADDING[-matched % 8]
    length = 48 + matched + len(fill) + len(entry[1])
    return b"".join((
        _BUNDLED_FLOW.pack(
            version, wire.BUNDLE_ADD, length + 16, xid, bundle, 0, wire.BUNDLE_FLAGS,
            version, wire.FLOW_MOD, length, xid, entry[0], 0, table, command, 0, 0, priority,
            wire.NO_BUFFER, wire.ANY_PORT, wire.ANY_GROUP, 0, 0, 1, matched,
        ), match, fill, entry[1],
    ))  # fmt: skip
