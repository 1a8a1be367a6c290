"""`weft lab`."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from weft.agents import lab as labs
from weft.agents import ready, wires
from weft.agents.lab import Lab
from weft.agents.spaces import NAMESPACES
from weft.cli.pings import show_pings
from weft.cli.stores import look
from weft.cli.tables import Row, show
from weft.topology import names, server
from weft.topology.errors import WeftError
from weft.topology.hostrow import to_json
from weft.topology.load import load
from weft.topology.model import Fabric
from weft.topology.objects import from_objects, to_objects
from weft.topology.ovsdb import Client
from weft.topology.resolve import resolve
from weft.topology.rows import host_rows
from weft.topology.store import Intent, read, write

app = typer.Typer(no_args_is_help=True, add_completion=False)

Json = Annotated[bool, typer.Option("--json", help="Print a list with stable keys.")]
Of = Annotated[str, typer.Option("--fabric", help="Name of the lab; default: the only one.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the lab; default: the only one.")]
KINDS = ("host", "link", "agent", "controller", "store")
What = Annotated[str, typer.Argument(metavar="|".join(KINDS))]
Whose = Annotated[str, typer.Argument(metavar="HOST[/NIC]", help="Of which host; one NIC of it only where a link is meant.")]


@app.callback()
def lab() -> None:
    """The whole fabric on this one machine: every host and every guest a namespace, with real Open vSwitch and real packets."""


@app.command()
def up(file: Annotated[str, typer.Argument(metavar="FILE", help="The fabric file.")]) -> None:
    """Makes it, and returns when every endpoint is wired."""
    document = load(file)
    fabric = resolve(document, lab=True)
    _no_lab(fabric.name)
    made = labs.lay_out(fabric, str(Path(file).resolve()))
    intent = Intent(fabric.name, file, True, to_objects(document))
    rows = {host: {key: to_json(spec) for key, spec in row.items()} for host, row in host_rows(fabric).items()}

    async def fill() -> None:
        client = await Client.connect(made.store)
        try:
            await write(client, intent, rows, f"lab up {file}")
        finally:
            await client.close()

    with _progress(f"lab {fabric.name}") as say, _terminable():

        def waiting(lacking: list[ready.Lack]) -> None:
            say(f"waiting for {len(lacking)}: {lacking[0].about}")
            if not made.folder.exists():
                raise WeftError(f"lab {fabric.name} was taken down while it came up")
            labs.check_running(made)

        labs.up(made, fabric, lambda: asyncio.run(fill()), say)
        try:
            left = asyncio.run(ready.wait(made.store, fabric, 60 + 0.2 * len(fabric.endpoints), waiting))
        except KeyboardInterrupt:
            labs.remove(made.fabric)
            raise
    if left:
        raise WeftError(*map(str, left), f"the lab is up but not whole: look into {made.folder}/*.log, then weft lab down {fabric.name}")
    print(f"lab {fabric.name}: {len(fabric.hosts)} hosts, {len(ready.awaited(fabric))} endpoints wired")


@app.command()
def down(name: Annotated[str, typer.Argument(metavar="FILE|NAME", help="Default: the only one.")] = "") -> None:
    """Takes it down, whole or half made: no process, namespace or file of it stays."""
    if not name and not labs.labs():
        print("no lab is up")
        return
    fabric = _fabric_of(name) if name else _only()
    _no_lab(fabric)
    print(f"lab {fabric} is down" if labs.down(fabric) else f"there is no lab {fabric}")


@app.command()
def status(name: Name = "", as_json: Json = False) -> None:
    """What runs of it, and how much of it is wired."""
    labs.check()
    chosen = [name] if name else labs.labs()
    rows = [row for each in chosen for row in _status(_lab(each))]
    show(rows, as_json, "no lab is up")


@app.command("exec", context_settings={"ignore_unknown_options": True})
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A guest, a host or `outside`.")],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run there.")],
    fabric: Of = "",
) -> None:
    """Runs a command in a guest, on a host or outside; its exit code is the command's."""
    labs.check()
    where = _lab(fabric) if fabric else _with(name)
    space = NAMESPACES / names.namespace(where.fabric, name)
    if not space.exists():
        raise WeftError(f'lab {where.fabric} has no "{name}": it has {", ".join(_places(where.fabric))}')
    env = os.environ | (labs.environment(where.fabric, name) if name in where.hosts else {})
    sys.stdout.flush()
    os.execvpe("ip", ["ip", "netns", "exec", space.name, *command], env)


@app.command()
def ping(name: Name = "", as_json: Json = False) -> None:
    """Pings everybody from everybody, and outside, at once. Exits with 2 where an answer is not the expected one."""
    labs.check()
    chosen = _lab(name or _only())
    seen = look(chosen.store)
    if not show_pings(seen.fabric, seen.facts, as_json):
        raise typer.Exit(2)


