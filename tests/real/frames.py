"""Packets of the walk as bytes on a wire, sent from and heard at real interfaces."""

import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from weft.agents.spaces import inside
from weft.apps.fields import ARP, ICMP, ICMPV6, IP, IPV6, TCP, UDP
from weft.apps.packet import Packet

ETH_P_ALL = 3
OUTGOING = 4
"""PACKET_OUTGOING (packet(7)): what the interface itself sends."""
LONGEST, WHILE = 15.0, 0.5
"""Seconds: how long what should arrive is waited for, and how long what should not is still listened for."""


SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 0x10
AUXDATA = struct.Struct("=IIIHHHH")
"""What the kernel took off a frame: tpacket_auxdata (packet(7)), the tag last but one."""


class Jack(NamedTuple):
    """An interface in a namespace, and the tag of what is behind it."""

    namespace: str
    interface: str
    tag: int = 0

    @property
    def untagged(self) -> "Jack":
        return self._replace(tag=0)


def encode(packet: Packet, marker: bytes) -> bytes:
    """A frame with these fields that ends in `marker`."""
    body = _body(packet, marker)
    tags = b""
    for vid, pcp in (("vlan_vid", "vlan_pcp"), ("inner_vid", "inner_pcp")):
        if vid in packet and (packet[vid] & 0x1000 or packet.get(pcp)):
            tags += struct.pack("!HH", packet.get("vlan_tpid", 0x8100) if not tags else 0x8100, packet.get(pcp, 0) << 13 | packet[vid] & 0xFFF)
    macs = packet["eth_dst"].to_bytes(6, "big") + packet["eth_src"].to_bytes(6, "big")
    return macs + tags + struct.pack("!H", packet["eth_type"]) + body


def _body(packet: Packet, marker: bytes) -> bytes:
    if packet["eth_type"] == ARP:
        senders, receivers = (
            packet[f"arp_{kind}ha"].to_bytes(6, "big") + packet[f"arp_{kind}pa"].to_bytes(4, "big") for kind in "st"
        )
        return struct.pack("!HHBBH", 1, IP, 6, 4, packet["arp_op"]) + senders + receivers + marker
    if packet["eth_type"] == IP:
        return _ipv4(packet, marker)
    if packet["eth_type"] == IPV6:
        return _ipv6(packet, marker)
    return bytes(8) + marker


