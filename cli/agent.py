"""`weft agent`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from weft.agents.agent import Agent
from weft.agents.keep import FOLDER
from weft.agents.place import Place, this_host
from weft.agents.reach import address
from weft.cli.processes import LevelOption, run
from weft.cli.stores import place
from weft.topology.errors import WeftError

app = typer.Typer(add_completion=False)

WithinOption = Annotated[
    float,
    typer.Option(
        "--within", min=0.5, help="Seconds in which the store must answer again after a change of how the host is reached; else it is put back."
    ),
]
KeepOption = Annotated[
    list[str] | None, typer.Option("--keep-reachable", metavar="ADDRESS", help="An address that must answer as well; may be given again.")
]


@app.command()
def agent(
    store: Annotated[str, typer.Option(help="The store: unix:PATH or tcp:HOST:PORT.")],
    host: Annotated[str, typer.Option(help="Name of this host in the fabric file; default: its hostname.")] = "",
    controller: Annotated[str, typer.Option(help="Where bridges find their controller; default: where the store says.")] = "",
    ovsdb: Annotated[str, typer.Option(help="Open vSwitch's database; default: the local one.")] = "",
    within: WithinOption = 30.0,
    keep_reachable: KeepOption = None,
    state: Annotated[
        Path | None, typer.Option(help="Where it keeps what it was last told, and how to put the host back.", show_default=f"{FOLDER}/HOST")
    ] = None,
    log: LevelOption = "info",
) -> None:
    """Run the agent of one host: make it what the fabric says, keep it so, report what is."""
    if os.geteuid():
        raise WeftError("weft agent needs root: bridges, namespaces and Open vSwitch belong to it")
    place(store)
    folder = open_vswitch(not ovsdb)
    host = host or this_host()
    reachable = tuple(map(address, keep_reachable or ()))
    where = ovsdb or f"unix:{folder}/db.sock"
    run(_run(Place(host, store, where, folder, state or FOLDER / host, controller or None, within, reachable)), log)


def dead_man(within: float, keep: list[str] | None) -> tuple[str, ...]:
    """The same options for an agent that is started. Raises WeftError for what is no address."""
    return ("--within", str(within), *(word for text in keep or () for word in ("--keep-reachable", str(address(text)))))


def open_vswitch(must: bool = True) -> Path:
    """Where the Open vSwitch of this machine has its sockets. Raises WeftError where it must run and does not."""
    folder = Path(os.environ.get("OVS_RUNDIR", "/var/run/openvswitch"))  # ovs-vswitchd compares the text: /run is refused
    if must and not (folder / "db.sock").exists():
        raise WeftError(f"{folder}/db.sock: no Open vSwitch here: apt install openvswitch-switch, systemctl start openvswitch-switch")
    return folder


async def _run(place: Place) -> None:
    await Agent(place).run()
