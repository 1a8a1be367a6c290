"""`weft uninstall`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from weft.agents.agent import Agent
from weft.agents.keep import FOLDER
from weft.agents.ovs import DATABASE
from weft.agents.place import Place
from weft.agents.transaction import MARK
from weft.cli.agent import open_vswitch
from weft.cli.install import RootOption
from weft.cli.stores import JsonOption
from weft.cli.systemd import Done, Systemd
from weft.cli.tables import show
from weft.cli.units import STATE
from weft.topology.errors import WeftError
from weft.topology.ovsdb import Client

app = typer.Typer(add_completion=False)


@app.command()
def uninstall(
    unwire: Annotated[bool, typer.Option("--unwire", help="Take the bridges of this host apart too; NICs have their addresses back.")] = False,
    root: RootOption = Path("/"),
    as_json: JsonOption = False,
) -> None:
    """Take back what `install` did. What is wired stays so, and /var/lib/weft with the store stays too, unless told otherwise."""
    systemd = Systemd(root)
    systemd.check("uninstall")
    if unwire and not systemd.live:
        raise WeftError("--unwire is for the machine that it runs on, not for --root")
    done = systemd.take_back()
    if unwire:
        done += unwired()
    show([{"action": action, "object": what} for action, what in done], as_json, "nothing of weft install is here")
    if not as_json and systemd.below(STATE).exists():
        typer.echo(f"{systemd.below(STATE)} stays: rm -r {systemd.below(STATE)} forgets the fabric", err=True)


def unwired() -> Done:
    """Raises WeftError with what could not be taken apart."""
    folder = open_vswitch()
    done: Done = []
    for fabric in asyncio.run(_fabrics(folder)):
        for host in sorted(path.name for path in FOLDER.glob("*") if path.is_dir()) or [""]:
            place = Place(host, "", f"unix:{folder}/db.sock", folder, FOLDER / host)
            failures = asyncio.run(Agent(place).unwire(fabric))
            if failures:
                raise WeftError(*(f"{what}: {reason}" for what, (_, reason) in failures.items()))
        done.append(("unwire", fabric))
    return done


async def _fabrics(folder: Path) -> list[str]:
    """Those that this Open vSwitch has bridges of."""
    client = await Client.connect(f"unix:{folder}/db.sock")
    try:
        bridges = await client.select(DATABASE, "Bridge", ("external_ids",))
    finally:
        await client.close()
    return sorted({bridge["external_ids"][MARK] for bridge in bridges if MARK in bridge["external_ids"]})
