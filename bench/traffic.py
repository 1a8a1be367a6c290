"""Frames for the data-plane benchmarks, sent and counted inside namespaces: ``python -m bench.traffic send|count …``.

Raw frames on a packet socket: no neighbour, no checksum and no socket buffer of a connection stands between.
"""

import argparse
import random
import socket
import struct
import time

BURST = 32
COUNT_MARK = b"weft-bench"
SO_RCVBUFFORCE = 33
"""socket(7): a receive buffer above rmem_max, for root in the first namespace."""


def udp_frame(src: bytes, dst: bytes, ips: tuple[str, str], sport: int, size: int = 60) -> bytes:
    """An Ethernet frame of `size` bytes with UDP to port 9 (discard), without checksums that would need computing."""
    payload = COUNT_MARK.ljust(size - 42, b"\0")
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, *map(socket.inet_aton, ips))
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return dst + src + b"\x08\x00" + ip + struct.pack("!HHHH", sport, 9, 8 + len(payload), 0) + payload


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def send(args: argparse.Namespace) -> None:
    """Sends frames at `rate` a second for `seconds`; prints how many."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((args.interface, 0))
    src, dst = (bytes.fromhex(mac.replace(":", "")) for mac in (args.src, args.dst))
    ips, sent, start = (args.source, args.target), 0, time.monotonic()
    frame = udp_frame(src, dst, ips, 1)
    while (elapsed := time.monotonic() - start) < args.seconds:
        due = int(elapsed * args.rate) if args.rate else sent + BURST
        for _ in range(min(due - sent, BURST * 8)):
            if args.vary == "port":
                frame = frame[:34] + struct.pack("!H", 1024 + sent % 64000) + frame[36:]
            elif args.vary == "mac":
                frame = frame[:6] + b"\x0e" + random.randbytes(5) + frame[12:]
            try:
                link.send(frame)
            except BlockingIOError:
                continue
            except OSError:  # the queue of the device is full
                time.sleep(0.0005)
                continue
            sent += 1
        time.sleep(0 if not args.rate else 0.0005)
    print(sent, flush=True)


def count(args: argparse.Namespace) -> None:
    """Prints how many of our frames arrived on an interface until none came for a second, after the first."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE if args.force else socket.SO_RCVBUF, 64 << 20)
    link.bind((args.interface, 0))
    print("ready", flush=True)
    link.settimeout(args.patience)
    seen = 0
    try:
        while True:
            seen += COUNT_MARK in link.recv(128)
            link.settimeout(1.0)
    except TimeoutError:
        print(seen, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    sender = commands.add_parser("send")
    sender.set_defaults(do=send)
    for name in ("interface", "src", "dst", "source", "target"):
        sender.add_argument(name)
    sender.add_argument("--rate", type=int, default=0, help="frames a second, 0: as many as go")
    sender.add_argument("--seconds", type=float, default=3.0)
    sender.add_argument("--vary", choices=("nothing", "port", "mac"), default="nothing")
    counter = commands.add_parser("count")
    counter.set_defaults(do=count)
    counter.add_argument("interface")
    counter.add_argument("--patience", type=float, default=10.0, help="seconds to wait for the first")
    counter.add_argument("--force", action="store_true")
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
