"""Sends malformed frames from inside a guest, and says what of them came out elsewhere: ``python -m tests.real.fuzz send|watch``.

`may_pass` says what a guest with known addresses may have sent, read from the RFCs and not from the flows: it is the measure of what
its neighbours see.
"""

import argparse
import itertools
import json
import selectors
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass

from tests.real.malformed import (
    ARP,
    FRAGMENT,
    ICMPV6,
    IPV4,
    IPV6,
    LIAR,
    MARK,
    NOBODY4,
    NOBODY6,
    RARP,
    TAGS,
    UDP,
    Stage,
    Who,
    malformed,
)

PACKET_MR_PROMISC, SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_AUXDATA = 1, 263, 1, 8
"""packet(7)."""
VLAN_VALID, TPID_VALID = 0x10, 0x40
"""Status bits of auxiliary data (linux/if_packet.h)."""
GENEVE = 6081
SHORTEST = {133: 8, 134: 16, 135: 24, 136: 24, 137: 40}
"""Bytes below which a message of neighbour discovery is none (RFC 4861, 6.1 and 7.1)."""


def send(args: argparse.Namespace) -> None:
    """As many as asked, at most `rate` a second; prints how many the kernel took."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((args.interface, 0))
    sent, start = 0, time.monotonic()
    for frame in itertools.islice(malformed(args.seed, stage_of(args.stage)), args.count):
        while sent > (time.monotonic() - start) * args.rate:
            time.sleep(0.002)
        link.send(frame)
        sent += 1
    print(sent, flush=True)


def watch(args: argparse.Namespace) -> None:
    """Prints, in hex, every frame that came in and has the mark or one of the MACs; ends with its standard input."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    link.bind((args.interface, 0))
    index = socket.if_nametoindex(args.interface)
    link.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("IHH8s", index, PACKET_MR_PROMISC, 0, bytes(8)))
    link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    macs = [bytes.fromhex(mac) for mac in args.mac]
    print("ready", flush=True)
    ways = selectors.DefaultSelector()
    ways.register(link, selectors.EVENT_READ)
    ways.register(sys.stdin, selectors.EVENT_READ)
    while ready := [key.fileobj for key, _ in ways.select()]:
        if link in ready:
            frame, kind = received(link)
            if kind != socket.PACKET_OUTGOING and (MARK in frame or any(mac in frame[6:12] for mac in (*macs, LIAR))):
                print(frame.hex())
        elif sys.stdin in ready:
            break


def received(link: socket.socket) -> tuple[bytes, int]:
    """The next frame, with the outer tag, which the kernel gives beside it, in its place; and what kind of packet it is."""
    frame, more, _, (_, _, kind, *_) = link.recvmsg(2048, 64)
    for level, what, data in more:
        if (level, what) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", data)
            if status & VLAN_VALID:
                frame = frame[:12] + struct.pack("!HH", tpid if status & TPID_VALID else TAGS[0], tci) + frame[12:]
    return frame, kind


def stage_text(stage: Stage) -> str:
    def plain(value: object) -> object:
        return value.hex() if isinstance(value, bytes) else value

    whole = {"me": stage.me, "gateway": stage.gateway}
    made = {name: {key: plain(value) for key, value in asdict(some).items()} for name, some in whole.items()}
    return json.dumps(made | {"others": [{key: plain(value) for key, value in asdict(one).items()} for one in stage.others]})


def stage_of(text: str) -> Stage:
    def one(said: dict[str, str]) -> Who:
        return Who(**{key: bytes.fromhex(value) for key, value in said.items()})

    said = json.loads(text)
    return Stage(one(said["me"]), one(said["gateway"]), tuple(map(one, said["others"])))


@dataclass(frozen=True, slots=True)
class Ip:
    """What a receiver reads of an IP header; `ports` 0, 0 and `icmp` -1 where there are none or they are not in this fragment."""

    src: bytes
    dst: bytes
    protocol: int
    ports: tuple[int, int]
    icmp: int
    payload: bytes


def may_pass(frame: bytes, me: Who, own: bool) -> bool:
    """Whether `me` may have sent it. `own`: weft serves the segment; elsewhere a guest may ask a foreign server for an address."""
    if frame[6:12] != me.mac or len(frame) < 14:
        return False
    kind = int.from_bytes(frame[12:14], "big")
    if kind == ARP:
        return _arp_may(frame[14:], me)
    if kind not in (IPV4, IPV6):
        return kind == RARP
    packet = ip(frame)
    if packet is None:
        return False
    return _ipv4_may(packet, me, own) if kind == IPV4 else _ipv6_may(packet, me)


