"""Which store a command speaks to, and what it finds there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from json import loads
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from weft.cli.views import Seen
from weft.topology.errors import WeftError
from weft.topology.model import Fabric
from weft.topology.objects import from_objects
from weft.topology.ovsdb import Client, OvsdbError, Unreachable
from weft.topology.resolve import resolve
from weft.topology.server import RUN
from weft.topology.store import Snapshot, read

Result = TypeVar("Result")

StoreOption = Annotated[str, typer.Option("--store", help="The store: unix:PATH or tcp:HOST:PORT; default: this machine's.")]
FabricOption = Annotated[str, typer.Option("--fabric", help="Which fabric, where several run on this machine.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: stable keys.")]


def target(store: str, fabric: str, run: Path = RUN) -> str:
    """The store a command means. Raises WeftError where it means none, or several.

    `weft store` that was not told where listens at ``store.sock`` of the run folder itself: it does not know of what fabric it will be.
    """
    if store:
        return store
    own = [f"unix:{path}" for path in run.glob("store.sock")]
    if fabric:
        return own[0] if own and not (run / fabric).exists() else f"unix:{run / fabric / 'store.sock'}"
    names = sorted(path.parent.name for path in run.glob("*/store.sock"))
    found = [*own, *(f"unix:{run / name / 'store.sock'}" for name in names)]
    if not found:
        raise WeftError("no fabric runs on this machine: weft lab up FILE, weft up FILE --host NAME, or give --store")
    if len(found) > 1:
        words = [*(f"--store {each}" for each in own), *(f"--fabric {name}" for name in names)]
        raise WeftError(f"several fabrics run on this machine: give {' or '.join(words)}")
    return found[0]


def place(text: str) -> str:
    """Raises WeftError for what is no store's place, which a process that waits for its store would try for ever."""
    kind, _, where = text.partition(":")
    host, _, port = where.rpartition(":")
    if not where or kind not in ("unix", "tcp") or (kind == "tcp" and not (host and port.isdecimal() and int(port) < 65536)):
        raise WeftError(f'"{text}" is not unix:PATH or tcp:HOST:PORT')
    return text


def ask(store: str, question: Callable[[Client], Awaitable[Result]]) -> Result:
    """Connects, asks, closes. Raises WeftError where no store answers."""

    async def asking() -> Result:
        try:
            client = await Client.connect(store)
        except Unreachable as error:
            raise WeftError(f"{error}: {_mend(store, str(error))}") from None
        try:
            return await question(client)
        except OvsdbError as error:
            if "is not a valid column name" in str(error) or "No table named" in str(error):
                raise WeftError(f"{store}: the store of another version of weft: stop it and start it again") from None
            raise
        finally:
            await client.close()

    return asyncio.run(asking())


def _mend(store: str, said: str) -> str:
    """What to do where no store answers."""
    if "Permission denied" in said:
        return "run weft as root"
    folder = Path(store.removeprefix("unix:")).parent
    if store.startswith("unix:") and (folder / "lab.json").exists():
        return f"weft lab heal store --fabric {folder.name}"
    return "is the fabric running? weft lab up FILE, weft up FILE --host NAME, or weft store"


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
    return Seen(fabric, found.states, switches, {name: found.alive(name) for name in fabric.hosts}, found.policies)


def is_lab(fabric: str) -> bool:
    """Whether a fabric runs as a lab on this machine."""
    return (RUN / fabric / "lab.json").exists()


def lab_hosts(fabric: str, run: Path = RUN) -> tuple[Mapping[str, list[str]], list[str]]:
    """The hosts of a lab on this machine as they were made, with their NICs; and the uplinks (``kvm1/physnet``) whose wire speaks LACP."""
    said = loads((run / fabric / "lab.json").read_text())
    return said["hosts"], said.get("lacp", [])


