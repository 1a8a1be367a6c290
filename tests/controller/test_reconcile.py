"""A switch is made to hold its program, and kept so. The switch is a small real one in memory, on a real socket."""

import asyncio

import pytest

from tests.controller.conftest import House
from tests.controller.switches import FakeSwitch
from weft.apps.flow import Flow, Goto, Output, Port, Program, Resubmit, Set, match
from weft.controller import reconcile, wire
from weft.controller.encode import encode
from weft.topology.names import BASE_COOKIE, LEARNED_COOKIE

A = Flow(0, 10, match(in_port=Port("p1")), (Goto(1),), ("a",))
B = Flow(1, 5, match(eth_dst="0a:00:00:00:00:01"), (Output(Port("p2")),), ("b",))
C = Flow(1, 5, match(eth_dst="0a:00:00:00:00:02"), (Output(3),), ("c",))
LATER = Flow(0, 10, match(in_port=Port("p9")), (Goto(1),), ("later",))


def program(*flows: Flow) -> Program:
    return Program({(flow.why[0],): (flow,) for flow in flows})


def holds(switch: FakeSwitch, *flows: Flow) -> bool:
    return switch.flows == dict(encode(flow, switch.ports) for flow in flows)


async def test_a_switch_gets_its_program(house: House) -> None:
    house.programs[1] = program(A, B, C)
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    assert holds(switch, A, B, C) and switch.flow_mods == 3 and switch.epochs == [7]
    await switch.disconnect()


async def test_only_what_changed_is_sent(house: House) -> None:
    house.programs[1] = program(A, B)
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    changed = Flow(B.table, B.priority, B.match, (Output(9),), ("b",))
    house.programs[1] = Program({("a",): (A,), ("b",): (changed,), ("c",): (C,)})
    house.controller.refresh()
    await house.until(lambda: holds(switch, A, changed, C))
    assert switch.flow_mods == 4
    house.programs[1] = program(C)
    house.controller.refresh()
    await house.until(lambda: holds(switch, C))
    assert switch.flow_mods == 6
    await switch.disconnect()


async def test_a_flow_that_moves_between_units_is_not_deleted(house: House) -> None:
    house.programs[1] = Program({("x",): (A,), ("y",): (B,)})
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    house.programs[1] = Program({("y",): (A, B), ("z",): (C,)})
    house.controller.refresh()
    await house.until(lambda: holds(switch, A, B, C))
    assert switch.flow_mods == 3
    await switch.disconnect()


async def test_a_new_controller_finds_every_flow_in_place_and_changes_none(house: House, tmp_path) -> None:
    house.programs[1] = program(A, B, C)
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    await house.controller.stop()
    await switch.closed.wait()
    before, house.controller = switch.flow_mods, house.another(epoch=8)
    house.states.clear()
    await house.controller.start([f"unix:{house.path}"])
    await switch.connect(house.path)
    await house.synced()
    assert switch.flow_mods == before and switch.epochs == [7, 8]
    await switch.disconnect()


async def test_what_is_not_ours_stays_and_what_was_ours_goes(house: House) -> None:
    switch = FakeSwitch()
    stale = encode(Flow(4, 1, (), (), ("of an older program",)), {})
    base, learned = ((0, 0, b""), (BASE_COOKIE, b"")), ((5, 1, b""), (LEARNED_COOKIE, b""))
    elsewhere = ((9, 1, b""), (0xABC, b""))
    switch.flows = dict((stale, base, learned, elsewhere))
    house.programs[1] = program(A)
    await switch.connect(house.path)
    await house.synced()
    assert switch.flows == dict((base, learned, elsewhere, encode(A, switch.ports)))
    await switch.disconnect()


async def test_foreign_flows_in_our_tables_are_reported_and_swept_only_when_told(house: House) -> None:
    switch = FakeSwitch()
    foreign = ((0, 77, b""), (0xABC, b""))
    switch.flows = dict((foreign,))
    house.programs[1], house.controller.sweep = program(A), False
    await switch.connect(house.path)
    await house.until(lambda: house.states.get(1) and house.states[1].drift)
    assert house.states[1].drift == ("table=0, priority=77: cookie 0xabc is not weft's",) and foreign[0] in switch.flows
    house.controller.sweep = True
    house.controller.refresh()
    await house.until(lambda: holds(switch, A))
    await switch.disconnect()


