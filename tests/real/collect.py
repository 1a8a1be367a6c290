"""What collectors hear, decoded as far as the addresses of a flow: sFlow 5, NetFlow 5 (Cisco), IPFIX (RFC 7011)."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

from tests.real.taps import within


class Flow(NamedTuple):
    """From whom to whom; ports 0 where there are none."""

    source: str
    target: str
    sport: int
    dport: int


Templates = dict[tuple[int, int], list[tuple[int, int, int]]]
"""By observation domain and template: (enterprise, element, octets)."""


def sflow(datagram: bytes) -> Iterator[Flow]:
    version, family = struct.unpack_from("!II", datagram)
    assert version == 5, version
    at = 8 + (4 if family == 1 else 16) + 12
    (samples,) = struct.unpack_from("!I", datagram, at)
    at += 4
    for _ in range(samples):
        kind, octets = struct.unpack_from("!II", datagram, at)
        if kind in (1, 3):
            yield from _sample(datagram[at + 8 : at + 8 + octets], 28 if kind == 1 else 40)
        at += 8 + octets
    assert at == len(datagram)


def _sample(sample: bytes, at: int) -> Iterator[Flow]:
    (records,) = struct.unpack_from("!I", sample, at)
    at += 4
    for _ in range(records):
        kind, octets = struct.unpack_from("!II", sample, at)
        if kind == 1:
            _, _, _, length = struct.unpack_from("!IIII", sample, at + 8)
            yield from frame(sample[at + 24 : at + 24 + length])
        at += 8 + octets


def frame(octets: bytes) -> Iterator[Flow]:
    """An Ethernet frame, or as much of it as was kept."""
    at = 18 if octets[12:14] == b"\x81\x00" else 14
    if octets[at - 2 : at] == b"\x08\x00" and len(octets) >= at + 20:
        ends = [str(IPv4Address(octets[at + place : at + place + 4])) for place in (12, 16)]
        ports = at + (octets[at] & 15) * 4
        known = octets[at + 9] in (6, 17) and len(octets) >= ports + 4
        yield Flow(ends[0], ends[1], *(struct.unpack_from("!HH", octets, ports) if known else (0, 0)))


def netflow(datagram: bytes) -> Iterator[Flow]:
    version, records = struct.unpack_from("!HH", datagram)
    assert version == 5, version
    assert len(datagram) == 24 + 48 * records
    for number in range(records):
        at = 24 + 48 * number
        ends = [str(IPv4Address(datagram[at + place : at + place + 4])) for place in (0, 4)]
        yield Flow(ends[0], ends[1], *struct.unpack_from("!HH", datagram, at + 32))


def ipfix(templates: Templates) -> Callable[[bytes], Iterator[Flow]]:
    """A decoder that keeps what templates it is told in `templates`."""

    def decode(message: bytes) -> Iterator[Flow]:
        version, length, _, _, domain = struct.unpack_from("!HHIII", message)
        assert (version, length) == (10, len(message))
        at = 16
        while at < length:
            number, octets = struct.unpack_from("!HH", message, at)
            body = message[at + 4 : at + octets]
            if number == 2:
                _learn(body, domain, templates)
            elif number >= 256 and (domain, number) in templates:
                yield from _records(body, templates[domain, number])
            at += octets

    return decode


def _learn(body: bytes, domain: int, templates: Templates) -> None:
    at = 0
    while at + 4 <= len(body):
        number, fields = struct.unpack_from("!HH", body, at)
        at += 4
        found = []
        for _ in range(fields):
            element, octets = struct.unpack_from("!HH", body, at)
            at += 4
            enterprise = 0
            if element & 0x8000:
                (enterprise,) = struct.unpack_from("!I", body, at)
                at += 4
            found.append((enterprise, element & 0x7FFF, octets))
        templates[domain, number] = found


def _records(body: bytes, template: list[tuple[int, int, int]]) -> Iterator[Flow]:
    """Elements: 8 and 12 are IPv4 addresses, 7 and 11 ports (RFC 7012)."""
    at, least = 0, sum(octets if octets != 0xFFFF else 1 for _, _, octets in template)
    while at + least <= len(body):
        values = {}
        for enterprise, element, octets in template:
            if octets == 0xFFFF:
                octets, at = body[at], at + 1
            values[enterprise, element] = body[at : at + octets]
            at += octets
        if (0, 8) in values:
            ports = (int.from_bytes(values.get((0, element), b""), "big") for element in (7, 11))
            yield Flow(str(IPv4Address(values[0, 8])), str(IPv4Address(values[0, 12])), *ports)


class Collector:
    """A UDP socket in a namespace."""

    def __init__(self, namespace: str, port: int, decode: Callable[[bytes], Iterator[Flow]]) -> None:
        self._decode = decode
        with within(namespace):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("0.0.0.0", port))
        self._socket.settimeout(0.2)

    def close(self) -> None:
        self._socket.close()

    def hears(self, flow: Flow, seconds: float) -> bool:
        """Whether a flow is told of before so much time has passed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                datagram = self._socket.recv(65536)
            except TimeoutError:
                continue
            if flow in self._decode(datagram):
                return True
        return False
