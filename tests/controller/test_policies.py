"""What the controller reads of policies: counters of flows, and the packets that a trial policy would drop."""

from contextlib import suppress
from struct import Struct
from struct import error as StructError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.controller import wire
from weft.controller.audits import packet_in, packet_text
from weft.controller.counters import counted

ETHERNET = bytes.fromhex("0a00000000020a0000000001")
V4 = ETHERNET + bytes.fromhex("0800" "4500001c000000004011" "0000" "0a000001" "0a000002")
V6 = ETHERNET + bytes.fromhex("86dd" "60000000" "0008" "06" "40") + bytes.fromhex("fd" + "00" * 14 + "01" + "fd" + "00" * 14 + "02")
PORTS = bytes.fromhex("022b0035")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (V4 + PORTS, "udp 10.0.0.1:555 > 10.0.0.2:53"),
        (V6 + PORTS, "tcp [fd00::1]:555 > [fd00::2]:53"),
        (V4, "udp 10.0.0.1 > 10.0.0.2"),
        (V4[:23] + b"\1" + V4[24:], "icmp 10.0.0.1 > 10.0.0.2"),
        (V4[:23] + b"\x2f" + V4[24:], "protocol 47 10.0.0.1 > 10.0.0.2"),
        (ETHERNET + b"\x88\xcc", "a packet of type 0x88cc"),
        (V4[:20], "a packet of type 0x0800"),
    ],
)
def test_a_packet_is_said_in_words(frame: bytes, said: str) -> None:
    assert packet_text(frame) == said


def test_a_packet_in_is_taken_apart() -> None:
    match = bytes.fromhex("8000000400000007" "0001080400000005")
    head = Struct("!BBHIIHBBQHH").pack(5, wire.PACKET_IN, 0, 1, 0xFFFFFFFF, 9, 1, 13, 0x7765667400000123, 1, 4 + len(match))
    message = head + match + bytes(4) + bytes(2) + V4
    assert packet_in(message) == (0x7765667400000123, match, V4)


@given(st.binary(max_size=120))
def test_a_packet_in_of_garbage_is_refused_or_read(data: bytes) -> None:
    with suppress(wire.Malformed, StructError):
        packet_text(packet_in(data)[2])


def flow_stats(cookie: int, packets: int, octets: int) -> bytes:
    return Struct("!HBxIIHHHHIQQQHH4x").pack(56, 14, 1, 0, 10, 0, 0, 0, 0, cookie, packets, octets, 1, 4)


def test_counters_are_read_of_every_flow() -> None:
    assert list(counted(flow_stats(1, 2, 3) + flow_stats(4, 5, 6))) == [(1, 2, 3), (4, 5, 6)]


@given(st.binary(max_size=200))
def test_counters_of_garbage_are_refused_and_never_endless(body: bytes) -> None:
    with suppress(wire.Malformed):
        assert len(list(counted(body))) * 56 <= len(body)