def _arp_may(body: bytes, me: Who) -> bool:
    """RFC 826, and the probe of RFC 5227."""
    if len(body) < 28 or body[:6] != b"\0\1\x08\0\6\4":
        return False
    return body[8:14] == me.mac and (body[14:18] == me.v4 or (body[14:18] == NOBODY4 and body[6:8] == b"\0\1"))


def _ipv4_may(packet: Ip, me: Who, own: bool) -> bool:
    if packet.protocol == UDP and packet.ports[0] == 67:
        return False
    asks = packet.src == NOBODY4 and packet.protocol == UDP and packet.ports == (68, 67)
    return packet.src == me.v4 or (asks and not own)


def _ipv6_may(packet: Ip, me: Who) -> bool:
    """No router's words, no DHCP server's, and of its neighbours' only what is about itself (RFC 4861, 7.2; RFC 4862, 5.4)."""
    if me.v6 == NOBODY6 or (packet.protocol == UDP and packet.ports[0] == 547):
        return False
    mine = (me.v6, me.link_local)
    if packet.icmp in (134, 137):
        return False
    if packet.icmp not in (135, 136):
        return packet.src in mine
    if packet.icmp == 135:
        return packet.src in (*mine, NOBODY6)
    return packet.src in mine and packet.payload[8:24] == packet.src


def ip(frame: bytes) -> Ip | None:
    """The IP packet in an untagged frame; None where its header does not hold together."""
    kind, body = int.from_bytes(frame[12:14], "big"), frame[14:]
    if kind == IPV4:
        head, total = (body[0] & 15) * 4 if body else 0, int.from_bytes(body[2:4], "big")
        if len(body) < 20 or head < 20 or not head <= total <= len(body):
            return None
        later = int.from_bytes(body[6:8], "big") & 0x1FFF
        return _ip(body[12:16], body[16:20], body[9], b"" if later else body[head:total])
    if len(body) < 40 or int.from_bytes(body[4:6], "big") + 40 > len(body):
        return None
    return _ip(body[8:24], body[24:40], *_behind(body[6], body[40 : 40 + int.from_bytes(body[4:6], "big")]))


def _behind(following: int, payload: bytes) -> tuple[int, bytes]:
    """Behind the extension headers of IPv6 (RFC 8200, 4.1); empty in a later fragment."""
    while following in (0, 43, 60, FRAGMENT):
        if len(payload) < 8:
            return following, b""
        length = 8 if following == FRAGMENT else (payload[1] + 1) * 8
        later = following == FRAGMENT and int.from_bytes(payload[2:4], "big") >> 3
        following, payload = payload[0], payload[length:]
        if later:
            return following, b""
    return following, payload


def _ip(src: bytes, dst: bytes, protocol: int, payload: bytes) -> Ip:
    ported = protocol in (UDP, 6) and len(payload) >= 8
    ports = struct.unpack("!HH", payload[:4]) if ported else (0, 0)
    icmp = payload[0] if protocol == ICMPV6 and payload else -1
    return Ip(src, dst, protocol, ports, icmp if len(payload) >= SHORTEST.get(icmp, 1) else -1, payload)


def untagged(frame: bytes) -> tuple[list[int], bytes]:
    """VLAN ids from the outside in, and the frame without the tags."""
    found = []
    while int.from_bytes(frame[12:14], "big") in TAGS and len(frame) >= 18:
        found.append(int.from_bytes(frame[14:16], "big") & 0xFFF)
        frame = frame[:12] + frame[16:]
    return found, frame


def carried(frame: bytes) -> tuple[int, bytes] | None:
    """Tunnel key and frame that a geneve packet between hosts carries (RFC 8926, 3.4)."""
    packet = ip(frame) if frame[12:14] == b"\x08\x00" else None
    if packet is None or packet.protocol != UDP or packet.ports[1] != GENEVE:
        return None
    body = packet.payload[8:]
    return int.from_bytes(body[4:7], "big"), body[8 + (body[0] & 0x3F) * 4 :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    sender = commands.add_parser("send")
    sender.set_defaults(do=send)
    sender.add_argument("interface")
    sender.add_argument("stage")
    for name, default in (("--seed", 1), ("--count", 1000), ("--rate", 1000)):
        sender.add_argument(name, type=int, default=default)
    watcher = commands.add_parser("watch")
    watcher.set_defaults(do=watch)
    watcher.add_argument("interface")
    watcher.add_argument("mac", nargs="*")
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
