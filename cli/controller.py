"""`weft controller`."""

import asyncio
import contextlib
import logging
import signal
from importlib import import_module
from typing import Annotated, get_args

import typer

from weft.apps.bare import Mode
from weft.controller.channel import log
from weft.controller.service import Answer, Controller
from weft.controller.tags import local
from weft.topology.errors import WeftError

app = typer.Typer()

LISTEN = ["tcp:0.0.0.0:6653"]
LEVELS = ("debug", "info", "warning", "error")


@app.command()
def controller(
    listen: Annotated[list[str], typer.Option(help="tcp:ADDRESS:PORT or unix:PATH; may be given again.")] = LISTEN,
    bare: Annotated[str, typer.Option(help="What a bridge in no fabric becomes: learn, normal or reactive.")] = "learn",
    ovsdb: Annotated[str, typer.Option(help="Database to read ports' tags of bare bridges from.", show_default="the local one")] = "",
    store: Annotated[str, typer.Option(help="The fabric's store; without one every bridge is bare.")] = "",
    level: Annotated[str, typer.Option("--log", help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the OpenFlow controller until it is interrupted; switches keep their flows then."""
    modes: tuple[Mode, ...] = get_args(Mode)
    mode = next((mode for mode in modes if mode == bare), None)
    if mode is None:
        raise WeftError(f"--bare {bare}: not known; {', '.join(modes)}")
    if level not in LEVELS:
        raise WeftError(f"--log {level}: not known; {', '.join(LEVELS)}")
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
    """Serves until SIGINT or SIGTERM. With a store, `weft.controller.fabric.follow` says what switches should hold."""
    one = Controller(lambda dpid: Answer.HOLD if store else Answer.BARE, mode=mode, ovsdb=ovsdb)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        await one.start(listen)
        log.info("listening on %s", ", ".join(listen))
        async with asyncio.TaskGroup() as group:
            following = group.create_task(_follow(one, store)) if store else None
            await stopped.wait()
            if following is not None:
                following.cancel()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await one.stop()


async def _follow(one: Controller, store: str) -> None:
    await import_module("weft.controller.fabric").follow(one, store)
