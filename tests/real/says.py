"""Two ends of a conversation, in namespaces: a program that tests run there.

``says.py serve NAME PORT…``: answers on TCP and UDP, IPv4 and IPv6, with its name and whom it saw.
``says.py ask tcp|udp ADDRESS PORT [own=PORT] [hold=SECONDS] [size=BYTES]``: says something and prints the answer, or why there is none;
with `hold` it says more after a while, when the other end should still be there.
"""

import contextlib
import json
import socket
import sys
import threading
import time


def answer(name: str, data: bytes, sender: tuple[str, int]) -> bytes:
    return json.dumps({"by": name, "saw": sender[0], "port": sender[1], "got": len(data)}).encode()


def listening(port: int, kind: int, family: int) -> socket.socket:
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(("", port))
    return made


def tcp(name: str, port: int, family: int) -> None:
    made = listening(port, socket.SOCK_STREAM, family)
    made.listen(50)
    while True:
        threading.Thread(target=hear, args=(name, *made.accept()), daemon=True).start()


def hear(name: str, connection: socket.socket, sender: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        while data := connection.recv(65536):
            connection.sendall(answer(name, data, sender))


def udp(name: str, port: int, family: int) -> None:
    made = listening(port, socket.SOCK_DGRAM, family)
    while True:
        data, sender = made.recvfrom(65536)
        made.sendto(answer(name, data, sender), sender)


def serve(name: str, *ports: str) -> None:
    for port in map(int, ports):
        for how in (tcp, udp):
            for family in (socket.AF_INET, socket.AF_INET6):
                threading.Thread(target=how, args=(name, port, family), daemon=True).start()
    time.sleep(1e6)


def ask(kind: str, host: str, port: str, own: str = "0", hold: str = "0", size: str = "2") -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.settimeout(3)
    try:
        made.bind(("", int(own)))
        made.connect((host, int(port)))
        for wait in (0.0, *([float(hold)] if float(hold) else [])):
            time.sleep(wait)
            made.send(b"x" * int(size))
            print(json.dumps(json.loads(made.recv(999)) | {"from": made.getpeername()[:2]}), flush=True)
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)


if __name__ == "__main__":
    words = [word.split("=", 1) for word in sys.argv[2:]]
    given = [word[0] for word in words if len(word) == 1]
    {"serve": serve, "ask": ask}[sys.argv[1]](*given, **{word[0]: word[1] for word in words if len(word) == 2})
