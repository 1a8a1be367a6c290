"""The fabric on its switches: what the store says, compiled, wanted of every switch, and reported back.

One controller is in charge of a store: it claims an epoch, writes only under it, and gives it to switches as `generation_id`, so
that they refuse whoever was in charge before. A store that is away changes nothing; when it is back, work goes on with what it says.
"""

import asyncio
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from weft.apps.compile import Compiler
from weft.apps.facts import Facts, expired, facts
from weft.apps.flow import Program
from weft.apps.sharing import members_of
from weft.apps.strangers import placed, strangers
from weft.apps.why import switches
from weft.controller.announcing import Announcer
from weft.controller.audits import Audits
from weft.controller.connection import Answer as PacketAnswer
from weft.controller.connection import Connection
from weft.controller.counters import Counters
from weft.controller.reconcile import State
from weft.controller.service import Answer, Controller
from weft.controller.snooping import Snooper
from weft.topology.errors import WeftError
from weft.topology.model import Fabric
from weft.topology.objects import from_objects
from weft.topology.ovsdb import Client, OvsdbError
from weft.topology.replica import Change, Replica
from weft.topology.reports import Fenced, SwitchReport, claim, report_switches
from weft.topology.resolve import resolve
from weft.topology.store import WATCHES, Intent, Snapshot, snapshot

log = logging.getLogger("weft.fabric")

RETRY = 0.5
"""Seconds between attempts to reach a store that is away."""
CLOCK = 60
"""Seconds after which the clock is looked at again while a policy has a time to end."""

PULSE = 5
"""Seconds between two looks at who was heard of lately, where services have members."""


