"""`weft install`."""

import asyncio
import subprocess
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from weft.agents.lab import weft
from weft.agents.place import this_host
from weft.cli.agent import open_vswitch
from weft.cli.changes import Proposal, compare, propose
from weft.cli.default import FILE, default_file, host_name
from weft.cli.stores import JsonOption, place
from weft.cli.systemd import Systemd
from weft.cli.tables import show
from weft.cli.units import Role, units
from weft.cli.up import host_of, reached, unclaimed
from weft.topology.errors import WeftError
from weft.topology.ovsdb import Client, Unreachable
from weft.topology.server import command, default_target, prepare
from weft.topology.store import write

app = typer.Typer(add_completion=False)

RootOption = Annotated[
    Path, typer.Option(metavar="DIR", help="The file system to install into, for images and packages; nothing is started then.")
]


@app.command()
def install(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="The fabric file, where store and controller are to run here too; default: as weft up's.")
    ] = "",
    host: Annotated[str, typer.Option(help="Which of its hosts this machine is.", show_default="its hostname, or the only one")] = "",
    store: Annotated[str, typer.Option(help="The store of another host, tcp:ADDRESS:6640: only the agent is to run here.")] = "",
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="Of this host, at which others reach store and controller.")] = "",
    root: RootOption = Path("/"),
    as_json: JsonOption = False,
) -> None:
    """Have systemd run store, controller and agent of this host, or only its agent (--store), from now on and after every start."""
    if store and (file or listen):
        raise WeftError("--store names a store that runs elsewhere: FILE and --listen are for the host that it runs on")
    systemd = Systemd(root)
    systemd.check("install")
    proposal = None if store else _proposal(file, host, root)
    if proposal is None:
        role = Role(host or host_name(this_host()), weft(), place(store))
    else:
        role = Role(host_of(proposal, host), weft(), fabric=proposal.fabric.name, listen=listen)
        if systemd.live:
            asyncio.run(unclaimed(role.fabric, role.host, open_vswitch()))
    done = [] if proposal is None else [_stored(proposal, systemd.below(role.database), systemd.live)]
    done += systemd.bring(units(role))
    show([{"action": action, "object": what} for action, what in done], as_json)


def _proposal(file: str, host: str, root: Path) -> Proposal:
    own = host_name(this_host())
    return propose(file or str(default_file(host or own, root / FILE.relative_to("/"))), lab=False)


def _stored(proposal: Proposal, database: Path, live: bool) -> tuple[str, str]:
    """The file's fabric goes into its store, which may run already. Raises WeftError where that is another fabric's."""
    if live:
        with suppress(Unreachable):
            return asyncio.run(_written(Client.connect(default_target(proposal.fabric.name)), proposal)), str(database)
    prepare(database)
    with tempfile.TemporaryDirectory(prefix="weft.") as folder:
        target = f"unix:{folder}/store.sock"
        with subprocess.Popen(command(database, [target]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                return asyncio.run(_written(reached(target), proposal)), str(database)
            finally:
                server.terminate()


async def _written(connecting: Coroutine[Any, Any, Client], proposal: Proposal) -> str:
    """What was done with a store."""
    client = await connecting
    try:
        if not await compare(client, proposal):
            return "keep"
        serial = await write(client, proposal.intent, proposal.hosts, f"install {proposal.intent.file}")
        return "change" if serial > 1 else "add"
    finally:
        await client.close()
