"""A change of how the host is reached, on trial: begun under the dead-man timer, good once who has to reach the host still does."""

import asyncio
import contextlib
from collections.abc import Iterable
from ipaddress import ip_address

from weft.agents import reach
from weft.agents import steps as s
from weft.agents.asking import unanswered
from weft.agents.deadman import Deadman
from weft.agents.hands import Kernel
from weft.agents.observed import Observed
from weft.agents.plan import Failures, Wanted
from weft.agents.reach import Address
from weft.agents.steps import Action
from weft.agents.undo import Before
from weft.agents.uplinks import Change, uplinks
from weft.topology.errors import WeftError

AGAIN = 0.05
"""Seconds between two looks at whether it is over."""
RESUME = 20
"""Looks after which it is asked whether anybody puts back what is to be put back."""


class Trial:
    """`kernel` runs what blocks in the agent's worker. `store`: empty where there is none that must answer."""

    def __init__(self, deadman: Deadman, store: str, keep: tuple[Address, ...], kernel: Kernel) -> None:
        self._deadman, self._store, self._keep, self._kernel = deadman, store, keep, kernel
        self._fresh = True

    def runs(self) -> bool:
        return self._deadman.pending() is not None or self._deadman.late()

    async def over(self) -> bool:
        """Waits while what was before is being put back, or is as good as that; sees to it that somebody does. Whether it had to wait."""
        if self._fresh:
            self._fresh = False
            await self._kernel(self._deadman.resume)
        looks = 0
        while self._deadman.late():
            looks += 1
            if looks % RESUME == 0:
                await self._kernel(self._deadman.resume)
            await asyncio.sleep(AGAIN)
        return looks > 0

    def put_back(self, wanted: Wanted, serial: int) -> Failures:
        return {key: ("failed", reason) for key, reason in self._deadman.put_back(wanted, serial).items()}

    def has_put_back(self) -> bool:
        return self._deadman.has_put_back()

    async def begin(self, changes: Iterable[Change], seen: Observed, serial: int) -> Failures:
        """Starts the timer for changes that do not run under it yet; those that may not be made now, and why."""
        running = self._deadman.pending()
        new = [change for change in changes if running is None or change.key not in running.ways]
        if not new:
            return {}
        if running is not None:
            return {change.key: ("waiting", f"until {', '.join(running.ways)} has proved good") for change in new}
        heard = await self._kernel(lambda: reach.answering((*self._keep, *reach.beside(seen.links))))
        if silent := [address for address in self._keep if address not in heard]:
            said = f"{silent[0]} of --keep-reachable does not answer as it is: nothing is changed"
            return {change.key: ("failed", said) for change in new}
        try:
            await self._kernel(lambda: self._deadman.begin(new, seen, serial, list(dict.fromkeys(map(str, heard)))))
        except WeftError as error:
            return {change.key: ("failed", str(error)) for change in new}
        return {}

    def last(self, actions: Iterable[Action]) -> list[Action]:
        """What is done only when all is well: to remember it, or to let the bridge go that was released."""
        running = self._deadman.pending()
        ways = running.ways if running else {}
        return [action for action in actions if action.key in ways and isinstance(action.step, s.Settle | s.RemoveBridge)]

    def note(self, failures: Failures, wanted: Wanted, seen: Observed) -> None:
        """Why a change does not even come so far that anybody is asked."""
        running = self._deadman.pending()
        for key in running.ways if running else ():
            spec = uplinks(wanted).get(key)
            if why := failures[key][1] if key in failures else unanswered(spec, seen) if spec else "":
                self._deadman.note(f"{why},")

    async def is_well(self) -> bool:
        """Waits until everybody answers again; False: not in time, and all goes back."""
        running, (patience, longest) = self._deadman.pending(), reach.ASK
        while running is not None and self._deadman.left(running) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._deadman.left(running)):
                    missing = await self._missing(running, patience)
                    if not missing:
                        return self._deadman.confirm()
                    self._deadman.note(f"{missing} did not answer")
            patience = min(patience * 2, longest)
            await asyncio.sleep(AGAIN)
        return False

    async def _missing(self, running: Before, patience: float) -> str:
        """Who does not answer; empty: everybody does."""
        first = patience == reach.ASK[0]  # what is found out in full counts, and what is only asked for the last time does not
        if first and self._store:
            self._deadman.note(f"the store {self._store} did not answer")
        if self._store and not await reach.store_answers(self._store, patience):
            return f"the store {self._store}"
        if first and running.reach:
            self._deadman.note(f"{', '.join(running.reach)} did not all answer")
        wanted = [ip_address(address) for address in running.reach]
        heard = await self._kernel(lambda: reach.answering(wanted))
        return ", ".join(str(address) for address in wanted if address not in heard)
