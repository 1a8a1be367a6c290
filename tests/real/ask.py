"""Questions between namespaces: ``python -m tests.real.ask serve NAME PORT`` and ``… tcp|udp ADDRESS PORT``, ``… dns SERVER NAME``.

A server says who it is and whom it saw. What came of a question is one line: ``NAME saw ADDRESS``, an address, or why there is none.
"""

import contextlib
import selectors
import socket
import struct
import sys

SECONDS = 1.5
"""How long an answer is waited for."""


def serve(name: str, port: int) -> None:
    """TCP and UDP on every address, both families, until it is ended."""
    ways = selectors.DefaultSelector()
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            door = socket.socket(family, kind)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            door.bind(("", port))
            if kind == socket.SOCK_STREAM:
                door.listen(64)
            ways.register(door, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in ways.select():
            door = key.fileobj
            assert isinstance(door, socket.socket)
            with contextlib.suppress(OSError):
                _answer(door, name)


def _answer(door: socket.socket, name: str) -> None:
    if door.type == socket.SOCK_DGRAM:
        _, whom = door.recvfrom(64)
        door.sendto(f"{name} saw {whom[0]}".encode(), whom)
        return
    one, whom = door.accept()
    with one:
        one.sendall(f"{name} saw {whom[0]}".encode())


def ask(kind: str, address: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as link:
        link.settimeout(SECONDS)
        try:
            link.connect((address, port))
            if kind == "udp":
                link.send(b"?")
            return link.recv(64).decode()
        except TimeoutError:
            return "silence"
        except ConnectionRefusedError:
            return "refused"
        except OSError:
            return "unreachable"


def resolve(server: str, name: str) -> str:
    """The first address that a name server has for a name (RFC 1035, 4.1)."""
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    question = struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(SECONDS)
        try:
            link.connect((server, 53))
            link.send(question)
            said = link.recv(512)
        except TimeoutError:
            return "silence"
        except OSError:
            return "refused"
    count = int.from_bytes(said[6:8], "big")
    return socket.inet_ntoa(said[-4:]) if count else "not known"


def main() -> None:
    what, first, second = sys.argv[1:]
    if what == "serve":
        serve(first, int(second))
    print(resolve(first, second) if what == "dns" else ask(what, first, int(second)))


if __name__ == "__main__":
    main()
