"""A controller on a unix socket, and switches in memory to connect to it; each test in its own event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from weft.apps.flow import Program
from weft.controller.reconcile import State
from weft.controller.service import Answer, Controller


class House:
    """The controller, what it should want of switches, and what it reported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.programs: dict[int, Program | Answer] = {}
        self.states: dict[int, State | None] = {}
        self.controller = self.another()

    def another(self, epoch: int = 7) -> Controller:
        return Controller(
            lambda dpid: self.programs.get(dpid, Answer.BARE), mode="reactive", epoch=epoch, report=self.states.__setitem__
        )

    async def until(self, holds: Callable[[], object], seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def synced(self, dpid: int = 1) -> None:
        await self.until(lambda: (state := self.states.get(dpid)) is not None and state.synced)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path / "weft.sock")
    await house.controller.start([f"unix:{house.path}"])
    yield house
    await house.controller.stop()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops that `weft controller` may run on."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
