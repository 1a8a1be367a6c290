"""The agent of one host: observe, plan, apply, observe, report; again whenever the store, Open vSwitch or the kernel says something.

Restartable between any two steps: what it knows is what it sees. Work on the kernel is done in one worker thread; everything else
is on the event loop.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import rtnl

from weft.agents import steps as s
from weft.agents.links import Links
from weft.agents.observed import Observed
from weft.agents.ovs import DATABASE, WATCHES, Switch, kernel_datapath
from weft.agents.plan import Failures, Wanted, plan
from weft.agents.protected import protected
from weft.agents.services import services_digest, set_services
from weft.agents.states import states
from weft.agents.steps import Action
from weft.topology.errors import WeftError
from weft.topology.hostrow import EndpointSpec, from_json
from weft.topology.names import namespace, service_namespace
from weft.topology.ovsdb import Change, Replica, Row
from weft.topology.reports import host_watch, report_host

log = logging.getLogger("weft.agent")

LOOK_ANYWAY = 10.0
"""Seconds after which the agent looks even when nobody said anything."""
SETTLE = 0.01
"""Seconds it waits for more to happen before it looks."""
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


class Agent:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._wake = asyncio.Event()
        self._store = Replica(place.store, "Weft", host_watch(place.host), self._changed)
        self._ovs = Replica(place.ovsdb, DATABASE, WATCHES, self._changed)
        self._worker = ThreadPoolExecutor(1, "kernel")
        self._datapath = "netdev"
        self._links: Links | None = None
        self._fabric = ""

    async def run(self) -> None:
        """Runs until cancelled. What is wired stays wired."""
        await asyncio.gather(self._store.start(), self._ovs.start())
        self._datapath = "system" if await self._kernel(kernel_datapath) else "netdev"
        log.info("host %s, %s datapath", self._place.host, "kernel" if self._datapath == "system" else "userspace")
        _listen(self._wake.set)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK_ANYWAY)
                await asyncio.sleep(SETTLE)
                self._wake.clear()
                await self._converge_safely()
        finally:
            await self._store.stop()
            await self._ovs.stop()
            self._worker.shutdown()

    def _changed(self, changes: list[Change]) -> None:
        """Statistics and our own heartbeat are no news."""
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
        fabric = next((row["name"] for row in self._store.tables["Fabric"].values()), self._fabric)
        if row is None or not fabric or not self._ovs.ready.is_set():
            return
        if fabric != self._fabric:
            self._fabric, self._links = fabric, Links(fabric, finish=self._datapath == "netdev")
        wanted = {key: from_json(key, text) for key, text in row["wanted"].items()}
        failures: Failures = {}
        for _ in range(ROUNDS):
            seen = await self._observe(wanted)
            planned = plan(fabric, self._place.host, wanted, seen, self._controller())
            failures |= planned.failures
            if not planned.actions:
                break
            failures = planned.failures | await self._apply(planned.actions)
        await self._report(row, states(wanted, await self._observe(wanted), failures))

    async def _observe(self, wanted: Wanted) -> Observed:
        links, switch = self._links, self._switch()
        assert links is not None
        services = service_namespace(self._fabric, self._place.host)
        guests = {namespace(self._fabric, spec.guest) for spec in wanted.values() if isinstance(spec, EndpointSpec)}
        bridges = switch.bridges()
        mine = [bridge.name for bridge in bridges.values() if bridge.ours]

        def look() -> tuple[Any, ...]:
            seen = links.observe((*guests, services))
            return seen, links.deaf(), switch.based(mine), services_digest(services), protected(self._place.store, seen)

        seen, deaf, based, digest, kept = await self._kernel(look)
        return Observed(self._datapath, bridges, switch.ports(), seen, deaf, based, digest, kept)

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
                failures |= await self._try([action], lambda action=action: self._kernel(lambda: self._do(action)))  # type: ignore[misc]
        return failures

    async def _try(self, actions: list[Action], work: Callable[[], Any]) -> Failures:
        try:
            await work()
        except (WeftError, OSError) as error:
            log.warning("%s: %s", actions[0].object, error)
            return {action.key: ("failed", str(error)) for action in actions if action.key}
        return {}

    def _do(self, action: Action) -> None:
        assert self._links is not None
        match action.step:
            case s.BaseFlows() as step:
                self._switch().lay_base(step)
            case s.SetServices() as step:
                set_services(step)
            case step:
                self._links.apply(step, action.key)  # type: ignore[arg-type]

    async def _report(self, row: Row, new: Mapping[str, str]) -> None:
        current = next(iter(self._store.tables["Host"].values()), row)
        await report_host(self._store, self._place.host, current["state"], new, row["wanted_serial"])

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
    ignored = {"state", "applied_serial", "seen"}
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


def _listen(wake: Callable[[], None]) -> None:
    """Calls `wake` on the event loop whenever links, addresses or routes of this namespace change."""
    loop = asyncio.get_running_loop()

    def follow() -> None:
        with IPRoute() as ip:
            ip.bind(groups=rtnl.RTMGRP_LINK | rtnl.RTMGRP_IPV4_IFADDR | rtnl.RTMGRP_IPV4_ROUTE | rtnl.RTMGRP_IPV6_IFADDR)
            with contextlib.suppress(OSError, RuntimeError):
                while True:
                    for _ in ip.get():
                        pass
                    loop.call_soon_threadsafe(wake)

    threading.Thread(target=follow, name="netlink", daemon=True).start()


def this_host() -> str:
    return socket.gethostname().partition(".")[0]
