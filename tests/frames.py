"""Packets of the walk as bytes, and sockets that send and hear them in namespaces."""

import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from weft.agents import spaces
from weft.apps.fields import IP, TCP, UDP
from weft.apps.packet import Packet

EVERY_PROTOCOL = 0x0003
OUTGOING = 4
"""ETH_P_ALL and PACKET_OUTGOING (packet(7))."""


def to_bytes(packet: Packet, payload: bytes) -> bytes:
    """A UDP, TCP or ICMPv6 packet, with its checksums: connection tracking drops what has a wrong one."""
    head = packet["eth_dst"].to_bytes(6, "big") + packet["eth_src"].to_bytes(6, "big") + packet["eth_type"].to_bytes(2, "big")
    if packet["eth_type"] == IP:
        ends = packet["ip_src"].to_bytes(4, "big") + packet["ip_dst"].to_bytes(4, "big")
        inner = _transport(packet, payload, ends)
        fixed = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(inner), 1, 0, packet["nw_ttl"], packet["ip_proto"], 0) + ends
        return head + fixed[:10] + _checksum(fixed).to_bytes(2, "big") + fixed[12:] + inner
    ends = packet["ipv6_src"].to_bytes(16, "big") + packet["ipv6_dst"].to_bytes(16, "big")
    inner = _transport(packet, payload, ends)
    return head + struct.pack("!IHBB", 6 << 28, len(inner), packet["ip_proto"], packet["nw_ttl"]) + ends + inner


def _transport(packet: Packet, payload: bytes, ends: bytes) -> bytes:
    """With the checksum over it and the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1)."""
    if packet["ip_proto"] == UDP:
        body, at = struct.pack("!HHHH", packet["udp_src"], packet["udp_dst"], 8 + len(payload), 0) + payload, 6
    elif packet["ip_proto"] == TCP:
        body, at = struct.pack("!HHIIBBHHH", packet["tcp_src"], packet["tcp_dst"], 1, 0, 5 << 4, 2, 1024, 0, 0) + payload, 16
    else:
        body, at = struct.pack("!BBHI", packet["icmpv6_type"], packet["icmpv6_code"], 0, 0) + payload, 2
    pseudo = ends + struct.pack("!II", len(body), packet["ip_proto"])
    return body[:at] + _checksum(pseudo + body).to_bytes(2, "big") + body[at + 2 :]


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


Place = tuple[str, str]
"""Namespace and interface."""


@contextmanager
def at(place: Place) -> Iterator[socket.socket]:
    """A raw socket on an interface."""
    with spaces.inside(place[0]):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
        made.bind((place[1], EVERY_PROTOCOL))
    with made:
        yield made


def heard(ears: Mapping[str, socket.socket], payload: bytes, expected: set[str], seconds: float) -> set[str]:
    """Who got a payload: returns soon after all of `expected` did, or after `seconds`."""
    names = {ear: name for name, ear in ears.items()}
    found: set[str] = set()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select(list(names), [], [], left)
        for ear in ready:
            data, address = ear.recvfrom(4096)
            if payload in data and address[2] != OUTGOING and names[ear] not in found:
                found.add(names[ear])
                if found >= expected:
                    end = min(end, time.monotonic() + 0.3)  # whoever else gets it has it by then
    return found
