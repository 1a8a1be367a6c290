"""`weft apply`."""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from weft.apps.why import switches
from weft.cli.changes import Proposal, propose
from weft.cli.stores import JsonOption, StoreOption, ask, target
from weft.topology.errors import WeftError
from weft.topology.model import Fabric
from weft.topology.ovsdb import Client, Row
from weft.topology.store import Progress, alive, progress, states, write

app = typer.Typer(add_completion=False)

LOOK = 0.02
"""Seconds between looks at what is reported."""
GRACE = 3.0
"""Seconds that something which failed has to come right: a guest that moves is let go by one host and taken up by another."""


@app.command()
def apply(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The fabric file.")],
    store: StoreOption = "",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until every host and switch has it; 0: do not wait.")] = 30.0,
    as_json: JsonOption = False,
    confirm: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Make it so: the whole file, or, where anything of it is wrong, nothing."""
    if confirm:
        raise WeftError("weft apply --confirm: not supported yet")
    proposal = propose(file)
    serial = ask(target(store, proposal.fabric.name), lambda client: _apply(client, proposal, wait))
    if as_json:
        print(json.dumps({"fabric": proposal.fabric.name, "serial": serial}))
    else:
        print(f"{proposal.fabric.name}: applied, serial {serial}")


async def _apply(client: Client, proposal: Proposal, wait: float) -> int:
    serial = await write(client, proposal.intent, proposal.hosts, f"apply {proposal.intent.file}")
    if wait:
        try:
            with Console(stderr=True).status("waiting for hosts and switches") as status:
                await until(client, proposal.fabric, serial, wait, status)
                await unfailing(client, proposal.fabric, min(wait, GRACE))
        except asyncio.CancelledError:
            print(f"no longer waiting: serial {serial} is in the store, and is carried out all the same", file=sys.stderr)
            raise
    return serial


async def until(client: Client, fabric: Fabric, serial: int, wait: float, status: Status | None = None) -> None:
    """Waits until hosts and switches have this serial. Raises WeftError that names who has not."""
    end = time.monotonic() + wait
    while left := behind(await progress(client), fabric, serial):
        if time.monotonic() > end:
            raise WeftError(*(f"not applied yet: {line}" for line in left))
        if status is not None:
            status.update(f"waiting for {len(left)}: {left[0]}")
        await asyncio.sleep(LOOK)


def behind(now: Progress, fabric: Fabric, serial: int) -> list[str]:
    """Who does not have a serial yet and why, a line each. A guest's port that is not there is not waited for."""
    lines = []
    for name in [*fabric.hosts, *(left for left in now.hosts if left not in fabric.hosts and alive(now.hosts[left]))]:
        row = now.hosts.get(name)
        if row is None or row["applied_serial"] < row["wanted_serial"]:
            lines.append(f"host {name}: {_agent(row)}")
    for dpid, (host, bridge, _) in switches(fabric).items():
        row = now.switches.get(f"{dpid:016x}")
        if row is None or not row["connected"]:
            lines.append(f"switch {host}/{bridge}: not connected to a controller")
        elif row["synced_serial"] < serial:
            lines.append(f"switch {host}/{bridge}: {row['drift'] or 'no controller has said that its flows are there'}")
    return lines


def _agent(row: Row | None) -> str:
    if row is None or not row["seen"]:
        return "its agent was never heard of: does it run?"
    ago = time.time() - row["seen"]
    return f"its agent is not done, and was heard of {ago:.0f} s ago{'' if alive(row) else ': does it run?'}"


async def unfailing(client: Client, fabric: Fabric, grace: float) -> None:
    """Returns when nothing of a fabric is reported as failed. Raises WeftError with what still is after so many seconds."""
    end = time.monotonic() + grace
    while left := failed(await states(client), fabric):
        if time.monotonic() > end:
            raise WeftError(*(f"applied, but {line}" for line in left))
        await asyncio.sleep(LOOK * 5)


def failed(now: Mapping[str, Mapping[str, str]], fabric: Fabric) -> list[str]:
    """What hosts say they failed to do, a line each."""
    said = ((host, key, json.loads(text)) for host in fabric.hosts for key, text in now.get(host, {}).items())
    return [f"{key} on {host} failed: {state.get('reason', '')}" for host, key, state in said if state.get("state") == "failed"]
