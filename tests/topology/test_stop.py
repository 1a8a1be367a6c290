"""A replica stops when it is told, whatever it is about at that moment."""

import asyncio
from pathlib import Path

import pytest

from weft.topology.ovsdb import Client
from weft.topology.replica import Replica


@pytest.mark.parametrize("turns", range(24))
async def test_a_replica_that_finds_nobody_stops_at_any_turn_of_the_loop(tmp_path: Path, turns: int) -> None:
    replica = Replica(f"unix:{tmp_path}/nobody", "Weft", {})
    starting = asyncio.create_task(replica.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait((asyncio.create_task(replica.stop()),), timeout=1)
    await asyncio.wait((starting,))
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


@pytest.mark.parametrize("turns", range(12))
async def test_who_connects_can_be_told_to_leave_it_at_any_turn_of_the_loop(tmp_path: Path, turns: int) -> None:
    connecting = asyncio.create_task(Client.connect(f"unix:{tmp_path}/nobody"))
    for _ in range(turns):
        await asyncio.sleep(0)
    told = connecting.cancel()
    await asyncio.wait((connecting,))
    assert connecting.cancelled() == told
