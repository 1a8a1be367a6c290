"""DHCP questions from inside a guest, as bytes: ``python -m bench.leases ask|flood INTERFACE``.

A question is a DHCPDISCOVER from the interface's own MAC (RFC 2131, 4.4.1). `ask` waits for each offer; `flood` never listens.
"""

import argparse
import os
import select
import socket
import struct
import time
from pathlib import Path

from bench.traffic import checksum

PATIENCE = 2.0
"""Seconds until a question is asked again; that counts into how long its offer took."""


def discover(mac: bytes, number: int) -> bytes:
    head = struct.pack("!BBBBIHH16x16s192x4s", 1, 1, 6, 0, number, 0, 0x8000, mac, b"\x63\x82\x53\x63")
    message = head + b"\x35\x01\x01\x37\x03\x01\x03\x06\xff"
    udp = struct.pack("!HHHH", 68, 67, 8 + len(message), 0) + message
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    return b"\xff" * 6 + mac + b"\x08\x00" + ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + udp


def link(interface: str) -> tuple[socket.socket, bytes]:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    made.bind((interface, 0))
    return made, bytes.fromhex(Path(f"/sys/class/net/{interface}/address").read_text().strip().replace(":", ""))


def ask(args: argparse.Namespace) -> None:
    """Prints offers a second and the milliseconds that the slowest took."""
    wire, mac = link(args.interface)
    offers, slowest, number, start = 0, 0.0, os.getpid() << 12, time.monotonic()
    while (begun := time.monotonic()) - start < args.seconds:
        number += 1
        while not offered(wire, mac, number):
            if time.monotonic() - start > args.seconds + 10:
                print(offers / args.seconds, 1e3 * (time.monotonic() - begun), flush=True)
                return
        offers, slowest = offers + 1, max(slowest, time.monotonic() - begun)
        time.sleep(args.pause)
    print(offers / (time.monotonic() - start), 1e3 * slowest, flush=True)


def offered(wire: socket.socket, mac: bytes, number: int) -> bool:
    """Asks once; whether the offer came in time."""
    wire.send(discover(mac, number & 0xFFFFFFFF))
    end = time.monotonic() + PATIENCE
    while (left := end - time.monotonic()) > 0 and select.select([wire], [], [], left)[0]:
        frame = wire.recv(1500)
        if frame[23:24] == b"\x11" and frame[36:38] == b"\0\x44" and frame[46:50] == struct.pack("!I", number & 0xFFFFFFFF):
            return True
    return False


def flood(args: argparse.Namespace) -> None:
    """At `rate` a second for `seconds`; prints how many."""
    wire, mac = link(args.interface)
    sent, start = 0, time.monotonic()
    while (elapsed := time.monotonic() - start) < args.seconds:
        while sent < elapsed * args.rate:
            try:
                wire.send(discover(mac, sent))
            except OSError:  # the queue of the device is full
                break
            sent += 1
        time.sleep(0.001)
    print(sent, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=("ask", "flood"))
    parser.add_argument("interface")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between questions")
    parser.add_argument("--rate", type=int, default=5000)
    args = parser.parse_args()
    (ask if args.do == "ask" else flood)(args)


if __name__ == "__main__":
    main()