async def test_a_flow_waits_for_its_port_and_goes_with_it(house: House) -> None:
    house.programs[1] = program(A, LATER)
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    assert holds(switch, A) and house.states[1].held_back == 1
    switch.ports["p9"] = 9
    switch.say_port(0, "p9", 9)
    await house.until(lambda: holds(switch, A, LATER))
    switch.say_port(1, "p9", 9)
    await house.until(lambda: holds(switch, A))
    assert switch.flow_mods == 3
    await switch.disconnect()


async def test_a_switch_is_not_in_sync_between_a_port_and_its_flows(house: House) -> None:
    house.programs[1] = program(A, LATER)
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    there = house.controller.switches[1]
    switch.ports["p9"] = 9
    switch.say_port(0, "p9", 9)
    while "p9" not in there.connection.ports:
        assert there.state.synced
        await asyncio.sleep(0)
    assert not there.state.synced
    await house.until(lambda: there.state.synced)
    assert holds(switch, A, LATER)
    await switch.disconnect()


async def test_a_port_with_another_number_is_followed(house: House) -> None:
    flood = Flow(2, 1, (), (Set("reg2", Port("p1"), 0xFFFF), Resubmit(3), Set("reg2", Port("p2"), 0xFFFF), Resubmit(3)), ("f",))
    house.programs[1] = program(A, C, flood)
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    switch.ports["p1"] = 11
    switch.say_port(2, "p1", 11)
    await house.until(lambda: holds(switch, A, C, flood))
    assert switch.flow_mods == 3 + 3  # A here and there, and the flood list
    await switch.disconnect()


async def test_a_refused_flow_leaves_everything_as_it_was_and_is_named(house: House) -> None:
    house.programs[1] = program(A)
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    switch.refuses = lambda key: key[0] == 1
    house.programs[1] = program(B, C)
    house.controller.refresh()
    await house.until(lambda: house.states[1].failed)
    assert holds(switch, A) and not house.states[1].synced
    first = house.states[1].failed[0]
    assert first.endswith(": BAD_ACTION, BAD_OUT_PORT (for b)") and "0a:00:00:00:00:01" in first
    sent = switch.flow_mods
    await asyncio.sleep(0.2)
    assert switch.flow_mods == sent, "it is not tried in a hot loop"
    switch.refuses = lambda key: False
    house.controller.refresh()
    await house.until(lambda: holds(switch, B, C))
    assert house.states[1].failed == ()
    await switch.disconnect()


async def test_on_openflow_1_3_what_is_not_refused_is_done(house: House) -> None:
    house.programs[1] = program(A, B, C)
    switch = FakeSwitch(version=wire.V1_3)
    switch.refuses = lambda key: key[0] == 0
    await switch.connect(house.path)
    await house.until(lambda: house.states.get(1) and house.states[1].failed)
    assert holds(switch, B, C)
    await switch.disconnect()


async def test_what_somebody_else_changed_is_put_right(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "REPAIR_SECONDS", 0.05)
    house.programs[1] = program(A, B)
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    key, entry = encode(B, switch.ports)
    del switch.flows[key]
    switch.say_flow(2, key, entry)
    await house.until(lambda: holds(switch, A, B))
    switch.flows[key] = (entry[0], b"")
    switch.say_flow(3, key, (entry[0], b""))
    await house.until(lambda: holds(switch, A, B))
    foreign = (1, 99, b"")
    switch.flows[foreign] = (5, b"")
    switch.say_flow(1, foreign, (5, b""))
    await house.until(lambda: holds(switch, A, B))
    await house.until(lambda: house.states[1].repaired == 2)
    await switch.disconnect()


async def test_a_reading_now_and_then_finds_what_no_monitor_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "READ_SECONDS", 0.1)
    house.programs[1] = program(A, B)
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    switch.flows[encode(A, switch.ports)[0]] = (A.cookie, b"")
    del switch.flows[encode(B, switch.ports)[0]]
    await house.until(lambda: holds(switch, A, B))
    await switch.disconnect()


async def test_many_flows_arrive_whole(house: House) -> None:
    many = tuple(Flow(3, 5, match(ip_dst=(0x0A000000 + n, 0xFFFFFFFF)), (Output(Port("p2")),), ("many",)) for n in range(20_000))
    house.programs[1] = Program({("many",): many})
    switch = await FakeSwitch().connect(house.path)
    await house.synced()
    assert len(switch.flows) == 20_000 and switch.flow_mods == 20_000
    house.programs[1] = Program({("many",): many[:10]})
    house.controller.refresh()
    await house.until(lambda: holds(switch, *many[:10]))
    await switch.disconnect()
