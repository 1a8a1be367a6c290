"""What IGMP and MLD say, read from frames and written as queries. Whatever is malformed says nothing.

IGMPv1 to v3 (RFC 1112, RFC 2236, RFC 3376) and MLDv1 and v2 (RFC 2710, RFC 3810). Of sources only whether there are any counts: a group
that somebody wants from one sender is forwarded from all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from struct import error as StructError

from weft.topology.names import link_local

VLAN_TYPES = (0x8100, 0x88A8)
IGMP, ICMPV6, HOP_BY_HOP = 2, 58, 0
V1_REPORT, QUERY, V2_REPORT, LEAVE, V3_REPORT = 0x12, 0x11, 0x16, 0x17, 0x22
MLD_QUERY, MLD_REPORT, MLD_DONE, MLD2_REPORT = 130, 131, 132, 143
INCLUDE, EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW = 1, 2, 3, 4, 5
"""Kinds of group records (RFC 3376, 4.2.12)."""
RECORDS_MOST = 512
"""Group records of one report that are looked at."""
QUERY_EVERY = 125
"""Seconds (RFC 3376, 8.2), as queries say it."""

Group = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Report:
    """An endpoint wants a group, or wants it no more."""

    group: Group
    joined: bool


@dataclass(frozen=True, slots=True)
class Query:
    """Somebody asks who wants groups: a multicast router."""

    general: bool


Said = Report | Query


def said(frame: bytes) -> tuple[Said, ...]:
    """What an Ethernet frame says of groups."""
    try:
        return tuple(_frame(frame))
    except (StructError, IndexError, ValueError):
        return ()


def untagged(frame: bytes) -> bytes:
    while int.from_bytes(frame[12:14], "big") in VLAN_TYPES:
        frame = frame[:12] + frame[16:]
    return frame


def _frame(frame: bytes) -> Iterator[Said]:
    plain = untagged(frame)
    kind, packet = int.from_bytes(plain[12:14], "big"), plain[14:]
    if kind == 0x0800 and packet[0] >> 4 == 4 and packet[9] == IGMP:
        length, whole = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
        fragment = int.from_bytes(packet[6:8], "big") & 0x3FFF
        body = packet[length:whole]
        if length >= 20 and whole <= len(packet) and not fragment and len(body) >= 8 and checksum(body) == 0:
            yield from _igmp(body)
    elif kind == 0x86DD and packet[0] >> 4 == 6:
        yield from _mld(packet)


def _igmp(body: bytes) -> Iterator[Said]:
    group = IPv4Address(body[4:8])
    match body[0]:
        case 0x11:
            yield Query(not int(group))
        case 0x12 | 0x16 if group.is_multicast:
            yield Report(group, True)
        case 0x17 if group.is_multicast:
            yield Report(group, False)
        case 0x22:
            yield from _records(body, 4)


def _mld(packet: bytes) -> Iterator[Said]:
    """From a link-local sender, with hop limit 1 (RFC 3810, 5), behind a hop-by-hop header that holds the router alert."""
    whole, sender = 40 + int.from_bytes(packet[4:6], "big"), IPv6Address(packet[8:24])
    if whole > len(packet) or packet[7] != 1 or not (sender.is_link_local or not int(sender)):
        return
    following, at = packet[6], 40
    if following == HOP_BY_HOP:
        following, at = packet[at], at + 8 + packet[at + 1] * 8
    body = packet[at:whole]
    pseudo = packet[8:40] + Struct("!I3xB").pack(len(body), ICMPV6)
    if following != ICMPV6 or len(body) < 8 or checksum(pseudo + body) != 0:
        return
    if body[0] == MLD2_REPORT:
        yield from _records(body, 16)
    elif len(body) >= 24:
        group = IPv6Address(body[8:24])
        if body[0] == MLD_QUERY:
            yield Query(not int(group))
        elif body[0] in (MLD_REPORT, MLD_DONE) and group.is_multicast:
            yield Report(group, body[0] == MLD_REPORT)


def _records(body: bytes, octets: int) -> Iterator[Report]:
    """Group records, alike in IGMPv3 and MLDv2 but for the length of an address. Half a record makes the whole report void."""
    (count,) = Struct("!6xH").unpack_from(body)
    at, found = 8, []
    for _ in range(count):
        kind, extra, sources = Struct("!BBH").unpack_from(body, at)
        raw = body[at + 4 : at + 4 + octets]
        at += 4 + octets * (1 + sources) + extra * 4
        if at > len(body):
            raise ValueError("a record that is cut short")
        group: Group = IPv4Address(raw) if octets == 4 else IPv6Address(raw)
        if not group.is_multicast:
            continue
        if kind in (EXCLUDE, TO_EXCLUDE) or (kind in (INCLUDE, TO_INCLUDE, ALLOW) and sources):
            found.append(Report(group, True))
        elif kind in (INCLUDE, TO_INCLUDE):
            found.append(Report(group, False))
    yield from found[:RECORDS_MOST]


def checksum(data: bytes) -> int:
    """Of the Internet (RFC 1071); 0 over what holds a right one."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(Struct(f"!{len(data) // 2}H").unpack(data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def queries(mac: str, tag: int | None, seconds: int) -> tuple[bytes, bytes]:
    """General queries, IGMPv3 and MLDv2, to be answered within so many seconds. Ours is no address that would win an election of queriers: a
    sender of 0.0.0.0 never does (RFC 4541, 2.1.1(1.b))."""
    sender = bytes.fromhex(mac.replace(":", ""))
    tagged = b"" if tag is None else Struct("!HH").pack(0x8100, tag)
    return (
        bytes.fromhex("01005e000001") + sender + tagged + b"\x08\0" + _igmp_query(seconds * 10),
        bytes.fromhex("333300000001") + sender + tagged + b"\x86\xdd" + _mld_query(link_local(mac), seconds * 1000),
    )


def _igmp_query(tenths: int) -> bytes:
    body = Struct("!BBH4sBBH").pack(QUERY, tenths, 0, bytes(4), 2, QUERY_EVERY, 0)
    body = body[:2] + Struct("!H").pack(checksum(body)) + body[4:]
    head = Struct("!BBHHHBBH4s4sI").pack(0x46, 0xC0, 24 + len(body), 0, 0, 1, IGMP, 0, bytes(4), bytes((224, 0, 0, 1)), 0x94040000)
    return head[:10] + Struct("!H").pack(checksum(head)) + head[12:] + body


def _mld_query(sender: IPv6Address, milliseconds: int) -> bytes:
    receiver = IPv6Address("ff02::1").packed
    body = Struct("!BBHHH16sBBH").pack(MLD_QUERY, 0, 0, milliseconds, 0, bytes(16), 2, QUERY_EVERY, 0)
    pseudo = sender.packed + receiver + Struct("!I3xB").pack(len(body), ICMPV6)
    body = body[:2] + Struct("!H").pack(checksum(pseudo + body)) + body[4:]
    alert = bytes((ICMPV6, 0, 5, 2, 0, 0, 1, 0))
    return Struct("!IHBB").pack(6 << 28, len(alert) + len(body), HOP_BY_HOP, 1) + sender.packed + receiver + alert + body
