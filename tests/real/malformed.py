"""Frames that no decent guest sends, built byte by byte: malformed DHCP, DNS, ARP, ND, RA, IGMP, MLD and IP fragments.

`malformed` is a stream that depends on its seed alone. A frame is first built as its RFC has it, with every field drawn from
what is right, what is somebody else's and what is absurd; then, now and then, it is cut, its bytes are turned, or a tag is put before
it. Somewhere in it is `MARK`, so that a watcher knows it wherever it comes out.

Sources: RFC 826 (ARP), 791 and 8200 (IP, fragments), 2131 and 2132 (DHCP), 8415 (DHCPv6), 1035 (DNS), 4861 (ND, RA), 2236 and 3376
(IGMP), 2710 and 3810 (MLD).
"""

import random
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MARK = b"\xf0weft-fuzz\x0f"
LIAR = b"\x0e\xf2"
"""How MACs begin that nobody has."""
ARP, IPV4, IPV6, RARP = 0x0806, 0x0800, 0x86DD, 0x8035
TAGS = (0x8100, 0x88A8, 0x9100)
UDP, TCP, ICMP, IGMP, ICMPV6, FRAGMENT = 17, 6, 1, 2, 58, 44
BROADCAST = b"\xff" * 6
NOBODY4, NOBODY6 = bytes(4), bytes(16)
ALL4, HOSTS6, ROUTERS6, DHCP6 = b"\xff" * 4, *(socket.inet_pton(socket.AF_INET6, a) for a in ("ff02::1", "ff02::2", "ff02::1:2"))


@dataclass(frozen=True, slots=True)
class Who:
    """A station: its MAC and one address of each family, as bytes; ::, 0.0.0.0 where it has none."""

    mac: bytes
    v4: bytes = NOBODY4
    v6: bytes = NOBODY6

    @property
    def link_local(self) -> bytes:
        """fe80:: and the modified EUI-64 (RFC 4291, appendix A)."""
        return b"\xfe\x80" + bytes(6) + bytes((self.mac[0] ^ 2,)) + self.mac[1:3] + b"\xff\xfe" + self.mac[3:]


def who(mac: str, v4: str = "0.0.0.0", v6: str = "::") -> Who:
    return Who(bytes.fromhex(mac.replace(":", "")), socket.inet_aton(v4), socket.inet_pton(socket.AF_INET6, v6))


@dataclass(frozen=True, slots=True)
class Stage:
    """Whom a sender knows: itself, its segment's gateway, and all others whom it would like to be or to reach."""

    me: Who
    gateway: Who
    others: tuple[Who, ...]

    @property
    def all(self) -> tuple[Who, ...]:
        return (self.me, self.gateway, *self.others)


class Dice(random.Random):
    """Draws what is right more often than what is wrong: what is all wrong is dropped at the door and tests nothing behind it."""

    def mostly(self, right: object, *wrong: object) -> object:
        return right if self.random() < 0.7 else self.choice(wrong)

    def number(self, right: int, bits: int) -> int:
        return right if self.random() < 0.7 else self.choice((0, 1, (1 << bits) - 1, 1 << (bits - 1), self.getrandbits(bits)))

    def mac(self, stage: Stage) -> bytes:
        """Mostly one's own."""
        if self.random() < 0.75:
            return stage.me.mac
        return self.choice((*(other.mac for other in stage.all), LIAR + self.randbytes(4), BROADCAST, bytes(6)))

    def target_mac(self, stage: Stage) -> bytes:
        return self.choice((stage.gateway.mac, *(other.mac for other in stage.others), BROADCAST, b"\x01\x00\x5e\x00\x00\x01",
                            b"\x33\x33\x00\x00\x00\x01", LIAR + self.randbytes(4)))  # fmt: skip

    def address(self, stage: Stage, six: bool) -> bytes:
        """Anybody's."""
        some = self.choice(stage.all)
        if six:
            return self.choice((some.v6, some.link_local, NOBODY6, HOSTS6, ROUTERS6, self.randbytes(16)))
        return self.choice((some.v4, NOBODY4, ALL4, b"\xe0\x00\x00\x01", b"\x7f\x00\x00\x01", self.randbytes(4)))

    def source(self, stage: Stage, six: bool) -> bytes:
        """Mostly one's own."""
        own = self.choice((stage.me.v6, stage.me.link_local)) if six else stage.me.v4
        return own if self.random() < 0.75 else self.address(stage, six)

    def junk(self, most: int) -> bytes:
        return self.randbytes(self.randrange(most)) + MARK


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ether(dst: bytes, src: bytes, kind: int, payload: bytes) -> bytes:
    return dst + src + struct.pack("!H", kind) + payload


