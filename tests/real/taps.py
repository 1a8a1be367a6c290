"""Raw sockets in the namespaces of a lab, held by the test itself: frames sent as they are, and every frame that arrives."""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import NamedTuple

from weft.apps.packet import Packet

PACKET_AUXDATA, VLAN_VALID = 8, 1 << 4
CLONE_NEWNET = 0x40000000
SETTLE = 0.25
"""Seconds in which what must not come would come."""


class Heard(NamedTuple):
    """A UDP datagram as it arrived."""

    tap: str
    vlan: int
    dscp: int
    sport: int
    octets: int
    """Of the frame without a tag."""


@contextmanager
def within(namespace: str) -> Iterator[None]:
    """The calling thread is in a namespace."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), namespace)
        yield
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)


class Taps:
    """Sockets by name; reads UDP to one port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: dict[str, socket.socket] = {}

    def open(self, name: str, namespace: str, device: str) -> None:
        with within(namespace):
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        tap.setsockopt(263, PACKET_AUXDATA, 1)
        tap.bind((device, 3))
        tap.setblocking(False)
        self._sockets[name] = tap

    def close(self) -> None:
        for tap in self._sockets.values():
            tap.close()

    def send(self, name: str, frame: bytes) -> None:
        self._sockets[name].send(frame)

    def hear(self, sport: int, enough: Callable[[list[Heard]], bool], seconds: float = 5) -> list[Heard]:
        """All with this source port that come until there are enough of them, and shortly after."""
        heard = self.now(sport)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough(heard):
            heard += self.now(sport)
            time.sleep(0.02)
        time.sleep(SETTLE)
        return heard + self.now(sport)

    def now(self, sport: int) -> list[Heard]:
        """Those that came so far. A socket holds some ninety full frames."""
        return [one for one in self._read() if one.sport == sport]

    def _read(self) -> Iterator[Heard]:
        for name, tap in self._sockets.items():
            while True:
                try:
                    frame, aux, _, address = tap.recvmsg(65536, 64)
                except BlockingIOError:
                    break
                if address[2] != socket.PACKET_OUTGOING and (heard := self._understood(name, frame, aux)):
                    yield heard

    def _understood(self, name: str, frame: bytes, aux: list[tuple[int, int, bytes]]) -> Heard | None:
        vlan = 0
        for _, kind, data in aux:
            status, tci = struct.unpack_from("=I", data)[0], struct.unpack_from("=H", data, 16)[0]
            vlan = tci & 0xFFF if kind == PACKET_AUXDATA and status & VLAN_VALID else vlan
        if frame[12:14] != b"\x08\x00" or frame[23] != 17:
            return None
        head = 14 + (frame[14] & 15) * 4
        sport, dport = struct.unpack_from("!HH", frame, head)
        return Heard(name, vlan, frame[15] >> 2, sport, len(frame)) if dport == self._port else None


def frame_of(packet: Packet, payload: bytes = b"") -> bytes:
    """An IPv4 UDP packet as bytes."""
    udp = struct.pack("!HHHH", packet["udp_src"], packet["udp_dst"], 8 + len(payload), 0) + payload
    ends = IPv4Address(packet["ip_src"]).packed + IPv4Address(packet["ip_dst"]).packed
    head = struct.pack("!BBHHHBBH", 0x45, packet["ip_dscp"] << 2, 20 + len(udp), 1, 0x4000, packet["nw_ttl"], 17, 0) + ends
    total = sum(struct.unpack("!10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:]
    return packet["eth_dst"].to_bytes(6, "big") + packet["eth_src"].to_bytes(6, "big") + b"\x08\x00" + head + udp
