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
RARELY = 0.3
"""Seconds between looks at what failed, which is more to read."""
GRACE = 3.0
"""Seconds that something which failed has to come right: a guest that moves is let go by one host and taken up by another."""


Behind = tuple[str, str]
"""A host, and a line about it."""


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
        except asyncio.CancelledError:
            print(f"no longer waiting: serial {serial} is in the store, and is carried out all the same", file=sys.stderr)
            raise
    return serial


async def until(client: Client, fabric: Fabric, serial: int, wait: float, status: Status | None = None) -> None:
    """Waits until hosts and switches have this serial and nothing is reported as failed. Raises WeftError that names who has not, and what is.

    Sooner than after `wait` seconds where something failed for so long that it will not come right, and nobody else is waited for.
    """
    began = sound = looked = time.monotonic()
    broken: list[Behind] = []
    while True:
        left, now = behind(await progress(client), fabric, serial), time.monotonic()
        if not left or now - looked > RARELY:
            broken, looked = failed(await states(client), fabric), now
        sound = sound if broken else now
        if not left and not broken:
            return
        if now - began > wait or (now - sound > GRACE and {host for host, _ in left} <= {host for host, _ in broken}):
            raise WeftError(*(f"not applied: {line}" for _, line in broken), *(f"not applied yet: {line}" for _, line in left))
        if status is not None:
            status.update(f"waiting for {len(left) + len(broken)}: {(*left, *broken)[0][1]}")
        await asyncio.sleep(LOOK if left else RARELY)


def behind(now: Progress, fabric: Fabric, serial: int) -> list[Behind]:
    """Who does not have a serial yet and why. A guest's port that is not there is not waited for."""
    lines = []
    for name in [*fabric.hosts, *(left for left in now.hosts if left not in fabric.hosts and alive(now.hosts[left]))]:
        row = now.hosts.get(name)
        if row is None or row["applied_serial"] < row["wanted_serial"]:
            lines.append((name, f"host {name}: {_agent(row)}"))
    for dpid, (host, bridge, _) in switches(fabric).items():
        row = now.switches.get(f"{dpid:016x}")
        if row is None or not row["connected"]:
            lines.append((host, f"switch {host}/{bridge}: not connected to a controller"))
        elif row["synced_serial"] < serial:
            lines.append((host, f"switch {host}/{bridge}: {row['drift'] or 'no controller has said that its flows are there'}"))
    return lines


def _agent(row: Row | None) -> str:
    if row is None or not row["seen"]:
        return "its agent was never heard of: does it run?"
    ago = time.time() - row["seen"]
    return f"its agent is not done, and was heard of {ago:.0f} s ago{'' if alive(row) else ': does it run?'}"


def failed(now: Mapping[str, Mapping[str, str]], fabric: Fabric) -> list[Behind]:
    """What hosts say they failed to do, each once for all objects that it kept from being done."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for host in fabric.hosts:
        for key, text in now.get(host, {}).items():
            said = json.loads(text)
            if said.get("state") == "failed":
                reasons.setdefault((host, said.get("reason", "")), []).append(key)
    return [(host, f"host {host}: {', '.join(keys)}: {reason}") for (host, reason), keys in reasons.items()]
