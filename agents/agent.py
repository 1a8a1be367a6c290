"""The agent of one host: observe, plan, apply, observe, report; again whenever the store, Open vSwitch or the kernel says something.

Restartable between any two steps: what it knows is what it sees. Work on the kernel is done in one worker thread; everything else
is on the event loop.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from weft.agents import steps as s
from weft.agents.deadman import Deadman, hold
from weft.agents.eyes import Eyes
from weft.agents.health import Health
from weft.agents.hostway import leave_host_way, set_host_way
from weft.agents.libvirt import Libvirt
from weft.agents.observed import Observed
from weft.agents.ovs import DATABASE, WATCHES, Switch, kernel_datapath
from weft.agents.plan import Failures, Plan, Wanted, plan
from weft.agents.reach import Address
from weft.agents.services import set_services
from weft.agents.states import states
from weft.agents.steps import Action
from weft.agents.trial import Trial
from weft.topology.errors import WeftError
from weft.topology.hostrow import LibvirtSpec, from_json
from weft.topology.names import service_namespace
from weft.topology.ovsdb import Row, Unreachable
from weft.topology.replica import Change, Replica
from weft.topology.reports import host_watch, report_host

log = logging.getLogger("weft.agent")

LOOK_ANYWAY = 10.0
"""Seconds after which the agent looks even when nobody said anything."""
SETTLE = 0.01
"""Seconds it waits for more to happen before it looks."""
SAY_AFTER = 2.0
"""Seconds it waits for a database before it says so."""
LEASES_AFTER = 1.0
"""Seconds it waits for more leases before it looks at them."""
LOOK_IN_TRIAL = 0.2
"""The same while a change of how the host is reached is being tried."""
STATE = Path("/var/lib/weft")
ROUNDS = 4
"""Plans it carries out one after the other before it reports what does not converge."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent works."""

    host: str
    store: str
    ovsdb: str
    folder: Path
    """Open vSwitch's run directory."""
    controller: str | None = None
    """Overrides where the store says that the controller listens."""
    state: Path | None = None
    """Where it writes how to put the host back; None: ``/var/lib/weft/FABRIC``."""
    within: float = 30.0
    """Seconds in which the store has to answer again after a change of how the host is reached."""
    keep: tuple[Address, ...] = ()
    """Who has to answer as well."""