class Loom:
    """Weaves a store's fabric into programs. `start`, then give `program_for` and `report` to a Controller, then `run`."""

    def __init__(self, store: str, targets: Iterable[str]) -> None:
        self._target, self._targets = store, tuple(targets)
        self._woken = asyncio.Event()
        self._replica = Replica(store, "Weft", WATCHES, self._changed)
        self._compiler = Compiler()
        self._intent: Intent | None = None
        self._fabric: Fabric | None = None
        self._facts = Facts()
        self._snooper = Snooper(self._woken.set)
        self._announcer = Announcer(self._wake_in)
        self._audits = Audits(lambda: self._fabric, lambda: self._programs)
        self._programs: dict[int, Program] = {}
        self._bridges: dict[int, str] = {}
        self._hosts: dict[str, int] = {}
        self._states: dict[int, State | None] = {}
        self._reported: dict[int, SwitchReport] = {}
        self.epoch = 0
        """Under which this controller is in charge; 0 before `start`."""

    async def start(self) -> None:
        """Waits for the store and takes charge of it."""
        await self._replica.start()
        self.epoch = await self._claim()
        self._weave()

    def program_for(self, dpid: int) -> Program | Answer:
        """What a switch should hold. While no intent was read yet, and when a fabric that it was in has let it go, it is left as it is:
        as a learning switch it would join segments that must not meet, until its agent has taken it apart.
        """
        if self._fabric is None:
            return Answer.HOLD
        if dpid in self._programs:
            return self._programs[dpid]
        return Answer.HOLD if self._was_ours(dpid) else Answer.BARE

    def _was_ours(self, dpid: int) -> bool:
        return any(row["dpid"] == f"{dpid:016x}" and not row["bare"] for row in self._replica.tables["Switch"].values())

    def report(self, dpid: int, state: State | None) -> None:
        """A switch says how far it is; None: it is gone."""
        self._states[dpid] = state
        self._woken.set()

    async def run(self, controller: Controller) -> None:
        """Follows the store until cancelled. Raises Fenced when another controller takes charge."""
        controller.serial = self._serial
        controller.answer_for = self._answer_for
        controller.refresh()
        beside = (
            asyncio.create_task(Counters(self._replica, controller, lambda: self._programs, lambda: self.epoch).run()),
            asyncio.create_task(self._snooper.run(controller.switches)),
        )
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._patience())
                self._woken.clear()
                if self._weave():
                    controller.serial = self._serial
                    controller.refresh()
                self._announcer.speak(controller.switches, self._hosts, asyncio.get_running_loop().time())
                await self._report(controller)
        finally:
            for task in beside:
                task.cancel()
            await self._replica.stop()

    def _wake_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._woken.set)

    def _answer_for(self, connection: Connection) -> PacketAnswer:
        """Each hears what its own tables send."""
        audit, snoop = self._audits.answer_for(connection), self._snooper.answer_for(connection)
        return lambda data, begin, end: audit(data, begin, end) + snoop(data, begin, end)

    def _patience(self) -> float | None:
        """Seconds until something may have changed that nobody tells: a policy's time is over, a host that has members is gone."""
        pulse = PULSE if self._fabric and self._fabric.services else None
        return min((some for some in (self._until_expiry(), pulse) if some is not None), default=None)

    def _until_expiry(self) -> float | None:
        """Seconds until a policy's time is over; the clock may be set meanwhile, so never long."""
        policies, now = self._fabric.policies if self._fabric else (), datetime.now(UTC)
        left = [(policy.until - now).total_seconds() for policy in policies if policy.until and policy.name not in self._facts.expired]
        return min(max(min(left), 0.01), CLOCK) if left else None

    @property
    def _serial(self) -> int:
        return self._intent.serial if self._intent else 0

    def _changed(self, changes: list[Change]) -> None:
        """Our own reports are no news."""
        if any(change.table in ("Fabric", "Object", "Controller") or _told(change) for change in changes):
            self._woken.set()

    def _weave(self) -> bool:
        """Brings the programs up to what the store says now; whether anything of it was new."""
        now = snapshot(self._replica.tables)
        intent = now.intent
        if intent is None:
            return False
        fresh = intent != self._intent
        if fresh and not self._read(intent):
            return False
        known = facts(now.states, expired(self._fabric, datetime.now(UTC)) if self._fabric else frozenset())
        dead = known.dead | self._gone_with_hosts(now)
        known = replace(known, dead=dead, joined=self._snooper.joined, routers=self._snooper.routers)
        if not fresh and known == self._facts:
            return False
        for name in sorted(known.expired - self._facts.expired):
            log.info("policy %s: its time is over", name)
        self._facts = known
        if self._fabric is not None:
            self._programs = self._compiler.compile(self._fabric, known)
            switched = [endpoint for endpoint in placed(self._fabric, known).endpoints.values() if not endpoint.direct]
            self._hosts = {host.name: host.dpid for host in self._fabric.hosts.values()}
            self._snooper.follow(self._fabric.segments.values(), (*switched, *strangers(self._fabric, known)), self._hosts)
            self._announcer.follow(switched)
            self._bridges = {dpid: bridge for dpid, (_, bridge, _) in switches(self._fabric).items()}
        return True

    def _gone_with_hosts(self, now: Snapshot) -> frozenset[tuple[str, str]]:
        """Members behind shared addresses on hosts of which neither the agent nor the switch was heard of lately: nobody asks them."""
        hosts = self._fabric.hosts.values() if self._fabric and self._fabric.services else ()
        gone = {host.name for host in hosts if self._states.get(host.dpid) is None and not now.alive(host.name)}
        return members_of(self._fabric, gone) if self._fabric and gone else frozenset()

    def _read(self, intent: Intent) -> bool:
        self._intent = intent
        try:
            self._fabric = resolve(from_objects(intent.file, intent.objects), intent.lab)
        except WeftError as error:
            log.error("the store's fabric is not one that this version understands, switches keep what they have: %s", error)
            return False
        return True

    async def _report(self, controller: Controller) -> None:
        """Tells the store about the switches whose state is other than it was told."""
        reports = {dpid: self._switch_report(controller, dpid, state) for dpid, state in self._states.items()}
        gone = [dpid for dpid, state in self._states.items() if state is None and dpid not in self._programs]
        news = [report for dpid, report in reports.items() if self._reported.get(dpid) != report and dpid not in gone]
        if not news and not gone:
            return
        try:
            await report_switches(self._replica, self.epoch, news, gone)
        except Fenced:
            if self._replica.tables["Controller"]:
                raise
            self.epoch = await self._claim()  # a store made anew knows nobody
            controller.channel.epoch = self.epoch
            self._woken.set()
        except OvsdbError:
            await asyncio.sleep(RETRY)
            self._woken.set()
        else:
            self._reported |= {report.dpid: report for report in news}
            for dpid in gone:
                self._reported.pop(dpid, None)
                self._states.pop(dpid, None)

    def _switch_report(self, controller: Controller, dpid: int, state: State | None) -> SwitchReport:
        switch = controller.switches.get(dpid)
        bridge = switch.bridge if switch else self._bridges.get(dpid, "")
        bare = dpid not in self._programs and not self._was_ours(dpid)
        if state is None:
            return SwitchReport(dpid, bridge, False, 0, 0, bare=bare)
        missing = tuple(sorted(switch.reconciler.ledger.missing)) if switch else ()
        serial = state.serial if state.synced else 0
        return SwitchReport(dpid, bridge, True, state.flows, serial, missing, "; ".join((*state.failed, *state.drift)), bare)

    async def _claim(self) -> int:
        while True:
            try:
                client = await Client.connect(self._target)
                try:
                    return await claim(client, self._targets, os.getpid())
                finally:
                    await client.close()
            except OvsdbError as error:
                log.warning("the store does not take a new controller yet: %s", error)
                await asyncio.sleep(RETRY)


def _told(change: Change) -> bool:
    """A host reported something that flows may depend on."""
    if change.table != "Host":
        return False
    return (change.old or {}).get("state") != (change.new or {}).get("state")


