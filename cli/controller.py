"""`weft controller`."""

import asyncio
import contextlib
import logging
import signal
from typing import Annotated, Any, get_args

import typer

from weft.apps.bare import Mode
from weft.cli.processes import LevelOption
from weft.cli.stores import place
from weft.controller.connection import log
from weft.controller.fabric import Loom
from weft.controller.service import Answer, Controller
from weft.controller.tags import local
from weft.topology.errors import WeftError

app = typer.Typer(add_completion=False)

LISTEN = ["tcp:0.0.0.0:6653"]


@app.command()
def controller(
    listen: Annotated[list[str], typer.Option(help="tcp:ADDRESS:PORT or unix:PATH; may be given again.")] = LISTEN,
    bare: Annotated[str, typer.Option(help="What a bridge in no fabric becomes: learn, normal or reactive.")] = "learn",
    ovsdb: Annotated[str, typer.Option(help="Database to read ports' tags of bare bridges from.", show_default="the local one")] = "",
    store: Annotated[str, typer.Option(help="The fabric's store; without one every bridge is bare.")] = "",
    level: LevelOption = "info",
) -> None:
    """Run the OpenFlow controller until it is interrupted; switches keep their flows then."""
    modes: tuple[Mode, ...] = get_args(Mode)
    mode = next((mode for mode in modes if mode == bare), None)
    if mode is None:
        raise WeftError(f"--bare {bare}: not known; {', '.join(modes)}")
    if store:
        place(store)
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    with asyncio.Runner(loop_factory=_loop()) as runner:
        runner.run(serve(listen, mode, ovsdb or local(), store))


def _loop() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's, which answers half as many packets again, where it is installed."""
    try:
        from uvloop import Loop
    except ImportError:
        return None
    return Loop


async def serve(listen: list[str], mode: Mode, ovsdb: str, store: str) -> None:
    """Serves until SIGINT or SIGTERM. With a store, its fabric says what switches should hold."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    loom = Loom(store, listen) if store else None
    if loom is not None:
        await _rehearse(listen)
    if not await _unless(stopped, asyncio.ensure_future(_start(loom))):
        return
    one = Controller(mode=mode, ovsdb=ovsdb)
    if loom is not None:
        one = Controller(loom.program_for, mode=mode, ovsdb=ovsdb, epoch=loom.epoch, report=loom.report)
    try:
        await one.start(listen)
        log.info("listening on %s", ", ".join(listen))
        await _unless(stopped, asyncio.ensure_future(loom.run(one) if loom else asyncio.Event().wait()))
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await one.stop()


async def _rehearse(listen: list[str]) -> None:
    """Opens the listeners and closes them: who cannot have them must not take the store from the controller that is in charge."""
    one = Controller(lambda dpid: Answer.HOLD, epoch=0)
    try:
        await one.start(listen)
    finally:
        await one.stop()


async def _start(loom: Loom | None) -> None:
    if loom is not None:
        log.info("waiting for the store")
        await loom.start()


async def _unless(stopped: asyncio.Event, work: "asyncio.Future[Any]") -> bool:
    """Waits for work to be done, True, or for the word to stop, False: it is cancelled then. What the work raises is raised."""
    stop = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((stop, work), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not work.done():
        work.cancel()
        await asyncio.wait((work,))
        return False
    await work
    return True
