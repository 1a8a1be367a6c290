"""A real Open vSwitch is made to hold a program and kept so, through everything that happens to either side."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.controller.samples import GROUPS, METERS, flows
from tests.real.controllers import running, until
from tests.real.ovs import Ovs
from weft.apps.flow import Flow, Group, Meter, Output, Port, Program, ToGroup, ToMeter, match
from weft.controller.reconcile import State
from weft.controller.service import Controller
from weft.topology.names import BASE_COOKIE, LEARNED_COOKIE

SAMPLES = Program({("samples",): flows()}, GROUPS, METERS)


class Desk:
    """A controller in the test's process with one program for one bridge of a real switch."""

    def __init__(self, ovs: Ovs, program: Program) -> None:
        self.ovs, self.program = ovs, program
        self.state: State | None = None
        self.target = f"unix:{ovs.rundir}/weft.sock"
        self.controller = self._another()

    def _another(self) -> Controller:
        return Controller(lambda dpid: self.program, report=self._report)

    def _report(self, dpid: int, state: State | None) -> None:
        self.state = state

    async def start(self) -> None:
        self.controller = self._another()
        await self.controller.start([self.target])

    async def until(self, holds: Callable[[], object], seconds: float = 15) -> None:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def want(self, program: Program) -> State:
        self.program = program
        self.state = None
        self.controller.refresh()
        await self.until(lambda: self.state is not None and (self.state.synced or self.state.failed))
        assert self.state is not None
        return self.state

    async def synced(self) -> None:
        await self.until(lambda: self.state is not None and self.state.synced)

    async def flows(self) -> list[str]:
        return await asyncio.to_thread(self.ovs.flows, "br0")

    async def ofctl(self, *args: str) -> str:
        return await asyncio.to_thread(self.ovs.ofctl, *args)


@pytest.fixture
async def desk(ovs: Ovs) -> AsyncIterator[Desk]:
    ovs.add_bridge("br0", "p1", "p2")
    desk = Desk(ovs, SAMPLES)
    await desk.start()
    await asyncio.to_thread(ovs.vsctl, "set-controller", "br0", desk.target)
    await desk.synced()
    yield desk
    await desk.controller.stop()


def plain(number: int, port: str = "p2") -> Flow:
    return Flow(1, 100, match(ip_dst=(number, 0xFFFFFFFF)), (Output(Port(port)),), ("plain",))


async def ages(desk: Desk) -> list[str]:
    text = await desk.ofctl("dump-flows", "br0")
    return [line for line in text.splitlines() if "cookie=" in line]


async def test_a_new_controller_changes_nothing(desk: Desk) -> None:
    before = await desk.flows()
    assert len(before) == len(flows())
    await asyncio.sleep(1.1)
    await desk.controller.stop()
    desk.state = None
    await desk.start()
    await desk.synced()
    assert desk.state is not None and desk.state.sent == 0
    assert await desk.flows() == before
    assert not [line for line in await ages(desk) if "duration=0." in line]


async def test_a_killed_controller_process_leaves_flows_and_its_heir_changes_none(ovs: Ovs) -> None:
    ovs.add_bridge("br0", "p1", "p2")
    with running(ovs) as first:
        first.take("br0")
        until(lambda: len(ovs.flows("br0")) > 10)
        before = ovs.flows("br0")
        first.stop(signal.SIGKILL)
        assert ovs.flows("br0") == before
        await asyncio.sleep(1.1)
        with running(ovs) as heir:
            until(lambda: heir.log.count("connected") == 2)
            await asyncio.sleep(0.5)
            assert ovs.flows("br0") == before
            stats = ovs.ofctl("dump-flows", "br0").splitlines()
            assert not [line for line in stats if "duration=0." in line]


async def test_a_restarted_switch_gets_everything_again(desk: Desk) -> None:
    before = await desk.flows()
    desk.state = None
    await asyncio.to_thread(desk.ovs.restart_switch)
    await desk.until(lambda: desk.state is not None)
    await desk.synced()
    assert await desk.flows() == before


async def test_removed_changed_and_foreign_flows_are_put_right(desk: Desk) -> None:
    await desk.want(Program({("a",): (plain(1),), ("b",): (plain(2),)}))
    right = await desk.flows()
    for command in (
        ("del-flows", "br0", "table=1,ip,nw_dst=0.0.0.1"),
        ("mod-flows", "br0", "table=1,ip,nw_dst=0.0.0.2,actions=drop"),
        ("add-flow", "br0", "table=1,priority=7,actions=NORMAL"),
    ):
        await desk.ofctl(*command)
        async with asyncio.timeout(5):
            while await desk.flows() != right:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_base_and_learned_flows_are_never_touched(desk: Desk) -> None:
    await desk.ofctl("add-flow", "br0", f"cookie={BASE_COOKIE:#x},table=1,priority=0,actions=NORMAL")
    await desk.ofctl("add-flow", "br0", f"cookie={LEARNED_COOKIE:#x},table=1,priority=3,actions=drop")
    await desk.want(Program({("a",): (plain(1),)}))
    await asyncio.sleep(1.5)
    await desk.want(Program())
    left = await desk.flows()
    assert len(left) == 2 and all("7765667400000" in line for line in left)


