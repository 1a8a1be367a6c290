"""The OpenFlow channel: listeners, and the connections of all switches, in one event loop.

Nobody waits for anybody. A switch that sends nonsense, that falls silent or that does not read what it is sent is let go with one line in the
log; it will connect again.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from weft.controller import wire
from weft.controller.connection import Connection, Owner
from weft.topology.errors import WeftError

HANDSHAKE_SECONDS = 10
QUIET_SECONDS = 5
"""After so much silence a switch is asked whether it is still there (echo)."""
SILENT_SECONDS = 15
STALLED_SECONDS = 5
"""So long may a full send buffer stay full."""
BACKLOG = 1024


class Channel:
    """The listeners and all connections. `epoch` is the generation_id under which switches are mastered."""

    def __init__(self, owner: Owner, epoch: int) -> None:
        self.owner = owner
        self.epoch = epoch
        self.connections: set[Connection] = set()
        self.switches: dict[int, Connection] = {}
        self._servers: list[asyncio.Server] = []
        self._sockets: list[Path] = []
        self._tick: asyncio.TimerHandle | None = None

    async def listen(self, targets: Iterable[str]) -> None:
        """Opens ``tcp:ADDRESS:PORT`` and ``unix:PATH``. Raises WeftError where one cannot be had."""
        for target in targets:
            await self._open(target)
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(1, self._sweep)

    async def _open(self, target: str) -> None:
        loop = asyncio.get_running_loop()
        kind, _, where = target.partition(":")
        try:
            if kind == "unix":
                _clear_stale(where)
                server = await loop.create_unix_server(lambda: Connection(self), where, backlog=BACKLOG)
                self._sockets.append(Path(where))
            else:
                host, port = endpoint(target)
                server = await loop.create_server(lambda: Connection(self), host, port, backlog=BACKLOG, reuse_address=True)
        except OSError as error:
            raise WeftError(_cannot_listen(target, where, error)) from error
        self._servers.append(server)

    @property
    def addresses(self) -> list[Any]:
        """What the listeners are bound to, for those who asked for port 0."""
        return [one.getsockname() for server in self._servers for one in server.sockets]

    async def close(self) -> None:
        """Closes the listeners and every connection; switches keep their flows."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.close("weft ends", logging.DEBUG)
        await asyncio.gather(*(connection.gone.wait() for connection in self.connections))
        for path in self._sockets:
            with suppress(FileNotFoundError):
                path.unlink()
        self._servers.clear()

    def ready(self, connection: Connection) -> None:
        """The newest connection of a datapath counts: the older one is mostly dead and does not know it yet."""
        old = self.switches.get(connection.dpid)
        self.switches[connection.dpid] = connection
        if old is not None and not old.closed:
            old.close("replaced by a newer connection")
            old.ready = False
            self.owner.lost(old)
        self.owner.connected(connection)

    def _sweep(self) -> None:
        """Once a second: who is slow to shake hands, who is silent, who does not read."""
        self._tick = asyncio.get_running_loop().call_later(1, self._sweep)
        for connection in list(self.connections):
            connection.age += 1
            connection.quiet += 1
            connection.stalled += connection.full
            if not connection.ready and connection.age > HANDSHAKE_SECONDS:
                connection.close(f"no handshake in {HANDSHAKE_SECONDS} s")
            elif connection.quiet > SILENT_SECONDS:
                connection.close(f"silent for {SILENT_SECONDS} s")
            elif connection.stalled > STALLED_SECONDS:
                connection.close("does not read what it is sent")
            elif connection.quiet > QUIET_SECONDS and connection.version:
                connection.write(wire.message(connection.version, wire.ECHO_REQUEST, connection.xid()))


def endpoint(target: str) -> tuple[str, int]:
    """Address and port of ``tcp:ADDRESS:PORT`` (IPv6 in brackets). Raises WeftError."""
    kind, _, where = target.partition(":")
    host, _, port = where.rpartition(":")
    if kind != "tcp" or not host or not port.isdigit() or int(port) > 65535:
        raise WeftError(f"--listen {target}: not understood; tcp:ADDRESS:PORT or unix:PATH")
    return host.strip("[]"), int(port)


def _clear_stale(path: str) -> None:
    """Removes a socket that nobody answers on any more, the trace of a killed controller."""
    try:
        if Path(path).exists() and not Path(path).is_socket():
            raise OSError(errno.EEXIST, "there is a file of that name")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        Path(path).unlink()
        return
    raise OSError(errno.EADDRINUSE, "in use")


def _cannot_listen(target: str, where: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        port = where.rpartition(":")[2]
        who = f"`ss -ltnp 'sport = :{port}'`" if target.startswith("tcp:") else f"`ss -lxp src {where}`"
        return f"{target}: already in use; {who} shows by whom, `--listen` takes another"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{target}: not permitted; run as root, or `--listen` elsewhere"
    if error.errno == errno.ENOENT:
        return f"{target}: no such directory; make it, or `--listen` elsewhere"
    return f"{target}: cannot listen: {error.strerror or error}"