class Agent:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._wake = asyncio.Event()
        self._store = Replica(place.store, "Weft", host_watch(place.host), self._asked)
        self._ovs = Replica(place.ovsdb, DATABASE, WATCHES, self._changed)
        self._worker = ThreadPoolExecutor(1, "kernel")
        self._health = Health(self._wake.set)
        self._libvirt = Libvirt(self._wake.set)
        self._datapath = "netdev"
        self._eyes: Eyes | None = None
        self._trial: Trial | None = None
        self._fabric = ""
        self._stuck = 0
        self._leasing = False
        self._looked = self._reported = -LOOK_ANYWAY

    async def run(self) -> None:
        """Runs until cancelled. What is wired stays wired."""
        await asyncio.gather(_patiently(self._store, self._place.store), _patiently(self._ovs, self._place.ovsdb))
        self._datapath = "system" if await self._kernel(kernel_datapath) else "netdev"
        log.info("host %s, %s datapath", self._place.host, "kernel" if self._datapath == "system" else "userspace")
        try:
            while True:
                await self._converge_safely()
                await self._news()
        finally:
            self._health.stop()
            await self._store.stop()
            await self._ovs.stop()
            self._worker.shutdown()

    async def _news(self) -> None:
        """Returns when there is something to look at: news, or what did not succeed, later and later, or nothing for a while."""
        pause = min(0.1 * 2**self._stuck, LOOK_ANYWAY) if self._stuck else LOOK_ANYWAY
        pause = min(pause, LOOK_IN_TRIAL) if self._trial and self._trial.runs() else pause
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)
        await asyncio.sleep(SETTLE if self._stuck < 3 else pause / 10)
        self._wake.clear()

    def _asked(self, changes: list[Change]) -> None:
        """The store says something: our own heartbeat is no news, another `weft apply` is where something was put back."""
        again = self._trial is not None and self._trial.has_put_back()
        if again or any(change.old is None or change.new is None or _news(change.old, change.new) for change in changes):
            self._stuck = 0
            self._wake.set()

    def _changed(self, changes: list[Change]) -> None:
        if any(change.old is None or change.new is None or _news(change.old, change.new) for change in changes):
            self._wake.set()

    async def _converge_safely(self) -> None:
        try:
            await self._converge()
        except WeftError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("this round failed; the next one starts from what it sees")

    async def _converge(self) -> None:
        row = next(iter(self._store.tables["Host"].values()), None)
        fabric, serial = next(((row["name"], row["serial"]) for row in self._store.tables["Fabric"].values()), (self._fabric, 0))
        if row is None or not fabric or not self._ovs.ready.is_set():
            return
        if fabric != self._fabric or self._eyes is None:
            self._fabric = fabric
            self._eyes = await self._kernel(lambda: Eyes(fabric, self._place.host, self._datapath))
            deadman = Deadman(self._place.state or STATE / fabric, self._place.ovsdb, fabric, self._place.within)
            self._trial = Trial(deadman, self._place.store, self._place.keep, self._kernel)
            asyncio.get_running_loop().add_reader(self._eyes.ears.fileno(), self._heard)
            asyncio.get_running_loop().add_reader(self._eyes.dnsmasq.changes.fileno(), self._leased)
            asyncio.get_running_loop().add_reader(self._eyes.clients.changes.fileno(), self._given)
            asyncio.get_running_loop().add_reader(self._eyes.nexthops.fileno(), self._next_hop)
        assert self._trial is not None
        trial = self._trial
        if await trial.over():
            self._looked = -LOOK_ANYWAY  # somebody else has changed what is remembered here
        asked: Wanted = {key: from_json(key, text) for key, text in row["wanted"].items()}
        wanted = asked
        failures: Failures = {}
        held: Failures = await self._kernel(lambda: trial.put_back(asked, serial))
        before: list[Action] = []
        for _ in range(ROUNDS):
            seen = await self._observe(wanted)
            wanted = hold(asked, held, seen)
            planned = plan(fabric, self._place.host, wanted, seen, self._controller())
            if untried := await trial.begin(planned.changes, seen, serial):
                held |= untried
                continue
            failures = planned.failures | {key: failures[key] for key in failures if key in _touched(planned)}
            if not planned.actions or planned.actions == before:
                trial.note(failures, wanted, seen)
                break
            before = planned.actions
            last = trial.last(planned.actions)
            failures |= await self._apply([action for action in planned.actions if action not in last])
            if last and not await trial.is_well():
                self._wake.set()  # what was before is being put back
                return
            failures |= await self._apply(last)
        else:
            seen = await self._observe(wanted)
        self._stuck = self._stuck + 1 if planned.actions else 0
        self._health.want(service_namespace(fabric, self._place.host), wanted, row["state"])
        await self._report(row, states({**asked, **wanted}, seen, failures | self._health.states | held))

    def _heard(self) -> None:
        if self._eyes is not None:
            self._eyes.ears.hush()
        self._wake.set()

    def _next_hop(self) -> None:
        """Neighbours of guests come and go: only a gateway's is news."""
        if self._eyes is not None and self._eyes.nexthops.heard():
            self._wake.set()

    def _leased(self) -> None:
        """A client got an address, or keeps one: soon enough for people, and one look for many of them."""
        assert self._eyes is not None
        self._eyes.dnsmasq.changes.hush()
        if not self._leasing:
            self._leasing = True
            asyncio.get_running_loop().call_later(LEASES_AFTER, self._look_at_leases)

    def _given(self) -> None:
        """The host itself got an address, or keeps it."""
        assert self._eyes is not None
        self._eyes.clients.changes.hush()
        self._wake.set()

    def _look_at_leases(self) -> None:
        self._leasing = False
        self._wake.set()

    async def _observe(self, wanted: Wanted) -> Observed:
        eyes, now = self._eyes, asyncio.get_running_loop().time()
        assert eyes is not None
        thorough = now - self._looked >= LOOK_ANYWAY
        self._looked = now if thorough else self._looked
        uri = next((spec.uri for spec in wanted.values() if isinstance(spec, LibvirtSpec)), None)
        virt = await self._libvirt.look(uri, thorough)
        seen: Observed = await self._kernel(lambda: eyes.observe(wanted, self._switch(), thorough))
        return replace(seen, virt=virt)

    async def _apply(self, actions: list[Action]) -> Failures:
        """Carries a plan out; what fails is reported with its object and the rest goes on."""
        failures: Failures = {}
        for is_ovs, group in groupby(actions, key=lambda action: isinstance(action.step, s.OvsStep)):
            batch = list(group)
            for action in batch:
                log.info("%s %s: %s", action.action, action.object, action.detail)
            if is_ovs:
                failures |= await self._try(batch, lambda batch=batch: self._switch().apply([a.step for a in batch]))  # type: ignore[misc]
                continue
            for action in batch:
                failures |= await self._try([action], lambda action=action: self._one(action))  # type: ignore[misc]
        return failures

    async def _one(self, action: Action) -> None:
        if isinstance(action.step, s.LibvirtStep):
            await self._libvirt.do(action.step)
        else:
            await self._kernel(lambda: self._do(action))

    async def _try(self, actions: list[Action], work: Callable[[], Any]) -> Failures:
        try:
            await work()
        except (WeftError, OSError) as error:
            log.warning("%s: %s", actions[0].object, error)
            return {action.key: ("failed", str(error)) for action in actions if action.key}
        return {}

    def _do(self, action: Action) -> None:
        assert self._eyes is not None
        match action.step:
            case s.BaseFlows() as step:
                self._switch().lay_base(step)
                self._eyes.forget_base(step.bridge)
            case s.SetServices() as step:
                set_services(step)
                self._eyes.settle_services(step.digest)
            case s.SetHostWay() as step:
                set_host_way(step)
                self._eyes.settle_host_way(step.digest)
            case s.LeaveHostWay() as step:
                leave_host_way(step)
                self._eyes.settle_host_way("")
            case s.AskAddress() | s.StopAsking() as step:
                self._eyes.clients.apply(step)
            case s.Answer() | s.StopAnswering() as step:
                self._eyes.dnsmasq.apply(step)
            case step:
                self._eyes.links.apply(step, action.key)  # type: ignore[arg-type]

    async def _report(self, row: Row, new: Mapping[str, str]) -> None:
        """Says what is when it is not what was said last, and every so often that this agent is alive."""
        current, now = next(iter(self._store.tables["Host"].values()), row), asyncio.get_running_loop().time()
        same = current["state"] == new and current["applied_serial"] == row["wanted_serial"]
        if not same or now - self._reported >= LOOK_ANYWAY:
            await report_host(self._store, self._place.host, current["state"], new, row["wanted_serial"])
            self._reported = now

    def _switch(self) -> Switch:
        return Switch(self._ovs, self._fabric, self._place.folder)

    def _controller(self) -> str | None:
        """Where bridges look for their controller. Open vSwitch takes a unix socket only below its run directory: a link there."""
        targets = [target for row in self._store.tables["Controller"].values() for target in row["targets"]]
        target = self._place.controller or next(iter(sorted(targets)), None)
        if target is None or not target.startswith("unix:"):
            return target
        return f"unix:{link_below(self._place.folder, Path(target.removeprefix('unix:')))}"

    async def _kernel(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)


def _news(old: Row, new: Row) -> bool:
    ignored = {"state", "applied_serial", "seen", "serial"}
    return any(old[column] != new[column] for column in old if column not in ignored)


def link_below(folder: Path, path: Path) -> Path:
    """A path below `folder` that leads to `path`: itself, or a symbolic link."""
    if path.is_relative_to(folder):
        return path
    link = folder / "weft-controller.sock"
    if not link.is_symlink() or link.readlink() != path:
        fresh = folder / f".weft-{os.getpid()}"
        fresh.symlink_to(path)
        fresh.replace(link)
    return link


def _touched(planned: Plan) -> set[str]:
    """Objects that a plan still has to do with."""
    return {action.key for action in planned.actions}


async def _patiently(replica: Replica, target: str) -> None:
    """Waits for a database, and says so once."""
    try:
        await replica.start(SAY_AFTER)
    except Unreachable as error:
        log.warning("%s: waiting for it", error)
        await replica.start()


def this_host() -> str:
    return socket.gethostname().partition(".")[0]