def ipv4(dice: Dice, src: bytes, dst: bytes, protocol: int, payload: bytes, fragment: int = 0, ident: int = 0) -> bytes:
    """`fragment`: flags and offset as they stand in the header."""
    options = dice.mostly(b"", b"\x44\x04\x00\x00", b"\x07\x27" + bytes(38), b"\x83\x03\x04\x01", b"\x00" * 4)
    assert isinstance(options, bytes)
    first = dice.mostly(0x45 + len(options) // 4, 0x40, 0x4F, 0x55, 0x46)
    total = dice.number(20 + len(options) + len(payload), 16)
    head = struct.pack("!BBHHHBBH4s4s", first, dice.number(0, 8), total, ident, fragment, dice.number(64, 8), protocol, 0, src, dst) + options
    return head[:10] + struct.pack("!H", dice.number(checksum(head), 16)) + head[12:] + payload


def ipv6(dice: Dice, src: bytes, dst: bytes, following: int, payload: bytes, hops: int = 64) -> bytes:
    """With extension headers before the payload, now and then (RFC 8200, 4)."""
    for kind in dice.choices((0, 43, 60), k=dice.randrange(4)) if dice.random() < 0.15 else ():
        payload, following = bytes((following, dice.number(0, 8))) + dice.randbytes(6) + payload, kind
    head = struct.pack("!IHBB", dice.number(6 << 28, 32), dice.number(len(payload), 16), following, dice.number(hops, 8))
    return head + src + dst + payload


def udp(dice: Dice, source: int, target: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", source, target, dice.number(8 + len(payload), 16), 0) + payload


def icmp6(dice: Dice, src: bytes, dst: bytes, body: bytes) -> bytes:
    """`body` without its checksum at bytes 2 and 3, which is mostly right (RFC 8200, 8.1)."""
    pseudo = src + dst + struct.pack("!II", len(body), ICMPV6)
    return body[:2] + struct.pack("!H", dice.number(checksum(pseudo + body), 16)) + body[4:]


def four(dice: Dice, stage: Stage, protocol: int, payload: bytes, dst: bytes | None = None) -> bytes:
    packet = ipv4(dice, dice.source(stage, False), dst or dice.address(stage, False), protocol, payload, ident=dice.getrandbits(16))
    return ether(dice.target_mac(stage), dice.mac(stage), IPV4, packet)


def six(dice: Dice, stage: Stage, following: int, payload: Callable[[bytes, bytes], bytes], hops: int, dst: bytes | None = None) -> bytes:
    src, to = dice.source(stage, True), dst or dice.address(stage, True)
    return ether(dice.target_mac(stage), dice.mac(stage), IPV6, ipv6(dice, src, to, following, payload(src, to), hops))


def arp(dice: Dice, stage: Stage) -> bytes:
    head = struct.pack("!HHBBH", dice.number(1, 16), dice.number(IPV4, 16), dice.number(6, 8), dice.number(4, 8), dice.number(1, 16) or 2)
    body = dice.mac(stage) + dice.source(stage, False) + dice.target_mac(stage) + dice.address(stage, False)
    return ether(dice.target_mac(stage), dice.mac(stage), dice.choice((ARP, ARP, ARP, RARP)), head + body + MARK)


def options(dice: Dice, kinds: tuple[int, ...], layout: str) -> bytes:
    """Type, length, value; the length lies now and then."""
    made = b""
    for _ in range(dice.randrange(8)):
        value = dice.randbytes(dice.choice((0, 1, 4, 4, 6, 16, 64)))
        width = 8 * struct.calcsize(layout[1:])
        made += struct.pack(layout, dice.choice(kinds), dice.number(len(value), width // 2)) + value
    return made


def dhcp(dice: Dice, stage: Stage) -> bytes:
    """From a client, and from a server that is none (RFC 2131)."""
    server = dice.random() < 0.4
    head = struct.pack("!BBBBIHH", dice.number(1 + server, 8), dice.number(1, 8), dice.number(6, 8), 0, 7, dice.number(0, 16), 0x8000)
    places = b"".join(dice.address(stage, False) for _ in range(4)) + dice.mac(stage).ljust(16, b"\0") + dice.junk(150).ljust(192, b"\0")
    said = b"\x35\x01" + bytes((dice.number(dice.randrange(1, 9), 8),)) + options(dice, (12, 50, 51, 54, 55, 61, 82, 0, 255), "!BB")
    magic = dice.mostly(b"\x63\x82\x53\x63", b"", b"\x63\x82\x53\x64")
    assert isinstance(magic, bytes)
    ports = (67, 68) if server else (68, 67)
    packet = udp(dice, *ports, head + places + magic + said + b"\xff" + MARK)
    src = dice.source(stage, False) if dice.random() < 0.5 else NOBODY4
    dst = dice.choice((ALL4, stage.gateway.v4))
    to = dice.choice((BROADCAST, stage.gateway.mac))
    return ether(to, dice.mac(stage), IPV4, ipv4(dice, src, dst, UDP, packet))


def dhcp6(dice: Dice, stage: Stage) -> bytes:
    server = dice.random() < 0.4
    kind = dice.number(dice.choice((2, 7)) if server else dice.choice((1, 3, 5, 11)), 8)
    body = struct.pack("!I", kind << 24 | dice.getrandbits(24)) + options(dice, (1, 2, 3, 5, 6, 8, 13, 25), "!HH") + MARK
    packet = udp(dice, *((547, 546) if server else (546, 547)), body)
    return six(dice, stage, UDP, lambda src, dst: packet, 1, dice.choice((DHCP6, HOSTS6, stage.gateway.link_local)))


def dns(dice: Dice, stage: Stage) -> bytes:
    """Questions with names that point at themselves, counts that lie, labels longer than there are bytes (RFC 1035, 4.1.4)."""
    counts = struct.pack("!4H", *(dice.number(right, 16) for right in (1, 0, 0, 1)))
    label = dice.randbytes(dice.choice((1, 5, 63)))
    name = dice.choice((b"\xc0\x0c", bytes((len(label),)) + label + b"\0", b"\xff" * 3, b"\0", bytes((63,)) * 100, b"\xc0\xff"))
    question = name + struct.pack("!HH", dice.number(1, 16), dice.number(1, 16)) + options(dice, (0, 41, 250), "!HH")
    message = struct.pack("!HH", dice.getrandbits(16), dice.number(0x0100, 16)) + counts + question + MARK
    ports = (53, dice.getrandbits(16)) if dice.random() < 0.2 else (dice.randrange(1024, 65536), 53)
    return four(dice, stage, UDP, udp(dice, *ports, message), dice.choice((stage.gateway.v4, stage.gateway.v4, None)))


def nd(dice: Dice, stage: Stage) -> bytes:
    """Solicitations and advertisements of neighbours, redirects (RFC 4861, 4.3 to 4.5)."""
    kind = dice.choice((135, 136, 136, 137))
    option = bytes((dice.choice((1, 2)), dice.number(1, 8))) + dice.mac(stage)
    body = struct.pack("!BBHI", kind, dice.number(0, 8), 0, dice.getrandbits(32)) + dice.source(stage, True)
    body += (dice.address(stage, True) if kind == 137 else b"") + (option if dice.random() < 0.8 else b"") + MARK
    return six(dice, stage, ICMPV6, lambda src, dst: icmp6(dice, src, dst, body), 255)


def ra(dice: Dice, stage: Stage) -> bytes:
    """Router advertisements, and solicitations (RFC 4861, 4.1 and 4.2)."""
    if dice.random() < 0.3:
        body = struct.pack("!BBHI", 133, 0, 0, 0)
    else:
        body = struct.pack("!BBHBBHII", 134, dice.number(0, 8), 0, 64, dice.number(0, 8), dice.number(1800, 16), 0, 0)
    body += options(dice, (1, 2, 3, 5, 24, 25, 31), "!BB") + MARK
    return six(dice, stage, ICMPV6, lambda src, dst: icmp6(dice, src, dst, body), 255, dice.choice((HOSTS6, ROUTERS6, None)))


def igmp(dice: Dice, stage: Stage) -> bytes:
    group = dice.choice((b"\xe0\x00\x00\xfb", b"\xef\x01\x02\x03", bytes(4), dice.randbytes(4)))
    kind = dice.number(dice.choice((0x11, 0x12, 0x16, 0x17, 0x22)), 8)
    records = struct.pack("!HH", 0, dice.number(1, 16)) + struct.pack("!BBH", dice.number(4, 8), 0, dice.number(0, 16)) + group
    body = bytes((kind, dice.number(0, 8), 0, 0)) + (records if kind == 0x22 else group) + dice.junk(40)
    body = body[:2] + struct.pack("!H", dice.number(checksum(body), 16)) + body[4:]
    return four(dice, stage, IGMP, body, dice.choice((group, b"\xe0\x00\x00\x01", b"\xe0\x00\x00\x16")))


def mld(dice: Dice, stage: Stage) -> bytes:
    group = dice.choice((HOSTS6, b"\xff\x05" + dice.randbytes(14), bytes(16)))
    kind = dice.choice((130, 131, 132, 143))
    records = struct.pack("!BBHHH", kind, 0, 0, 0, dice.number(1, 16)) + struct.pack("!BBH", dice.number(4, 8), dice.number(0, 8), 1) + group
    body = (records if kind == 143 else struct.pack("!BBHHH", kind, 0, 0, 0, 0) + group) + dice.junk(40)
    return six(dice, stage, ICMPV6, lambda src, dst: icmp6(dice, src, dst, body), 1, dice.choice((HOSTS6, group)))


def fragment(dice: Dice, stage: Stage) -> bytes:
    """Tiny, overlapping, endless, and last ones without a first, of all that is guarded when whole (RFC 1858, 6980, 7113)."""
    offset = dice.choice((0, 0, 1, 2, 3, 64, 8191))
    more = dice.random() < 0.7
    inner = dice.choice((udp(dice, 67, 68, dice.junk(200)), udp(dice, 68, 67, dice.junk(40)), dice.junk(60), dice.randbytes(8)))
    if dice.random() < 0.5:
        protocol = dice.choice((UDP, UDP, TCP, ICMP, IGMP, 255))
        packet = ipv4(dice, dice.source(stage, False), dice.address(stage, False), protocol, inner, more << 13 | offset, dice.randrange(4))
        return ether(dice.target_mac(stage), dice.mac(stage), IPV4, packet)
    following = dice.choice((UDP, ICMPV6, TCP, 60, FRAGMENT, 59))
    advert = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + MARK
    head = struct.pack("!BBHI", following, 0, offset << 3 | more, dice.randrange(4))
    return six(dice, stage, FRAGMENT, lambda src, dst: head + (advert if following == ICMPV6 else inner), 255)


def stray(dice: Dice, stage: Stage) -> bytes:
    """Any type of frame, and a guest that speaks the overlay's own words."""
    if dice.random() < 0.3:
        geneve = struct.pack("!HHI", 0, 0x6558, dice.getrandbits(32)) + ether(BROADCAST, stage.me.mac, IPV4, MARK)
        return four(dice, stage, UDP, udp(dice, dice.getrandbits(16), dice.choice((6081, 4789)), geneve))
    return ether(dice.target_mac(stage), dice.mac(stage), dice.choice((0x0000, 0x05FF, 0x88CC, 0x8809, 0x8902, 0xFFFF)), dice.junk(80))


KINDS: tuple[Callable[[Dice, Stage], bytes], ...] = (arp, dhcp, dhcp6, dns, nd, ra, igmp, mld, fragment, stray)


def spoil(dice: Dice, frame: bytes) -> bytes:
    """Now and then: tags before it, an end that is cut, bytes that are turned. A cut one is marked again behind its end, mostly."""
    luck = dice.random()
    if luck < 0.1:
        ids = dice.choices((0, 1, 5, 6, 0xFFF, dice.getrandbits(16)), k=dice.randrange(1, 4))
        return frame[:12] + b"".join(struct.pack("!HH", dice.choice(TAGS), vid) for vid in ids) + frame[12:]
    if luck < 0.25:
        return frame[: dice.randrange(14, max(15, len(frame)))] + (MARK if dice.random() < 0.8 else b"")
    if luck < 0.35:
        turned = bytearray(frame)
        for _ in range(dice.randrange(1, 6)):
            turned[dice.randrange(12, len(turned))] = dice.getrandbits(8)
        return bytes(turned) + MARK
    return frame


def malformed(seed: int, stage: Stage) -> Iterator[bytes]:
    """Frames without end, each kind in turn; none is longer than an Ethernet frame of 1500 bytes."""
    dice = Dice(seed)
    while True:
        for kind in KINDS:
            yield spoil(dice, kind(dice, stage))[:1500]
