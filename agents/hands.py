"""What carries a plan out, step by step, each by the driver that knows how."""

import logging
from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Any

from weft.agents import steps as s
from weft.agents.eyes import Eyes
from weft.agents.hostway import leave_host_way, set_host_way
from weft.agents.libvirt import Libvirt
from weft.agents.ovs import Switch
from weft.agents.plan import Failures
from weft.agents.service_steps import Answer, LeaveHostWay, SetHostWay, SetServices, StopAnswering
from weft.agents.services import set_services
from weft.agents.steps import Action
from weft.topology.errors import WeftError

log = logging.getLogger("weft.agent")

Kernel = Callable[[Callable[[], Any]], Awaitable[Any]]


class Hands:
    """Of one fabric on one host. `kernel` runs what blocks in the agent's worker."""

    def __init__(self, eyes: Eyes, libvirt: Libvirt, switch: Callable[[], Switch], kernel: Kernel) -> None:
        self._eyes, self._libvirt, self._switch, self._kernel = eyes, libvirt, switch, kernel

    async def apply(self, actions: list[Action]) -> Failures:
        """Carries a plan out; what fails is reported with its object and the rest goes on."""
        failures: Failures = {}
        for is_ovs, group in groupby(actions, key=lambda action: isinstance(action.step, s.OvsStep)):
            batch = list(group)
            for action in batch:
                log.info("%s %s: %s", action.action, action.object, action.detail)
            if is_ovs:
                failures |= await self.attempt(batch, lambda batch=batch: self._switch().apply([a.step for a in batch]))  # type: ignore[misc]
                continue
            for action in batch:
                failed = await self.attempt([action], lambda action=action: self._one(action))  # type: ignore[misc]
                failures = failed | failures  # of one object the first reason: what comes after it fails for that
        return failures

    async def _one(self, action: Action) -> None:
        if isinstance(action.step, s.LibvirtStep):
            await self._libvirt.do(action.step)
        else:
            await self._kernel(lambda: self._do(action))

    async def attempt(self, actions: list[Action], work: Callable[[], Any], what: str = "") -> Failures:
        try:
            await work()
        except (WeftError, OSError) as error:
            log.warning("%s: %s", what or actions[0].object, error)
            return {action.key: ("failed", str(error)) for action in actions if action.key}
        return {}

    def _do(self, action: Action) -> None:
        match action.step:
            case s.BaseFlows() as step:
                self._switch().lay_base(step)
                self._eyes.forget_base(step.bridge)
            case s.SetFunctions() | s.SetFunction() as step:
                self._eyes.sriov.apply(step)
            case SetServices() as step:
                set_services(step)
                self._eyes.settle_services(step.digest)
            case SetHostWay() as step:
                set_host_way(step)
                self._eyes.settle_host_way(step.digest)
            case LeaveHostWay() as step:
                leave_host_way(step)
                self._eyes.settle_host_way("")
            case s.AskAddress() | s.StopAsking() as step:
                self._eyes.clients.apply(step)
            case Answer() | StopAnswering() as step:
                self._eyes.dnsmasq.apply(step)
            case step:
                self._eyes.links.apply(step, action.key)  # type: ignore[arg-type]
