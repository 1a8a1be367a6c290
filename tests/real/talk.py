"""A few words of OpenFlow with a bridge through its management socket, one at a time: how tests ask without the controller."""

import socket
from pathlib import Path

from weft.controller import wire


class Talk:
    """A blocking OpenFlow connection; `errors` collects what the switch refused."""

    def __init__(self, path: Path, version: int) -> None:
        self.version = version
        self.errors: list[bytes] = []
        self._xid = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(path))
        self._socket.sendall(wire.message(version, wire.HELLO, 0))
        assert self.read()[1] == wire.HELLO

    def close(self) -> None:
        self._socket.close()

    @property
    def xid(self) -> int:
        self._xid += 1
        return self._xid

    def send(self, message: bytes) -> None:
        self._socket.sendall(message)

    def read(self) -> bytes:
        head = self._socket.recv(8, socket.MSG_WAITALL)
        length = int.from_bytes(head[2:4], "big")
        return head + (self._socket.recv(length - 8, socket.MSG_WAITALL) if length > 8 else b"")

    def until(self, kind: int) -> bytes:
        while True:
            message = self.read()
            if message[1] == wire.ERROR:
                self.errors.append(message)
            if message[1] == kind:
                return message

    def barrier(self) -> list[bytes]:
        """Errors since the last one."""
        self.send(wire.message(self.version, wire.BARRIER_REQUEST, self.xid))
        self.until(wire.BARRIER_REPLY)
        errors, self.errors = self.errors, []
        return errors

    def multipart(self, request: bytes) -> list[bytes]:
        """Bodies of the parts of the answer."""
        self.send(request)
        bodies = []
        while True:
            message = self.until(wire.MULTIPART_REPLY)
            bodies.append(message[16:])
            if not int.from_bytes(message[10:12], "big") & wire.MORE:
                return bodies
