"""Processes that an agent starts and leaves running: found again by their id in a file and a mark in their environment."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from weft.agents import processes


def mark_of(pid: int, variable: str) -> tuple[str, ...]:
    """The words of a process's mark; none: it is not ours."""
    try:
        settings = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ()
    marks = (setting for setting in settings if setting.startswith(f"{variable}=".encode()))
    return tuple(next(marks, b"").partition(b"=")[2].decode().split())


def pid_in(file: Path, variable: str, whose: str) -> int | None:
    """The id in a file, of a process that runs and whose mark begins with `whose`."""
    try:
        pid = int(file.read_text())
    except (OSError, ValueError):
        return None
    return pid if processes.alive(pid) and mark_of(pid, variable)[:1] == (whose,) else None


def start(at: Path, command: Sequence[str], marks: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process that outlives the agent, `marks` in its environment: its id in ``AT.pid``, what it says in ``AT.log``.

    The id is there before the program is: an agent that is killed now finds it.
    """
    first = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', f"{at}.pid"]
    with Path(f"{at}.log").open("wb") as log:
        return subprocess.Popen(
            [*first, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True, env=os.environ | marks
        )
