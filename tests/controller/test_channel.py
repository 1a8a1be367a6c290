"""Faults of one connection are that connection's: it is closed and said so in one line, and the others notice nothing."""

import asyncio
import gc
import logging
import os
import socket
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.controller.conftest import House
from tests.controller.switches import FakeSwitch
from weft.controller import channel, wire
from weft.controller.channel import Channel
from weft.controller.connection import Connection
from weft.controller.ledger import Ledger
from weft.controller.reconcile import Reconciler
from weft.controller.service import Controller, Switch
from weft.topology.errors import WeftError

HELLO = wire.message(5, wire.HELLO, 1)


def packet_in(port: int = 1, source: str = "0a0000000002", version: int = 5) -> bytes:
    frame = bytes.fromhex("0a0000000001" + source) + b"\x08\0" + bytes(40)
    body = struct.pack("!IHBBQHHIIxxxxxx", 0xFFFFFFFF, len(frame), 0, 0, 0, 1, 12, wire.IN_PORT_OXM, port) + frame
    return wire.message(version, wire.PACKET_IN, 0, body)


async def says(path: Path, data: bytes) -> bytes:
    """All that the controller answers until it closes the connection."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    if data.startswith(HELLO):
        writer.write(HELLO)
        await reader.readexactly(24)  # its HELLO, and the beginning of its questions
    writer.write(data.removeprefix(HELLO))
    try:
        async with asyncio.timeout(3):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


BAD = {
    "a web browser": b"GET / HTTP/1.1\r\nHost: switch\r\n\r\n",
    "zeros": bytes(100),
    "a length of less than a header": struct.pack("!BBHI", 5, 0, 4, 1),
    "no HELLO first": wire.message(5, wire.ECHO_REQUEST, 1),
    "OpenFlow 1.0": wire.message(1, wire.HELLO, 1),
    "a HELLO element that lies": wire.message(5, wire.HELLO, 1, struct.pack("!HHI", 1, 60, 0)),
    "a HELLO element of nothing": wire.message(5, wire.HELLO, 1, struct.pack("!HHI", 1, 0, 0)),
    "another version than agreed": HELLO + wire.message(4, wire.ECHO_REQUEST, 1),
    "features cut short": HELLO + wire.message(5, wire.FEATURES_REPLY, 2, b"\0\0"),
    "an error without a type": HELLO + wire.message(5, wire.ERROR, 2, b"\0"),
    "a port-status cut short": HELLO + wire.message(5, wire.PORT_STATUS, 2, bytes(20)),
    "a multipart cut short": HELLO + wire.message(5, wire.MULTIPART_REPLY, 3, b"\0"),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
async def test_nonsense_closes_its_connection_with_one_line(house: House, caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    good = await FakeSwitch().connect(house.path)
    await house.synced()
    with caplog.at_level(logging.INFO, "weft.controller"):
        await says(house.path, data)
        await house.until(lambda: caplog.records)
    assert len(caplog.records) == 1 and "\n" not in caplog.text.strip(), caplog.text
    good.writer.write(packet_in())
    await house.until(lambda: good.packet_outs == 1)
    await good.disconnect()


messages = st.builds(wire.message, st.just(5), st.integers(0, 40), st.integers(0, 9), st.binary(max_size=64))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.binary(max_size=80) | messages))
async def test_whatever_a_switch_says_the_others_are_answered(house: House, data: list[bytes]) -> None:
    good = await FakeSwitch(dpid=2).connect(house.path)
    _, writer = await asyncio.open_unix_connection(str(house.path))
    writer.write(HELLO + b"".join(data))
    good.writer.write(b"")
    await house.synced(2)
    good.writer.write(packet_in())
    await house.until(lambda: good.packet_outs == 1)
    writer.close()
    await good.disconnect()
    house.states.clear()


async def test_half_a_message_is_waited_for_and_the_rest_completes_it(house: House) -> None:
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    whole = packet_in()
    for piece in (whole[:3], whole[3:20], whole[20:] + whole[:50], whole[50:]):
        switch.writer.write(piece)
        await asyncio.sleep(0.01)
    await house.until(lambda: switch.packet_outs == 2)
    await switch.disconnect()


async def test_who_does_not_shake_hands_is_let_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "HANDSHAKE_SECONDS", 0)
    assert (await says(house.path, b""))[:2] == b"\x05\x00"
    assert await says(house.path, HELLO + wire.message(5, wire.ECHO_REPLY, 9)[:5])


async def test_who_falls_silent_is_asked_and_then_let_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "QUIET_SECONDS", 0)
    switch = await FakeSwitch().connect(house.path)
    await house.until(lambda: wire.ECHO_REQUEST in switch.heard)
    assert 1 in house.controller.switches
    monkeypatch.setattr(channel, "SILENT_SECONDS", 0)
    await asyncio.wait_for(switch.closed.wait(), 3)


async def test_who_does_not_read_is_dropped_and_not_waited_for(house: House, caplog: pytest.LogCaptureFixture) -> None:
    good, deaf = await FakeSwitch(dpid=2).connect(house.path), FakeSwitch(dpid=3)
    await deaf.connect(house.path)
    await house.synced(2)
    await house.synced(3)
    deaf._task.cancel()
    block = packet_in() * 500
    with caplog.at_level(logging.INFO, "weft.controller"):
        for _ in range(2000):
            deaf.writer.write(block)
            if 3 not in house.controller.switches:
                break
            await asyncio.sleep(0.001)
        good.writer.write(packet_in())
        await house.until(lambda: good.packet_outs == 1)
    assert 3 not in house.controller.switches
    assert [record.getMessage() for record in caplog.records] == ["switch 0000000000000003: closed: does not read what it is sent"]
    deaf.writer.close()
    await good.disconnect()


async def test_a_handler_that_raises_is_logged_with_its_packet_and_the_next_is_handled(house: House, caplog) -> None:
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    connection = house.controller.switches[1].connection
    answer = connection.answer
    connection.answer = lambda data, begin, end: 1 // 0 if data[begin + 35] == 66 else answer(data, begin, end)
    switch.writer.write(packet_in(1) + packet_in(66) + packet_in(2))
    await house.until(lambda: switch.packet_outs == 2)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert packet_in(66).hex() in record.getMessage() and record.exc_info[0] is ZeroDivisionError
    await switch.disconnect()


async def test_the_same_switch_again_replaces_the_old_connection(house: House, caplog: pytest.LogCaptureFixture) -> None:
    old, new = await FakeSwitch().connect(house.path), FakeSwitch()
    await house.synced()
    await new.connect(house.path)
    await asyncio.wait_for(old.closed.wait(), 3)
    await house.until(lambda: 1 in house.controller.switches)
    new.writer.write(packet_in())
    await house.until(lambda: new.packet_outs == 1)
    assert house.states[1] is not None and "replaced by a newer connection" in caplog.text
    await new.disconnect()
    await house.until(lambda: house.states[1] is None)


async def test_a_switch_that_obeys_a_later_epoch_is_left_alone(house: House, caplog: pytest.LogCaptureFixture) -> None:
    class Fenced(FakeSwitch):
        def _hear(self, kind: int, xid: int, message: bytes) -> None:
            if kind == wire.ROLE_REQUEST:
                self.send(wire.ERROR, xid, struct.pack("!HH", 11, 0) + message)
            else:
                super()._hear(kind, xid, message)

    switch = await Fenced().connect(house.path)
    await asyncio.wait_for(switch.closed.wait(), 3)
    assert switch.flow_mods == 0 and "it obeys a controller with a later epoch than 7" in caplog.text


def figures() -> tuple[int, int]:
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()


async def test_thousands_of_connects_and_disconnects_leave_nothing(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    async def round_(number: int) -> None:
        if number % 3 == 0:
            switch = await FakeSwitch(dpid=100 + number % 7).connect(house.path)
            await asyncio.sleep(0)
            await switch.disconnect()
            return
        _, writer = await asyncio.open_unix_connection(str(house.path))
        writer.write((b"", HELLO, HELLO + wire.message(5, wire.FEATURES_REPLY, 2)[:5])[number % 3])
        writer.close()

    async def rounds(count: int) -> int:
        for begin in range(0, count, 50):
            await asyncio.gather(*(round_(begin + number) for number in range(50)))
            for _ in range(50):  # uvloop accepts one connection a turn
                await asyncio.sleep(0)
        await house.until(lambda: not house.controller.channel.connections and not house.controller.switches)
        gc.collect()
        return sum(isinstance(one, Connection | Switch | Reconciler | Ledger) for one in gc.get_objects())

    few = await rounds(200)
    before = figures()
    assert await rounds(2000) <= few
    assert figures() == before


@pytest.mark.parametrize("target", ["tcp:nowhere", "tcp:1.2.3.4:x", "udp:1.2.3.4:5", "tcp:[::1]:99999"])
async def test_a_target_that_is_none_is_refused_in_one_line(target: str) -> None:
    with pytest.raises(WeftError, match="not understood"):
        await Controller().start([target])


async def test_a_port_in_use_says_how_to_mend_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(WeftError, match=r"already in use; `ss -ltnp .* shows by whom, `--listen` takes another"):
            await Controller().start([target])


async def test_a_socket_left_by_a_killed_controller_is_taken_over(house: House, tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    again = Channel(house.controller, 1)
    await again.listen([f"unix:{stale}"])
    with pytest.raises(WeftError, match="already in use"):
        await again.listen([f"unix:{house.path}"])
    await again.close()
    assert not stale.exists()
