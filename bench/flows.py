"""Seconds until a real Open vSwitch has committed 100,000 flows, against ``ovs-ofctl --bundle add-flows`` of the same flows.

Weft's time begins with the program, as the compiler leaves it, and ends with the switch's commit reply; ovs-ofctl's is that of its process,
which reads the flows from a file.
"""

import asyncio
import gc
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

from bench.table import REPETITIONS, Figure
from tests.real.ovs import Ovs
from weft.apps.flow import Flow, Output, Port, Program, Set, match
from weft.controller.reconcile import State
from weft.controller.service import Controller

COUNT = 100_000
FIRST = IPv4Address("10.0.0.0")


def flows() -> tuple[Flow, ...]:
    actions = (Set("reg1", 5), Output(Port("p2")))
    return tuple(Flow(3, 100, match(in_port=Port("p1"), ip_dst=FIRST + n), actions, ("bench",)) for n in range(COUNT))


def text(some: tuple[Flow, ...]) -> str:
    """The same flows for ovs-ofctl."""
    lines = (
        f"cookie={flow.cookie:#x},table=3,priority=100,in_port=1,ip,nw_dst={FIRST + n},actions=set_field:5->reg1,output:2"
        for n, flow in enumerate(some)
    )
    return "\n".join(lines)


async def weft(ovs: Ovs, some: tuple[Flow, ...]) -> float:
    """A controller in this process, without the time that the switch takes to connect."""
    target, program, full = f"unix:{ovs.rundir}/weft.sock", Program(), asyncio.Event()

    def report(dpid: int, state: State | None) -> None:
        if state is not None and state.synced and state.flows == len(program.units and some):
            full.set()

    controller = Controller(lambda dpid: program, report=report)
    await controller.start([target])
    ovs.add_bridge("br0", "p1", "p2")
    await asyncio.to_thread(ovs.vsctl, "set-controller", "br0", target)
    await asyncio.wait_for(full.wait(), 20)
    await asyncio.sleep(0.3)
    full.clear()
    gc.collect()
    start = time.monotonic()
    program = Program({("bench",): some})
    controller.refresh()
    await asyncio.wait_for(full.wait(), 60)
    taken = time.monotonic() - start
    await controller.stop()
    ovs.vsctl("del-br", "br0")
    return taken


def ofctl(ovs: Ovs, file: str) -> float:
    ovs.add_bridge("br0", "p1", "p2")
    start = time.monotonic()
    ovs.ofctl("--bundle", "add-flows", "br0", file)
    taken = time.monotonic() - start
    ovs.vsctl("del-br", "br0")
    return taken


def figures() -> Iterator[Figure]:
    some = flows()
    with Ovs() as ovs:
        file = ovs.rundir / "flows"
        file.write_text(text(some))
        mine, peer = [], []
        for _ in range(REPETITIONS):
            mine.append(asyncio.run(weft(ovs, some)))
            peer.append(ofctl(ovs, str(file)))
    yield Figure(f"{COUNT:,} flows until the commit reply", "s", tuple(mine), tuple(peer), "ovs-ofctl --bundle", ("<=", 1.0))
