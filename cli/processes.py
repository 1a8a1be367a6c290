"""What the long-running commands share: a log on standard error, and a clean stop on SIGINT and SIGTERM."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from weft.topology.errors import WeftError

LEVELS = ("debug", "info", "warning", "error")


def level(text: str) -> str:
    """Raises WeftError for what is no level."""
    if text not in LEVELS:
        raise WeftError(f"--log {text}: not known; {', '.join(LEVELS)}")
    return text


LevelOption = Annotated[str, typer.Option("--log", callback=level, help="debug, info, warning or error.")]


def run(work: Coroutine[Any, Any, None], level: str = "info") -> None:
    """Runs until it ends or is told to stop; then it is cancelled and its own clean-up done."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=level.upper())
    gc.freeze()  # what was imported stays: nobody looks through it for garbage again
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_told(work))


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await task
