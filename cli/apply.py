"""`weft apply`."""

import asyncio
import json
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from weft.apps.why import switches
from weft.cli.changes import Proposal, mine, propose
from weft.cli.stores import JsonOption, StoreOption, ask, seen, target
from weft.cli.views import Seen, guests
from weft.topology.errors import WeftError
from weft.topology.ovsdb import Client
from weft.topology.store import Snapshot, read, write

app = typer.Typer()

LOOK = 0.02
"""Seconds between looks at what is reported."""


@app.command()
def apply(
    file: Annotated[str, typer.Argument(help="The fabric file.")],
    store: StoreOption = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait until every host and switch has it; 0: do not wait.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Make it so: the whole file, or, where anything of it is wrong, nothing."""
    proposal = propose(file)
    serial = ask(target(store, proposal.fabric.name), lambda client: _apply(client, proposal, wait))
    if as_json:
        print(json.dumps({"fabric": proposal.fabric.name, "serial": serial}))
    else:
        print(f"{proposal.fabric.name}: applied, serial {serial}")


async def _apply(client: Client, proposal: Proposal, wait: float) -> int:
    found = await read(client)
    mine(found, proposal)
    serial = await write(client, proposal.intent, proposal.hosts, f"apply {proposal.intent.file}")
    if wait:
        with Console(stderr=True).status("waiting for hosts and switches") as status:
            await until(client, serial, wait, status)
    return serial


async def until(client: Client, serial: int, wait: float, status: Status | None = None) -> None:
    """Waits until hosts and switches have this serial. Raises WeftError that names who has not."""
    end = time.monotonic() + wait
    while left := behind(await read(client), serial):
        if time.monotonic() > end:
            raise WeftError(*(f"not applied yet: {line}" for line in left))
        if status is not None:
            status.update(f"waiting for {len(left)}: {left[0]}")
        await asyncio.sleep(LOOK)


def behind(found: Snapshot, serial: int) -> list[str]:
    """Who does not have a serial yet and why, a line each. A guest's port that is not there is not waited for."""
    shown = seen(found)
    lines = [
        f"host {name}: {_why(shown, name)}"
        for name, row in found.hosts.items()
        if row["applied_serial"] < row["wanted_serial"] and name in shown.fabric.hosts
    ]
    for dpid, (host, bridge, _) in switches(shown.fabric).items():
        row = shown.switch(dpid)
        if not row.get("connected"):
            lines.append(f"switch {host}/{bridge}: not connected to a controller")
        elif row["synced_serial"] < serial:
            lines.append(f"switch {host}/{bridge}: {row['drift'] or 'its flows are on their way'}")
    return lines


def _why(shown: Seen, host: str) -> str:
    if not shown.alive.get(host):
        return "its agent does not answer"
    failed = [row["reason"] for row in guests(shown) if row["host"] == host and row["state"] == "failed"]
    return failed[0] if failed else "its agent is at work"
