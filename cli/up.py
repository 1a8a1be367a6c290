"""`weft up`."""

import asyncio
import contextlib
import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from weft.agents.place import this_host
from weft.agents.transaction import MARK
from weft.cli.agent import KeepOption, WithinOption, dead_man, open_vswitch
from weft.cli.apply import until
from weft.cli.changes import Proposal, propose
from weft.cli.default import default_file, host_name
from weft.cli.processes import LevelOption, run
from weft.cli.stores import is_lab
from weft.cli.units import STATE
from weft.topology.errors import WeftError
from weft.topology.ovsdb import Client, Unreachable
from weft.topology.server import default_target, prepare, run_folder
from weft.topology.store import write

app = typer.Typer(add_completion=False)
log = logging.getLogger("weft.up")

SOON, PATIENCE = 5.0, 60.0
"""Seconds after which it says what this host still lacks, and for which it says so."""
AGAIN = 1.0
"""Seconds before a process that ended is started again."""
COMES_UP = 60.0
"""Seconds that the store has to answer. It takes less than one, and on a host under load many."""


@app.command()
def up(
    file: Annotated[
        str,
        typer.Argument(metavar="[FILE]", help="The fabric file; default: /etc/weft/default.yaml, one network as a new libvirt gives it."),
    ] = "",
    host: Annotated[str, typer.Option(help="Which of its hosts this machine is.", show_default="its hostname, or the only one")] = "",
    db: Annotated[Path | None, typer.Option(help="The store's file.", show_default="/var/lib/weft/FABRIC/store.db")] = None,
    within: WithinOption = 30.0,
    keep_reachable: KeepOption = None,
    level: LevelOption = "info",
) -> None:
    """Store, controller and agent of one host in one go, until SIGTERM; what is wired stays wired then."""
    if os.geteuid():
        raise WeftError("weft up needs root: bridges, namespaces and Open vSwitch belong to it")
    own = host_name(this_host())
    proposal = propose(file or str(default_file(host or own)), lab=False)
    host = host_of(proposal, host)
    asyncio.run(unclaimed(proposal.fabric.name, host, open_vswitch()))
    db = db or STATE / proposal.fabric.name / "store.db"
    prepare(db)
    try:
        run(_up(proposal, host, db, dead_man(within, keep_reachable)), level)
    except BaseExceptionGroup as group:
        raise said(group) from None


def host_of(proposal: Proposal, host: str) -> str:
    """Which host of a file this machine is. Raises WeftError where it is none, or runs the fabric as a lab."""
    hosts, own = proposal.fabric.hosts, host_name(this_host())
    host = host or (own if own in hosts or len(hosts) != 1 else next(iter(hosts)))
    if host not in hosts:
        raise WeftError(f"--host {host}: the file has no such host: it has {', '.join(hosts)}")
    if is_lab(proposal.fabric.name):
        raise WeftError(f"{proposal.fabric.name} runs as a lab on this machine: weft lab down {proposal.fabric.name}")
    return host


async def unclaimed(fabric: str, host: str, folder: Path) -> None:
    """Raises WeftError where this machine carries another fabric: a controller that does not know that would join its segments."""
    client = await Client.connect(f"unix:{folder}/db.sock")
    try:
        bridges = await client.select("Open_vSwitch", "Bridge", ("name", "external_ids"))
    finally:
        await client.close()
    for bridge in bridges:
        other = bridge["external_ids"].get(MARK, fabric)
        if other != fabric:
            mend = f"weft up its file, weft apply it without host {host}, and end that"
            raise WeftError(f'{bridge["name"]} is of fabric "{other}", and this machine can be a host of one: {mend}')


def said(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What is to be said of what ended it: the first error in the user's words, or all, where something else is among it."""
    ours, others = group.split(WeftError)
    if ours is None or others is not None:
        return group
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def _up(proposal: Proposal, host: str, db: Path, agent: tuple[str, ...]) -> None:
    fabric, folder = proposal.fabric.name, run_folder(proposal.fabric.name)
    folder.mkdir(parents=True, exist_ok=True)
    store, controller = default_target(fabric), f"unix:{folder}/controller.sock"
    words = {
        "store": ("store", "--db", str(db), "--listen", store),
        "controller": ("controller", "--store", store, "--listen", controller),
        "agent": ("agent", "--host", host, "--store", store, *agent),
    }
    async with asyncio.TaskGroup() as group:
        group.create_task(_keep("store", words["store"]))
        client = await reached(store)
        try:
            serial = await write(client, proposal.intent, proposal.hosts, f"up {proposal.intent.file}")
            for name in ("controller", "agent"):
                group.create_task(_keep(name, words[name]))
            await _said(client, proposal, host, serial)
        finally:
            await client.close()


async def _said(client: Client, proposal: Proposal, host: str, serial: int) -> None:
    """Says when this host is as the file says, and soon what it lacks; the other hosts of the file are not waited for."""
    fabric = replace(proposal.fabric, hosts={host: proposal.fabric.hosts[host]})
    known: set[str] = set()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            await until(client, fabric, serial, SOON)
        except WeftError as error:
            for line in error.lines:
                if line not in known:
                    log.warning("%s", line)
            known |= set(error.lines)
        else:
            log.info("%s: host %s is as %s says", fabric.name, host, proposal.intent.file)
            return


async def _keep(name: str, words: tuple[str, ...]) -> None:
    """Keeps a process of ours running; ends it, and waits until it has ended, when cancelled."""
    while True:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "weft.cli.main", *words, start_new_session=True)
        log.info("%s: process %d", name, process.pid)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        log.warning("%s ended with %d: started again in %g s", name, code, AGAIN)
        await asyncio.sleep(AGAIN)


async def reached(store: str) -> Client:
    """Raises WeftError for a store that nobody has started."""
    end = time.monotonic() + COMES_UP
    while time.monotonic() < end:
        with contextlib.suppress(Unreachable):
            return await Client.connect(store)
        await asyncio.sleep(0.05)
    raise WeftError(f"{store}: the store does not come up: weft store says why")
