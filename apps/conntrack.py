"""Conntrack and NAT as the flows see them: zones of connections, good enough to walk packets through.

What it leaves out: time-outs, TCP's own states, helpers. A connection is established once it is committed, as in Open vSwitch's userspace
datapath. A tracked packet has the tuple of its connection's first packet in the ``ct_nw_…`` fields (ovs-fields(7)), an ICMP error that
of the connection it is about.
"""

from dataclasses import dataclass

from weft.apps.fields import CT_STATE, TCP, UDP
from weft.apps.flow import Nat
from weft.apps.packet import ECHO_REPLY, Packet

Tuple = tuple[int, int, int, int, int]
"""Protocol, source, source port, target, target port; for an ICMP echo the ports say request or reply."""

ERRORS, ERRORS_6 = (3, 11, 12), (1, 2, 3, 4)
"""Types of ICMP and ICMPv6 that quote a packet (RFC 792, RFC 4443): no conversation begins with one, and what is quoted is left out here."""

PORTS = (("tcp_src", "tcp_dst"), ("udp_src", "udp_dst"))

FREE_PORTS = range(1024, 65536)


@dataclass(slots=True)
class Connection:
    forward: Tuple
    """As its first packet came."""
    back: Tuple
    """As an answer comes, before translation is undone."""


class Conntrack:
    """The connections of one host: zones are shared by all its bridges."""

    def __init__(self) -> None:
        self._zones: dict[int, dict[Tuple, Connection]] = {}

    def inherit(self, other: "Conntrack") -> None:
        self._zones = other._zones

    def track(self, zone: int, packet: Packet, commit: bool, nat: Nat | None) -> Packet:
        """The packet with ct_state set and, where `nat` says so, translated."""
        seen, connections = tuple_of(packet), self._zones.setdefault(zone, {})
        about = quoted(packet)
        if about is not None:
            return _related(packet, zone, about, connections.get(about))
        if seen is None:
            return _invalid(packet, zone)
        connection = connections.get(seen)
        state = CT_STATE["trk"] | (CT_STATE["est"] if connection else CT_STATE["new"])
        if connection is None:
            connection = Connection(seen, _translated(seen, nat, connections))
            if commit:
                connections[connection.forward] = connections[connection.back] = connection
        answering = seen == connection.back and seen != connection.forward
        state |= CT_STATE["rpl"] if answering else 0
        tracked = {**packet, "ct_state": state, "ct_zone": zone, **_original(packet, connection)}
        if nat is None:
            return tracked
        return _rewritten(tracked, connection.forward if answering else connection.back)


def _invalid(packet: Packet, zone: int) -> Packet:
    return {**packet, "ct_state": CT_STATE["trk"] | CT_STATE["inv"], "ct_zone": zone}


def _related(packet: Packet, zone: int, about: Tuple, connection: Connection | None) -> Packet:
    """An ICMP error goes the other way than the packet that it quotes."""
    if connection is None:
        return _invalid(packet, zone)
    answering = CT_STATE["rpl"] if about == connection.forward else 0
    state = CT_STATE["trk"] | CT_STATE["rel"] | answering
    return {**packet, "ct_state": state, "ct_zone": zone, **_original(packet, connection)}


def _original(packet: Packet, connection: Connection) -> Packet:
    proto, src, sport, dst, dport = connection.forward
    ends = ("ct_nw_src", "ct_nw_dst") if "ip_src" in packet else ("ct_ipv6_src", "ct_ipv6_dst")
    return {ends[0]: src, ends[1]: dst, "ct_nw_proto": proto, "ct_tp_src": sport, "ct_tp_dst": dport}


def quoted(packet: Packet) -> Tuple | None:
    """The tuple of the packet that an ICMP error quotes (`weft.apps.packet.error`)."""
    if "quoted_proto" not in packet:
        return None
    proto, src, sport, dst, dport = (packet[f"quoted_{part}"] for part in ("proto", "src", "sport", "dst", "dport"))
    return proto, src, sport, dst, dport


def tuple_of(packet: Packet) -> Tuple | None:
    prefix = "ip" if "ip_src" in packet else "ipv6"
    if f"{prefix}_src" not in packet or packet.get("icmp_type") in ERRORS or packet.get("icmpv6_type") in ERRORS_6:
        return None
    sport, dport = next(((packet[src], packet[dst]) for src, dst in PORTS if src in packet), _echo(packet))
    return packet["ip_proto"], packet[f"{prefix}_src"], sport, packet[f"{prefix}_dst"], dport


def _echo(packet: Packet) -> tuple[int, int]:
    return (2, 1) if packet.get("icmp_type", packet.get("icmpv6_type")) in ECHO_REPLY else (1, 2)


def _translated(seen: Tuple, nat: Nat | None, taken: dict[Tuple, Connection]) -> Tuple:
    """The tuple an answer will have: with NAT, its source port moved to a free one if the port is taken."""
    proto, src, sport, dst, dport = seen
    if nat is not None and nat.src is not None:
        src = int(nat.src) or src
    if nat is not None and nat.dst is not None:
        dst, dport = int(nat.dst), nat.port or dport
    wanted = (proto, dst, dport, src, sport)
    allowed = range(nat.port, nat.last + 1) if nat is not None and nat.port and nat.last else None
    moved = wanted in taken or (allowed is not None and sport not in allowed)
    if nat is None or not moved or proto not in (TCP, UDP):
        return wanted
    return next(free for port in allowed or FREE_PORTS if (free := (proto, dst, dport, src, port)) not in taken)


def _rewritten(packet: Packet, other_way: Tuple) -> Packet:
    """The packet as the opposite of `other_way`."""
    _, dst, dport, src, sport = other_way
    prefix = "ip" if "ip_src" in packet else "ipv6"
    ports = next(({src_field: sport, dst_field: dport} for src_field, dst_field in PORTS if src_field in packet), {})
    return {**packet, f"{prefix}_src": src, f"{prefix}_dst": dst, **ports}
