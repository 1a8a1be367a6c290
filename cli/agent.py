"""`weft agent`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from weft.agents.agent import Agent, Place, this_host
from weft.cli.processes import LevelOption, run
from weft.topology.errors import WeftError

app = typer.Typer(add_completion=False)


@app.command()
def agent(
    store: Annotated[str, typer.Option(help="The store: unix:PATH or tcp:HOST:PORT.")],
    host: Annotated[str, typer.Option(help="Name of this host in the fabric file; default: its hostname.")] = "",
    controller: Annotated[str, typer.Option(help="Where bridges find their controller; default: where the store says.")] = "",
    ovsdb: Annotated[str, typer.Option(help="Open vSwitch's database; default: the local one.")] = "",
    log: LevelOption = "info",
) -> None:
    """Run the agent of one host: make it what the fabric says, keep it so, report what is."""
    if os.geteuid():
        raise WeftError("weft agent needs root: bridges, namespaces and Open vSwitch belong to it")
    folder = Path(os.environ.get("OVS_RUNDIR", "/var/run/openvswitch"))  # ovs-vswitchd compares the text: /run is refused
    target = ovsdb or f"unix:{folder}/db.sock"
    if not ovsdb and not (folder / "db.sock").exists():
        raise WeftError(f"{folder}/db.sock: no Open vSwitch here: apt install openvswitch-switch, systemctl start openvswitch-switch")
    run(_run(Place(host or this_host(), store, target, folder, controller or None)), log)


async def _run(place: Place) -> None:
    await Agent(place).run()