async def test_counters_survive_a_change_of_actions(desk: Desk) -> None:
    flow = Flow(0, 5, match(in_port=Port("p1")), (Output(Port("p2")),), ("a",))
    await desk.want(Program({("a",): (flow,)}))
    await desk.ofctl("packet-out", "br0", "in_port=p1,packet=ffffffffffff0a00000000010800" + "00" * 46 + ",actions=resubmit(,0)")
    assert "n_packets=1," in await desk.ofctl("dump-flows", "br0")
    await desk.want(Program({("a",): (Flow(0, 5, flow.match, (), ("a",)),)}))
    assert "n_packets=1," in await desk.ofctl("dump-flows", "br0") and "actions=drop" in "".join(await desk.flows())


async def test_a_refused_flow_is_named_and_nothing_is_half_done(desk: Desk) -> None:
    await desk.want(Program({("a",): (plain(1),)}))
    right = await desk.flows()
    bad = Flow(1, 9, match(), (ToGroup(99),), ("segments/db",))
    state = await desk.want(Program({("b",): (plain(2), bad), ("c",): (plain(3),)}))
    assert state.failed[0] == "table=1, priority=9 actions=group:99: BAD_ACTION, BAD_OUT_GROUP (for segments/db)"
    assert await desk.flows() == right
    assert (await desk.want(Program({("c",): (plain(3),)}))).synced


async def test_a_meter_beside_a_refused_change_is_not_asked_for_twice(desk: Desk) -> None:
    meter, using = Meter(12, 100, 10, True, ("m",)), Flow(1, 2, match(), (ToMeter(12),), ("m",))
    bad = Flow(1, 9, match(), (ToGroup(99),), ("segments/db",))
    assert (await desk.want(Program({("m",): (using, bad)}, (), (meter,)))).failed
    assert (await desk.want(Program({("m",): (using,)}, (), (meter,)))).synced
    assert (await desk.want(Program({("a",): (plain(1),)}))).synced
    assert "meter=12 " not in await desk.ofctl("dump-meters", "br0")


async def test_groups_and_meters_come_before_their_flows_and_go_after(desk: Desk) -> None:
    group, meter = Group(9, "all", GROUPS[0].buckets, ("g",)), Meter(9, 100, 10, False, ("m",))
    using = Flow(1, 1, match(), (ToMeter(9), ToGroup(9)), ("u",))
    assert (await desk.want(Program({("u",): (using,)}, (group,), (meter,)))).synced
    assert "group_id=9," in await desk.ofctl("dump-groups", "br0") and "meter=9 " in await desk.ofctl("dump-meters", "br0")
    assert (await desk.want(Program({("u",): (plain(1),)}))).synced
    await asyncio.sleep(0.2)
    assert "group_id" not in await desk.ofctl("dump-groups", "br0") and "meter=" not in await desk.ofctl("dump-meters", "br0")


async def test_flows_follow_their_ports(desk: Desk) -> None:
    coming = Flow(1, 1, match(in_port=Port("p9")), (), ("a",))
    state = await desk.want(Program({("a",): (coming,), ("b",): (plain(1, "p9"),)}))
    assert state.held_back == 1 and "drop" in "".join(await desk.flows())
    await asyncio.to_thread(desk.ovs.vsctl, "add-port", "br0", "p9", "--", "set", "interface", "p9", "type=internal")
    await desk.until(lambda: desk.state is not None and desk.state.held_back == 0 and desk.state.synced)
    assert len(await desk.flows()) == 2 and "output" in "".join(await desk.flows())
    await asyncio.to_thread(desk.ovs.vsctl, "del-port", "br0", "p9")
    await desk.until(lambda: desk.state is not None and desk.state.held_back == 1)


def test_ten_thousand_connects_leave_the_process_as_it_was(ovs: Ovs) -> None:
    ovs.add_bridge("br0", "p1")
    with running(ovs, "--log", "error") as controller:
        pid = controller.process.pid

        def figures() -> tuple[int, int, int]:
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(status["Threads"]), int(status["VmRSS"].split()[0])

        def connects(count: int) -> None:
            hello = bytes.fromhex("0500000800000001")
            for number in range(count):
                with socket.socket(socket.AF_UNIX) as one:
                    one.connect(str(ovs.rundir / "weft.sock"))
                    one.sendall((b"\x05", hello, hello + hello[:5], b"GET / HTTP/1.1\r\n\r\n")[number % 4])

        connects(2000)
        descriptors, threads, memory = figures()
        connects(10_000)
        until(lambda: figures()[0] <= descriptors)
        assert figures()[1] == threads and figures()[2] < memory + 4000  # kilobytes
        controller.take("br0")
