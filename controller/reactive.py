"""The learning switch by packet-in: for switches that are not Open vSwitch, and for `--bare reactive`. VLANs are kept apart."""

from collections.abc import Collection
from struct import Struct

from weft.apps.flow import ALL
from weft.controller import wire
from weft.controller.oxm import field_bytes
from weft.topology.names import LEARNED_COOKIE

IDLE_SECONDS = 60
"""Seconds that a flow outlives its last packet."""
MACS_MOST = 16384
PRIORITY = 10
_FAST = Struct("!26xHII6x6s6sHH")
_SENT = Struct("!BBHIQQBBHHHIIIHHHHIII6sI6sIH2xHH4xHHIH6x" + wire.PACKET_OUT_HEAD.format[1:])
_FLOW_MOD_OCTETS = _SENT.size - wire.PACKET_OUT_HEAD.size


class Learner:
    """(VLAN, MAC) -> port of one switch. `answer` is a `weft.controller.connection.Answer`."""

    def __init__(self, version: int) -> None:
        self._ports: dict[tuple[int, bytes], int] = {}
        self._version = version

    def answer(self, data: bytes, begin: int, end: int) -> bytes:
        """Learns the sender; then a flow and the packet to a receiver that is known, else the packet to all."""
        port, vlan, target, source, frame = packet_in(data, begin, end)
        ports, before = self._ports, b""
        if ports.get((vlan, source)) != port and not source[0] & 1:
            before = self._learn(vlan, source, port)
        out = ports.get((vlan, target))
        if out is None:
            return before + wire.packet_out(self._version, 0, port, ALL, data[frame:end])
        if out == port:
            return before
        return before + both(self._version, (port, vlan, source, target), out, data[frame:end])

    def _learn(self, vlan: int, source: bytes, port: int) -> bytes:
        """What to tell the switch first: where the MAC was elsewhere before, flows still lead there."""
        moved = self._ports.pop((vlan, source), None) is not None
        if len(self._ports) >= MACS_MOST:
            del self._ports[next(iter(self._ports))]  # the longest known
        self._ports[vlan, source] = port
        return forget(self._version, vlan, source) if moved else b""

    def keep(self, numbers: Collection[int]) -> None:
        """Ports are gone: only `numbers` are there still."""
        self._ports = {mac: port for mac, port in self._ports.items() if port in numbers}


def packet_in(data: bytes, begin: int, end: int) -> tuple[int, int, bytes, bytes, int]:
    """Port, VLAN (0: none), receiver, sender and where the frame begins. Raises Malformed, struct.error."""
    if end - begin >= 58:
        length, head, port, target, source, tpid, tci = _FAST.unpack_from(data, begin)
        if length == 12 and head == wire.IN_PORT_OXM:
            return port, tci & 0xFFF if tpid == 0x8100 else 0, target, source, begin + 42
    port, frame = _searched(data, begin, end)
    tagged = data[frame + 12 : frame + 14] == b"\x81\0"
    vlan = int.from_bytes(data[frame + 14 : frame + 16], "big") & 0xFFF if tagged else 0
    return port, vlan, data[frame : frame + 6], data[frame + 6 : frame + 12], frame


def _searched(data: bytes, begin: int, end: int) -> tuple[int, int]:
    """Port and frame of any packet-in."""
    (length,) = Struct("!26xH").unpack_from(data, begin)
    frame = begin + 24 + (length + 7) // 8 * 8 + 2
    if length < 4 or frame + 14 > end:
        raise wire.Malformed("a packet-in that lies about its length")
    at, stop = begin + 28, begin + 24 + length
    while at + 8 <= stop:
        head, value = Struct("!II").unpack_from(data, at)
        if head == wire.IN_PORT_OXM:
            return value, frame
        at += 4 + (head & 0xFF)
    raise wire.Malformed("a packet-in from no port")


def both(version: int, key: tuple[int, int, bytes, bytes], out: int, data: bytes) -> bytes:
    """A flow for what comes by `key` (port, VLAN, sender, receiver) and the packet itself, to `out`."""
    port, vlan, source, target = key
    vid = vlan | 0x1000 if vlan else 0
    return _SENT.pack(
        version, wire.FLOW_MOD, _FLOW_MOD_OCTETS, 0, LEARNED_COOKIE, 0, 0, wire.ADD, IDLE_SECONDS, 0, PRIORITY,
        wire.NO_BUFFER, wire.ANY_PORT, wire.ANY_GROUP, 0, 0, 1, 38,
        0x80000004, port, 0x80000806, source, 0x80000606, target, 0x80000C02, vid,
        4, 24, 0, 16, out, 0,
        version, wire.PACKET_OUT, 40 + len(data), 0, wire.NO_BUFFER, port, 16, 0, 16, out, 0,
    ) + data  # fmt: skip


def forget(version: int, vlan: int, target: bytes) -> bytes:
    """Takes the learned flows to a MAC away."""
    vid = vlan | 0x1000 if vlan else 0
    match = field_bytes("eth_dst", int.from_bytes(target, "big")) + field_bytes("vlan_vid", vid)
    message = wire.flow_mod(version, 0, wire.DELETE, (0, 0, match), LEARNED_COOKIE)
    return message[:16] + b"\xff" * 8 + message[24:]  # the mask of the cookie: all of it
