"""Packets as the pipeline sees them: a mapping from field name (ovs-fields(7)) to number, and nothing of their bytes.

A field that a packet does not have is absent, and no match on it holds. ``vlan_vid`` 0 means untagged. ``octets`` is how long its
frame is, where that matters: no match knows it (`weft.apps.flow.Larger` does), and without it a frame is a small one.
"""

from ipaddress import IPv4Address, IPv6Address

from weft.apps.fields import ARP, ICMP, ICMPV6, IP, IPV6, TCP, UDP
from weft.apps.flow import mac_number
from weft.topology.terms import Address

Packet = dict[str, int]

BROADCAST = 0xFFFFFFFFFFFF
ECHO_REQUEST, ECHO_REPLY = (8, 128), (0, 129)
"""ICMP types, for IPv4 and IPv6 (RFC 792, RFC 4443)."""


def frame(src: str, dst: str | int, ethertype: int, **fields: int) -> Packet:
    receiver = dst if isinstance(dst, int) else mac_number(dst)
    return {"eth_src": mac_number(src), "eth_dst": receiver, "eth_type": ethertype, "vlan_vid": 0, "vlan_pcp": 0, **fields}


def question(mac: str, address: Address, target: Address) -> Packet:
    """Who has `target`: an ARP request, or a neighbour solicitation to the solicited-node group (RFC 4291, 2.7.1)."""
    if isinstance(target, IPv4Address):
        arp = {"arp_op": 1, "arp_spa": int(address), "arp_tpa": int(target), "arp_sha": mac_number(mac), "arp_tha": 0}
        return frame(mac, BROADCAST, ARP, **arp)
    group = 0xFF02 << 112 | 0x1FF << 24 | int(target) & 0xFFFFFF
    nd = {"icmpv6_type": 135, "icmpv6_code": 0, "nd_target": int(target), "nd_sll": mac_number(mac)}
    receiver = 0x3333 << 32 | group & 0xFFFFFFFF
    return frame(mac, receiver, IPV6, ipv6_src=int(address), ipv6_dst=group, ip_proto=ICMPV6, nw_ttl=255, ip_dscp=0, **nd)


def datagram(src: str, dst: str | int, source: Address, target: Address, proto: int, **fields: int) -> Packet:
    """An IPv4 or IPv6 packet with the fields of its upper layer."""
    if isinstance(source, IPv4Address):
        return frame(src, dst, IP, ip_src=int(source), ip_dst=int(target), ip_proto=proto, nw_ttl=64, ip_dscp=0, **fields)
    return frame(src, dst, IPV6, ipv6_src=int(source), ipv6_dst=int(target), ip_proto=proto, nw_ttl=64, ip_dscp=0, **fields)


def echo(src: str, dst: str | int, source: Address, target: Address, types: tuple[int, int] = ECHO_REQUEST) -> Packet:
    if isinstance(source, IPv4Address):
        return datagram(src, dst, source, target, ICMP, icmp_type=types[0], icmp_code=0)
    return datagram(src, dst, source, target, ICMPV6, icmpv6_type=types[1], icmpv6_code=0)


SYN, ACK = 0x02, 0x10
"""TCP flags (RFC 9293, 3.1)."""


def segment_of(kind: str, src: str, dst: str | int, source: Address, target: Address, sport: int, dport: int, flags: int = SYN) -> Packet:
    """A TCP or UDP packet: `kind` is ``tcp`` or ``udp``; of TCP the first one, or what `flags` say."""
    ports = {f"{kind}_src": sport, f"{kind}_dst": dport, **({"tcp_flags": flags} if kind == "tcp" else {})}
    return datagram(src, dst, source, target, TCP if kind == "tcp" else UDP, **ports)


def error(about: Packet, src: str, dst: str | int, source: Address) -> Packet:
    """"Unreachable" for a TCP or UDP packet, from the address `source` to its sender. What it quotes of it is in ``quoted_…``, which no
    match knows (RFC 792, RFC 4443, 3.1)."""
    ends = addresses(about)
    assert ends is not None
    kind = "tcp" if "tcp_src" in about else "udp"
    ports = {"quoted_sport": about[f"{kind}_src"], "quoted_dport": about[f"{kind}_dst"]}
    quote = {"quoted_proto": about["ip_proto"], "quoted_src": int(ends[0]), "quoted_dst": int(ends[1]), **ports}
    return {**echo(src, dst, source, ends[0], (3, 1)), **quote}


def addresses(packet: Packet) -> tuple[Address, Address] | None:
    """Source and target of an IPv4 or IPv6 packet."""
    if "ip_src" in packet:
        return IPv4Address(packet["ip_src"]), IPv4Address(packet["ip_dst"])
    if "ipv6_src" in packet:
        return IPv6Address(packet["ipv6_src"]), IPv6Address(packet["ipv6_dst"])
    return None


def answer(packet: Packet, mac: str, own: tuple[Address, ...]) -> Packet | None:
    """What a station with these addresses answers: ARP, ND and ping; None: nothing."""
    me, sender = mac_number(mac), packet["eth_src"]
    if packet.get("arp_op") == 1 and IPv4Address(packet["arp_tpa"]) in own:
        swap = {"arp_spa": packet["arp_tpa"], "arp_tpa": packet["arp_spa"], "arp_sha": me, "arp_tha": sender}
        return frame(mac, sender, ARP, arp_op=2, **swap)
    ends = addresses(packet)
    if packet.get("icmpv6_type") == 135 and IPv6Address(packet["nd_target"]) in own and ends:
        nd = {"icmpv6_type": 136, "icmpv6_code": 0, "nd_target": packet["nd_target"], "nd_tll": me, "nw_ttl": 255}
        reply = datagram(mac, sender, IPv6Address(packet["nd_target"]), ends[0], ICMPV6)
        return {**reply, **nd}
    asks = packet.get("icmp_type") == ECHO_REQUEST[0] or packet.get("icmpv6_type") == ECHO_REQUEST[1]
    if asks and ends and ends[1] in own and packet["eth_dst"] == me:
        return echo(mac, sender, ends[1], ends[0], ECHO_REPLY)
    return None