@app.command()
def fail(what: What, name: Whose = "", fabric: Of = "") -> None:
    """Kills a process or a host (kill -9), or pulls the cables of a host, or that of one NIC: it has no carrier then."""
    labs.check()
    made = _lab(fabric or _only())
    labs.fail(made, *_meant(made, what, name))


@app.command()
def heal(what: What, name: Whose = "", fabric: Of = "") -> None:
    """Starts again what was killed, plugs in what was pulled."""
    labs.check()
    made = _lab(fabric or _only())
    labs.heal(made, *_meant(made, what, name))


def _meant(made: Lab, what: str, name: str) -> tuple[str, str]:
    """What of a lab is meant. Raises WeftError where that is not said."""
    if what not in KINDS:
        raise WeftError(f'"{what}" is not one of {", ".join(KINDS)}')
    if what in ("controller", "store"):
        if name:
            raise WeftError(f'there is one {what}, and none of "{name}": weft lab fail|heal {what}')
    elif not name:
        raise WeftError(f"{what} of which host? Of {', '.join(made.hosts)}: name one")
    return what, name


def _no_lab(fabric: str) -> None:
    """Raises WeftError where a fabric is what `weft up` made of this machine itself: that is no lab's to take down."""
    folder = server.run_folder(fabric)
    if folder.exists() and not (folder / "up.lock").exists() and ((folder / "store.sock").exists() or wires.namespaces(fabric)):
        raise WeftError(f'"{fabric}" is no lab: weft up runs or ran it on this machine itself: give a lab another name')


def _only() -> str:
    """The lab that is meant where none is named."""
    there = labs.labs()
    if len(there) != 1:
        raise WeftError(f"which lab? There are {', '.join(there)}: name one" if there else "no lab is up: weft lab up FILE")
    return there[0]


def _lab(fabric: str) -> Lab:
    found = labs.read(fabric)
    if found is None:
        there = labs.labs()
        raise WeftError(f"there is no lab {fabric}: {'there are ' + ', '.join(there) if there else 'weft lab up FILE makes one'}")
    return found


def _with(name: str) -> Lab:
    """The lab that has a guest or host of this name."""
    there = [fabric for fabric in labs.labs() if (NAMESPACES / names.namespace(fabric, name)).exists()]
    if len(there) > 1:
        raise WeftError(f'"{name}" is in labs {", ".join(there)}: say which with --fabric')
    return _lab(there[0] if there else _only())


def _fabric_of(name: str) -> str:
    """A lab's name from its name, or from the file it was made from, even when that is broken or gone by now."""
    if name in labs.labs() or not (Path(name).exists() or "/" in name or name.endswith((".yaml", ".yml"))):
        return name
    path = str(Path(name).resolve())
    for fabric in labs.labs():
        found = labs.read(fabric)
        if found and found.file == path:
            return fabric
    return load(name).spec.fabric


def _places(fabric: str) -> list[str]:
    prefix = names.namespace(fabric, "")
    every = [space.name.removeprefix(prefix) for space in wires.namespaces(fabric)]
    return [name for name in every if name != wires.WIRES and not name.endswith(".svc")]


async def _read(made: Lab) -> tuple[Fabric, list[ready.Lack]]:
    client = await Client.connect(made.store)
    try:
        seen = await read(client)
    finally:
        await client.close()
    if seen.intent is None:
        raise WeftError(f"the store of lab {made.fabric} is empty: weft lab down {made.fabric}, and up again")
    fabric = resolve(from_objects(seen.intent.file, seen.intent.objects), lab=True)
    return fabric, ready.lacks(fabric, seen)


async def _fabric(made: Lab) -> Fabric:
    return (await _read(made))[0]


def _status(made: Lab) -> Iterator[Row]:
    for process in made.processes:
        pid = made.pid(process.name)
        yield {"lab": made.fabric, "what": process.name, "pid": pid, "state": "ok" if pid else "down", "detail": ""}
    try:
        fabric, lacking = asyncio.run(_read(made))
    except WeftError as error:
        yield {"lab": made.fabric, "what": "endpoints", "pid": None, "state": "down", "detail": error.lines[0]}
        return
    awaited = [endpoint.name for endpoint in ready.awaited(fabric)]
    wired = len(set(awaited) - {lack.about for lack in lacking})
    state, detail = ("waiting", f"; {lacking[0]}") if lacking else ("ok", "")
    yield {"lab": made.fabric, "what": "endpoints", "pid": None, "state": state, "detail": f"{wired} of {len(awaited)} wired{detail}"}


@contextmanager
def _progress(about: str) -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is being done; nothing where there is no terminal."""
    console = Console(stderr=True)
    with console.status(about) as line:
        yield lambda said: line.update(f"{about}: {said}")


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed, end `up` as Ctrl-C does. One is enough: while what was made is removed, more change nothing."""

    def stop(*_: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    heard = (number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN)
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
