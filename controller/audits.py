"""New connections that a policy which decides nothing would drop: one line in the log for each that a switch tells of.

Switches send the first bytes of such a connection's first packet, a few a second (`weft.apps.policies`). The cookie of the flow leads to the
policy, a register of the packet to the endpoint it is about.
"""

import logging
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from struct import Struct

from weft.apps.fields import FIELDS, IP, IPV6
from weft.apps.flow import Program
from weft.apps.pipeline import NOTE, SELF
from weft.controller import wire
from weft.controller.connection import Answer, Connection
from weft.controller.oxm import header
from weft.topology.model import Fabric

log = logging.getLogger("weft.audit")

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}
PORTS = ("tcp", "udp", "sctp")
_SELF = Struct("!I").pack(header(FIELDS[SELF.field]))


class Audits:
    """Hears the packet-ins of the fabric's switches."""

    def __init__(self, fabric: Callable[[], Fabric | None], programs: Callable[[], Mapping[int, Program]]) -> None:
        self._fabric, self._programs = fabric, programs
        self._cookies: dict[int, tuple[Program, dict[int, str]]] = {}

    def answer_for(self, connection: Connection) -> Answer:
        def hear(data: bytes, begin: int, end: int) -> bytes:
            cookie, match, frame = packet_in(data[begin:end])
            name = self._named(connection.dpid).get(cookie)
            if name is not None:
                log.info("audit %s: would drop %s%s", name, packet_text(frame), self._about(connection, match, frame))
            return b""

        return hear

    def _named(self, dpid: int) -> dict[int, str]:
        """The policies of a switch's flows that tell of packets, by cookie."""
        program = self._programs().get(dpid)
        if program is None:
            return {}
        known = self._cookies.get(dpid)
        if known is None or known[0] is not program:
            notes = {
                flow.cookie: key[2]
                for key, unit in program.units.items()
                if key[1] == "policy"
                for flow in unit
                if flow.table == NOTE.number
            }
            known = self._cookies[dpid] = program, notes
        return known[1]

    def _about(self, connection: Connection, match: bytes, frame: bytes) -> str:
        """The endpoint it is judged for, and whether it is its receiver or its sender."""
        at = match.find(_SELF)
        number = int.from_bytes(match[at + 4 : at + 8], "big") & SELF.mask if at >= 0 else 0
        port = next((name for name, held in connection.ports.items() if held == number), "")
        fabric = self._fabric()
        for endpoint in fabric.endpoints.values() if fabric else ():
            if endpoint.port == port and fabric and fabric.hosts[endpoint.host].dpid == connection.dpid:
                sent = frame[6:12].hex() == endpoint.mac.replace(":", "")
                return f" {'from' if sent else 'to'} {endpoint.name}"
        return ""


def packet_in(message: bytes) -> tuple[int, bytes, bytes]:
    """Cookie, match and frame. Raises Malformed."""
    if len(message) < 32:
        raise wire.Malformed("half a packet-in")
    cookie, _, length = Struct("!QHH").unpack_from(message, 16)
    begin = 24 + (length + 7) // 8 * 8 + 2
    if length < 4 or begin > len(message):
        raise wire.Malformed("a packet-in that lies about its match")
    return cookie, message[28 : 24 + length], message[begin:]


def packet_text(frame: bytes) -> str:
    """``udp 10.0.0.1:555 > 10.0.0.2:53``; IPv6 addresses in brackets where a port follows."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == IP and len(frame) >= 34:
        proto, source, target, upper = frame[23], frame[26:30], frame[30:34], 14 + (frame[14] & 15) * 4
    elif kind == IPV6 and len(frame) >= 54:
        proto, source, target, upper = frame[20], frame[22:38], frame[38:54], 54
    else:
        return f"a packet of type {kind:#06x}"
    word = PROTOCOLS.get(proto, f"protocol {proto}")
    one, other = str(ip_address(source)), str(ip_address(target))
    if word not in PORTS or len(frame) < upper + 4:
        return f"{word} {one} > {other}"
    if kind == IPV6:
        one, other = f"[{one}]", f"[{other}]"
    sport, dport = Struct("!HH").unpack_from(frame, upper)
    return f"{word} {one}:{sport} > {other}:{dport}"
