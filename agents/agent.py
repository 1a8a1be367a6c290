"""The agent of one host: observe, plan, apply, observe, report; again whenever the store, Open vSwitch or the kernel says something.

Restartable between any two steps: what it knows is what it sees. While its store was never there it goes by what that said last
(`weft.agents.keep`). Work on the kernel is done in one worker thread; everything else is on the event loop.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from weft.agents.deadman import Deadman, hold
from weft.agents.eyes import Eyes
from weft.agents.hands import Hands
from weft.agents.health import Health
from weft.agents.keep import Keep, Keeper, Told
from weft.agents.libvirt import Libvirt
from weft.agents.observed import Observed
from weft.agents.ovs import DATABASE, WATCHES, Switch, kernel_datapath
from weft.agents.place import Place, link_below
from weft.agents.plan import Failures, Plan, Wanted, plan
from weft.agents.states import states
from weft.agents.steps import Action
from weft.agents.trial import Trial
from weft.topology.errors import WeftError
from weft.topology.hostrow import LibvirtSpec, from_json
from weft.topology.names import service_namespace
from weft.topology.ovsdb import Row, Unreachable
from weft.topology.questions import answer, open_questions
from weft.topology.replica import Change, Replica
from weft.topology.reports import host_watch, report_host, synced

log = logging.getLogger("weft.agent")

LOOK_ANYWAY = 10.0
"""Seconds after which the agent looks even when nobody said anything."""
SETTLE = 0.01
"""Seconds it waits for more to happen before it looks."""
SAY_AFTER = 2.0
"""Seconds it waits for a database before it says so."""
STORE_FIRST = 1.0
"""Seconds it waits for its store before it goes by what that said last."""
KEEP_AFTER = 5.0
"""Seconds between two looks at whether flows are to be kept, at least."""
LEASES_AFTER = 1.0
"""Seconds it waits for more leases before it looks at them."""
LOOK_IN_TRIAL = 0.2
"""The same while a change of how the host is reached is being tried."""
ROUNDS = 4
"""Plans it carries out one after the other before it reports what does not converge."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a round of plans came to. `left`: what it would do again; `held`: what is not tried, since it cut the host off."""

    wanted: Wanted
    seen: Observed
    left: list[Action]
    failures: Failures
    held: Failures


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
        self._hands: Hands | None = None
        self._fabric = ""
        self._stuck = 0
        self._leasing = False
        self._looked = self._reported = self._kept = -LOOK_ANYWAY
        self._keep = Keep(place.state)
        self._keeper = Keeper(self._keep, place.folder)
        self._known: Told | None = None

    async def run(self) -> None:
        """Runs until cancelled. What is wired stays wired."""
        store = asyncio.create_task(_patiently(self._store, self._place.store))
        await _patiently(self._ovs, self._place.ovsdb)
        self._known = await self._kernel(lambda: self._keep.told(self._place.store))
        if self._known is None:
            await self._switch().release()
        await asyncio.wait((store,), timeout=STORE_FIRST if self._known else None)
        self._datapath = "system" if await self._kernel(kernel_datapath) else "netdev"
        log.info("host %s, %s datapath", self._place.host, "kernel" if self._datapath == "system" else "userspace")
        try:
            while True:
                await self._converge_safely()
                await self._news()
        finally:
            store.cancel()
            self._health.stop()
            await self._store.stop()
            await self._ovs.stop()
            self._worker.shutdown()

    async def unwire(self, fabric: str) -> Failures:
        """Takes apart what was made of a fabric on this host, and gives NICs their addresses back; what failed."""
        await _patiently(self._ovs, self._place.ovsdb)
        self._datapath = "system" if await self._kernel(kernel_datapath) else "netdev"
        await self._begin(fabric)
        try:
            done = await self._carry_out(Told(self._place.store, fabric), {})
            if done is None:
                return {fabric: ("failed", "whom this host reaches could not be reached without: all is as it was")}
            return done.failures | done.held | {action.object: ("failed", f"{action.action} {action.detail}") for action in done.left}
        finally:
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
        with contextlib.suppress(WeftError):
            await self._switch().release()

    def _told(self, row: Row | None) -> Told | None:
        """What this host should have, as the store says, or while that was never there as it said last."""
        if self._store.ready.is_set() and row is None:
            self._known = None
        fabric = next((each["name"] for each in self._store.tables["Fabric"].values()), self._fabric)
        if row is not None and fabric:
            targets = [target for each in self._store.tables["Controller"].values() for target in each["targets"]]
            self._known = Told(self._place.store, fabric, row["wanted"], row["wanted_serial"], next(iter(sorted(targets)), None))
        return self._known

    async def _converge(self) -> None:
        row = next(iter(self._store.tables["Host"].values()), None)
        told = self._told(row)
        if told is None or not self._ovs.ready.is_set():
            return
        if told.fabric != self._fabric or self._eyes is None:
            await self._begin(told.fabric)
        assert self._eyes is not None and self._trial is not None
        if await self._trial.over():
            self._looked = -LOOK_ANYWAY  # somebody else has changed what is remembered here
        asked = told.specs()
        done = await self._carry_out(told, asked)
        if done is not None and (alone := await self._switch().release()):
            self._eyes.forget_bases()
            done = await self._carry_out(told, asked)
        if done is None:
            self._wake.set()  # what was before is being put back
            return
        self._stuck = self._stuck + 1 if done.left else 0
        await self._lay(done, alone)
        self._health.want(service_namespace(told.fabric, self._place.host), done.wanted, row["state"] if row else {})
        if row is not None:
            await self._report(row, states({**asked, **done.wanted}, done.seen, done.failures | self._health.states | done.held))
            await self._answer(told, done.seen)
            await self._keep_it(told, done)

    async def _begin(self, fabric: str) -> None:
        """Looks at this host as one of a fabric from now on."""
        self._fabric = fabric
        eyes = self._eyes = await self._kernel(lambda: Eyes(fabric, self._place.host, self._datapath))
        deadman = Deadman(self._place.state, self._place.ovsdb, fabric, self._place.within)
        self._trial = Trial(deadman, self._place.store, self._place.reachable, self._kernel)
        self._hands = Hands(eyes, self._libvirt, self._switch, self._kernel)
        loop = asyncio.get_running_loop()
        loop.add_reader(eyes.ears.fileno(), self._heard)
        loop.add_reader(eyes.dnsmasq.changes.fileno(), self._leased)
        loop.add_reader(eyes.clients.changes.fileno(), self._given)
        loop.add_reader(eyes.nexthops.fileno(), self._next_hop)

    async def _answer(self, told: Told, seen: Observed) -> None:
        """Says what it would do if it should have something else: the steps that can be planned from what it sees now."""
        for question, proposed in open_questions(self._store).items():
            wanted = {key: from_json(key, text) for key, text in proposed.items()}
            actions = plan(told.fabric, self._place.host, wanted, seen, self._controller(told)).actions
            await answer(self._store, question, [{"action": a.action, "object": a.object, "detail": a.detail} for a in actions])

    async def _carry_out(self, told: Told, asked: Wanted) -> Done | None:
        """Plans and applies until there is nothing left to do. None: a change of how the host is reached was not found good in time."""
        assert self._trial is not None and self._hands is not None
        trial, failures, before = self._trial, Failures(), list[Action]()
        serial = next((row["serial"] for row in self._store.tables["Fabric"].values()), told.serial)  # of the last apply, of whatever host
        held: Failures = await self._kernel(lambda: trial.put_back(asked, serial))
        wanted = asked
        for _ in range(ROUNDS):
            seen = await self._observe(wanted)
            wanted = hold(asked, held, seen)
            planned = plan(told.fabric, self._place.host, wanted, seen, self._controller(told))
            if untried := await trial.begin(planned.changes, seen, serial):
                held |= untried
                continue
            failures = planned.failures | {key: failures[key] for key in failures if key in _touched(planned)}
            if not planned.actions or planned.actions == before:
                trial.note(failures, wanted, seen)
                return Done(wanted, seen, planned.actions, failures, held)
            before = planned.actions
            last = trial.last(planned.actions)
            failures |= await self._hands.apply([action for action in planned.actions if action not in last])
            if last and not await trial.is_well():
                return None
            failures |= await self._hands.apply(last)
        return Done(wanted, await self._observe(wanted), planned.actions, failures, held)

    async def _lay(self, done: Done, alone: bool) -> None:
        """What was kept of the bridges, where no controller is there to lay it."""
        assert self._hands is not None
        for bridge in (each.name for each in done.seen.bridges.values() if each.ours):
            work = partial(self._keeper.lay, bridge, self._switch(), done.wanted, alone)
            await self._hands.attempt([], partial(self._kernel, work), bridge)

    async def _keep_it(self, told: Told, done: Done) -> None:
        """Writes down what the store says, and the flows of bridges that are in sync."""
        assert self._hands is not None
        now = asyncio.get_running_loop().time()
        if now - self._kept < KEEP_AFTER:
            return
        self._kept = now
        await self._kernel(lambda: self._keep.tell(told))
        ours = {each.dpid: each.name for each in done.seen.bridges.values() if each.ours}
        for dpid, said in (await synced(self._store, ours)).items():
            work = partial(self._keeper.save, ours[dpid], self._switch(), done.wanted, said)
            await self._hands.attempt([], partial(self._kernel, work), ours[dpid])
        self._keep.forget(set(ours.values()))

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

    async def _report(self, row: Row, new: Mapping[str, str]) -> None:
        """Says what is when it is not what was said last, and every so often that this agent is alive."""
        current, now = next(iter(self._store.tables["Host"].values()), row), asyncio.get_running_loop().time()
        same = current["state"] == new and current["applied_serial"] == row["wanted_serial"]
        if not same or now - self._reported >= LOOK_ANYWAY:
            await report_host(self._store, self._place.host, current["state"], new, row["wanted_serial"])
            self._reported = now

    def _switch(self) -> Switch:
        return Switch(self._ovs, self._fabric, self._place.folder)

    def _controller(self, told: Told) -> str | None:
        """Where bridges look for their controller. Open vSwitch takes a unix socket only below its run directory: a link there."""
        target = self._place.controller or told.controller
        if target is None or not target.startswith("unix:"):
            return target
        return f"unix:{link_below(self._place.folder, Path(target.removeprefix('unix:')))}"

    async def _kernel(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)


def _news(old: Row, new: Row) -> bool:
    ignored = {"state", "applied_serial", "seen", "serial"}
    return any(old[column] != new[column] for column in old if column not in ignored)


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
