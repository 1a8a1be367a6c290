"""Whether the endpoints behind shared addresses live: each host asks its own, every second, as the gateway of their segment.

TCP members take a connection; others answer a ping. A probe waits on the event loop, never in the agent's worker: a member that says
nothing holds nobody up.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from weft.agents.pings import Ping, answered
from weft.agents.spaces import inside
from weft.topology.errors import WeftError
from weft.topology.hostrow import MemberSpec, Spec

INTERVAL = 1.0
"""Seconds between two probes of a member."""
PATIENCE = 1.0
"""Seconds that a probe waits for its answer."""
FAILURES = 3
"""Probes in a row without an answer after which a member is dead; one answer and it lives again."""
PINGS = 8
"""Members that are pinged at once."""

States = dict[str, tuple[str, str]]
"""By object of the host's row: ``wired`` or ``failed``, and the reason."""


class Health:
    """The members of one host. `changed` is called when one of them died or came back."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.states: States = {}
        self._changed = changed
        self._asked: dict[str, tuple[MemberSpec, asyncio.Task[None]]] = {}
        self._pings = ThreadPoolExecutor(PINGS, "pings")

    def want(self, namespace: str, wanted: Mapping[str, Spec], told: Mapping[str, str]) -> None:
        """Asks these members from now on, from the services' namespace, and no others. `told`: what was reported before this agent began,
        which holds until it is known better."""
        members = {key: spec for key, spec in wanted.items() if isinstance(spec, MemberSpec)}
        for key in [key for key, (spec, _) in self._asked.items() if members.get(key) != spec]:
            self._asked.pop(key)[1].cancel()
            self.states.pop(key, None)
        for key, spec in members.items():
            if key not in self._asked:
                self._remember(key, told)
                self._asked[key] = spec, asyncio.create_task(self._ask(key, spec, namespace))

    def _remember(self, key: str, told: Mapping[str, str]) -> None:
        before = json.loads(told.get(key, "{}"))
        if before.get("state") == "failed":
            self.states[key] = "failed", before.get("reason", "")

    def stop(self) -> None:
        for _, task in self._asked.values():
            task.cancel()
        self._pings.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, key: str, spec: MemberSpec, namespace: str) -> None:
        failures = 0
        while True:
            wrong = await (self._connects(spec, namespace) if spec.tcp else self._answers(spec, namespace))
            failures = failures + 1 if wrong else 0
            if not wrong:
                self._say(key, "wired", "")
            elif failures >= FAILURES:
                self._say(key, "failed", wrong)
            await asyncio.sleep(INTERVAL)

    def _say(self, key: str, state: str, reason: str) -> None:
        if self.states.get(key) != (state, reason):
            self.states[key] = state, reason
            self._changed()

    async def _connects(self, spec: MemberSpec, namespace: str) -> str:
        """What is wrong, in a word or two; empty: nothing."""
        what = f"tcp/{spec.tcp} at {spec.address}"
        try:
            with inside(namespace):
                asking = socket.socket(socket.AF_INET6 if ":" in spec.address else socket.AF_INET, socket.SOCK_STREAM)
            with asking:
                asking.setblocking(False)
                asking.bind((spec.gateway, 0))
                await asyncio.wait_for(asyncio.get_running_loop().sock_connect(asking, (spec.address, spec.tcp)), PATIENCE)
        except TimeoutError:
            return f"{what} does not answer"
        except (WeftError, OSError) as error:
            number = getattr(error, "errno", None)  # asyncio puts words of its own into `strerror`
            return f"{what}: {os.strerror(number).lower() if number else error}"
        return ""

    async def _answers(self, spec: MemberSpec, namespace: str) -> str:
        ping = Ping(namespace, ip_address(spec.address))
        with contextlib.suppress(WeftError, OSError):
            if await asyncio.get_running_loop().run_in_executor(self._pings, answered, (ping,), PATIENCE):
                return ""
        return f"{spec.address} does not answer pings"