def _ipv4(packet: Packet, marker: bytes) -> bytes:
    source, target = (IPv4Address(packet[field]).packed for field in ("ip_src", "ip_dst"))
    inner = _upper(packet, marker, source + target)
    pieces = 0x2000 if packet.get("first_piece") else 0
    """More fragments follow (RFC 791, 3.1)."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(inner), 0x7E57, pieces, packet["nw_ttl"], packet["ip_proto"], 0) + source + target
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + inner


def _ipv6(packet: Packet, marker: bytes) -> bytes:
    source, target = (IPv6Address(packet[field]).packed for field in ("ipv6_src", "ipv6_dst"))
    inner = _upper(packet, marker, source + target)
    proto, extra = packet["ip_proto"], b""
    if "extension" in packet:  # a hop-by-hop, routing or destination header with nothing but padding in front
        extra, proto = bytes((proto, 0, 1, 4, 0, 0, 0, 0)), packet["extension"]
    return struct.pack("!IHBB", 6 << 28, len(extra + inner), proto, packet["nw_ttl"]) + source + target + extra + inner


def _upper(packet: Packet, marker: bytes, ends: bytes) -> bytes:
    proto = packet["ip_proto"]
    if proto == ICMP:
        head = struct.pack("!BBHI", packet["icmp_type"], packet["icmp_code"], 0, 0x7E570001)
        return head[:2] + struct.pack("!H", checksum(head + marker)) + head[4:] + marker
    if proto == ICMPV6:
        return _icmp6(packet, marker, ends)
    if proto == UDP:
        head = struct.pack("!HHHH", packet["udp_src"], packet["udp_dst"], 8 + len(marker), 0)
        return head[:6] + struct.pack("!H", _pseudo(ends, UDP, head + marker)) + marker
    if proto == TCP:
        head = struct.pack("!HHIIBBHHH", packet["tcp_src"], packet["tcp_dst"], 1, 0, 0x50, 2, 1024, 0, 0)
        return head[:16] + struct.pack("!H", _pseudo(ends, TCP, head + marker)) + head[18:] + marker
    return marker


def _icmp6(packet: Packet, marker: bytes, ends: bytes) -> bytes:
    head = struct.pack("!BBHI", packet["icmpv6_type"], packet["icmpv6_code"], 0, 0x60000000)
    if "nd_target" in packet:
        head += packet["nd_target"].to_bytes(16, "big")
        for option, field in ((1, "nd_sll"), (2, "nd_tll")):
            if packet.get(field):
                head += bytes((option, 1)) + packet[field].to_bytes(6, "big")
        head += bytes((14, (2 + len(marker) + 7) // 8)) + marker.ljust((2 + len(marker) + 7) // 8 * 8 - 2, b"\0")  # a nonce (RFC 3971, 5.3.2)
        marker = b""
    return head[:2] + struct.pack("!H", _pseudo(ends, ICMPV6, head + marker)) + head[4:] + marker


def _pseudo(ends: bytes, proto: int, data: bytes) -> int:
    return checksum(ends + struct.pack("!II", len(data), proto) + data)


def checksum(data: bytes) -> int:
    """Of the Internet (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


@contextmanager
def sockets(jacks: Iterable[Jack]) -> Iterator[dict[Jack, socket.socket]]:
    """A packet socket at every one."""
    made: dict[Jack, socket.socket] = {}
    try:
        for jack in {jack.untagged for jack in jacks}:
            with inside(jack.namespace):
                made[jack] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
                made[jack].bind((jack.interface, ETH_P_ALL))
                made[jack].setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        yield made
    finally:
        for each in made.values():
            each.close()


Heard = dict[str, dict[Jack, bytes]]
"""By name of a frame: who heard it, and what."""


def heard(at: Mapping[Jack, socket.socket], sent: Mapping[str, tuple[Jack, bytes]], wanted: Mapping[str, set[Jack]]) -> Heard:
    """Sends each frame, whose marker is its name, by its jack, and again until those that are `wanted` to have heard it: of the first
    packets between two hosts some are lost while the tunnel's ends look for each other.
    """
    found: Heard = {name: {} for name in sent}
    latest, waiting = time.monotonic() + LONGEST, set(sent)
    while waiting and time.monotonic() < latest:
        for name in waiting:
            jack, frame = sent[name]
            at[jack.untagged].send(frame)
        _gather(at, sent, found)
        waiting = {name for name in sent if not wanted[name] <= set(found[name])}
    return found


def _gather(at: Mapping[Jack, socket.socket], sent: Mapping[str, tuple[Jack, bytes]], found: Heard) -> None:
    """What comes in for a while. An answer has the marker too, but not what stands before it; an error is longer."""
    by_socket = {each: jack for jack, each in at.items()}
    ends = {frame[-len(marker(name)) - 8 :].rstrip(b"\0"): (name, len(frame) + 4) for name, (_, frame) in sent.items()}
    until = time.monotonic() + WHILE
    while (left := until - time.monotonic()) > 0:
        for each in select.select(list(by_socket), [], [], left)[0]:
            data, tag, address = _received(each)
            for end, (name, longest) in ends.items() if address[2] != OUTGOING else ():
                if data.rstrip(b"\0").endswith(end) and len(data) <= longest:
                    found[name][by_socket[each]._replace(tag=tag)] = data


def outer_tag(at: socket.socket, end: bytes) -> tuple[int, int]:
    """EtherType and number of the outermost tag of the next frame that comes in and ends so. Raises TimeoutError."""
    until = time.monotonic() + LONGEST
    while (left := until - time.monotonic()) > 0 and select.select([at], [], [], left)[0]:
        data, more, _, _ = at.recvmsg(4096, socket.CMSG_SPACE(AUXDATA.size))
        for level, kind, value in more if data.endswith(end) else ():
            status, *_, tci, tpid = AUXDATA.unpack(value)
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA) and status & VLAN_VALID:
                return tpid, tci & 0xFFF
    raise TimeoutError("no such frame")


def _received(from_socket: socket.socket) -> tuple[bytes, int, tuple[str, int, int]]:
    """A frame without its outermost tag, that tag, and where it came from."""
    data, more, _, address = from_socket.recvmsg(4096, socket.CMSG_SPACE(AUXDATA.size))
    taken = [AUXDATA.unpack(value) for level, kind, value in more if (level, kind) == (SOL_PACKET, PACKET_AUXDATA)]
    return data, next((tci & 0xFFF for status, *_, tci, _ in taken if status & VLAN_VALID), 0), address


def marker(name: str) -> bytes:
    return f"<{name[:40]}>".encode()
