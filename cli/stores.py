"""Which store a command speaks to, and what it finds there."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from weft.cli.views import Seen
from weft.topology.errors import WeftError
from weft.topology.model import Fabric
from weft.topology.objects import from_objects
from weft.topology.ovsdb import Client, Unreachable
from weft.topology.resolve import resolve
from weft.topology.server import RUN, default_target
from weft.topology.store import Snapshot, read

Result = TypeVar("Result")

StoreOption = Annotated[str, typer.Option("--store", help="The store: unix:PATH or tcp:HOST:PORT; default: this machine's.")]
FabricOption = Annotated[str, typer.Option("--fabric", help="Which fabric, where several run on this machine.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: stable keys.")]


def target(store: str, fabric: str) -> str:
    """The store a command means. Raises WeftError where it means none, or several."""
    if store:
        return store
    if fabric:
        return default_target(fabric)
    found = sorted(path.parent.name for path in RUN.glob("*/store.sock"))
    if not found:
        raise WeftError("no fabric runs on this machine: weft lab up FILE, weft up FILE --host NAME, or give --store")
    if len(found) > 1:
        raise WeftError(f"several fabrics run on this machine: give --fabric {' or --fabric '.join(found)}")
    return default_target(found[0])


def ask(store: str, question: Callable[[Client], Awaitable[Result]]) -> Result:
    """Connects, asks, closes. Raises WeftError where no store answers."""

    async def asking() -> Result:
        try:
            client = await Client.connect(store)
        except Unreachable as error:
            raise WeftError(f"{error}: is the fabric running? weft lab up FILE, or weft store") from None
        try:
            return await question(client)
        finally:
            await client.close()

    return asyncio.run(asking())


def fabric_of(found: Snapshot) -> Fabric:
    """The fabric in a store. Raises WeftError where nothing was applied yet."""
    if found.intent is None:
        raise WeftError("the store holds no fabric yet: weft apply FILE")
    return resolve(from_objects(found.intent.file, found.intent.objects), found.intent.lab)


def look(store: str) -> Seen:
    """The fabric in a store beside what is reported of it."""
    return seen(ask(store, read))


def seen(found: Snapshot) -> Seen:
    fabric = fabric_of(found)
    serial = found.intent.serial if found.intent else 0
    switches = {dpid: {**row, "synced": row["synced_serial"] >= serial} for dpid, row in found.switches.items()}
    return Seen(fabric, found.states, switches, {name: found.alive(name) for name in fabric.hosts})


def is_lab(fabric: str) -> bool:
    """Whether a fabric runs as a lab on this machine."""
    return (RUN / fabric / "lab.json").exists()


