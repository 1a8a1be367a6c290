"""Small UDP packets from socket to socket, as many as go: ``python -m bench.datagrams send|count ADDRESS``.

Unlike `bench.traffic` this goes by routers and translations: the kernel of the sender resolves the next hop.
"""

import argparse
import contextlib
import socket
import time

PORT, SIZE, BURST = 9998, 18, 32
END = b"end"
SO_RCVBUFFORCE = 33
"""socket(7): a receive buffer above rmem_max, where the kernel lets us."""


def send(args: argparse.Namespace) -> None:
    """For `seconds`; then says that this was the end, a few times."""
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.connect((args.address, PORT))
    payload, start = bytes(SIZE), time.monotonic()
    while time.monotonic() - start < args.seconds:
        for _ in range(BURST):
            try:
                link.send(payload)
            except OSError:  # the queue of the device is full
                time.sleep(0.0005)
    with contextlib.suppress(OSError):  # refused: who counted is gone
        for _ in range(20):
            time.sleep(0.02)
            link.send(END)


def count(args: argparse.Namespace) -> None:
    """Prints how many arrived until the end was said, or none came for ten seconds."""
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    except OSError:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
    link.bind((args.address, PORT))
    link.settimeout(10)
    print("ready", flush=True)
    seen, receive = 0, link.recv
    try:
        while receive(64) != END:
            seen += 1
    except TimeoutError:
        pass
    print(seen, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=("send", "count"))
    parser.add_argument("address")
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    (send if args.do == "send" else count)(args)


if __name__ == "__main__":
    main()
