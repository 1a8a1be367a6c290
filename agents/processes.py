"""The processes of a lab: started so that they outlive the command, found again by a mark in their environment, ended by their id."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from weft.topology.errors import WeftError

MARK = "WEFT_LAB"
"""Variable that every process of a lab carries from its start, with the fabric's name: children inherit it, nobody else has it."""

PATIENCE = 3.0
"""Seconds a process has to end by itself before it is killed."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a lab: how it is started, and started again. Its id is in ``FOLDER/NAME.pid``, its output in ``FOLDER/NAME.log``."""

    name: str
    command: tuple[str, ...]
    namespace: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    writes_pid: bool = False
    """It writes the same file with its id by itself, and holds a lock on it."""


def start(process: Process, fabric: str, folder: Path) -> int:
    """Starts a process in its namespace; its id. Raises WeftError where the program is not there."""
    # Not `ip netns exec`: in the mount namespace that it makes, nobody else sees the network namespaces that an agent makes.
    # nsenter becomes the program: the id stays.
    inside = ("nsenter", f"--net=/run/netns/{process.namespace}", "--") if process.namespace else ()
    environment = os.environ | process.environment | {MARK: fabric}
    with (folder / f"{process.name}.log").open("ab") as log:
        try:
            started = subprocess.Popen(
                (*inside, *process.command),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd="/", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise WeftError(f"{process.command[0]}: {error.strerror}") from None
    if not process.writes_pid:
        (folder / f"{process.name}.pid").write_text(f"{started.pid}\n")
    started.returncode = 0  # it is not ours to wait for: it outlives this command
    return started.pid


def pid_of(name: str, fabric: str, folder: Path) -> int | None:
    """The id of a process of this lab that runs; a number in a file that is somebody else's by now is none."""
    try:
        pid = int((folder / f"{name}.pid").read_text())
    except (OSError, ValueError):
        return None
    return pid if alive(pid) and is_marked(pid, fabric) else None


def has_ended(name: str, folder: Path) -> bool:
    """A process that was started does not run any more; a daemon makes the file before it knows its id.

    Its mark is not asked for: it has none while it becomes another program.
    """
    try:
        return not alive(int((folder / f"{name}.pid").read_text()))
    except (OSError, ValueError):
        return False


def alive(pid: int) -> bool:
    """A process that ended and that nobody has waited for is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def is_marked(pid: int, fabric: str) -> bool:
    """A lab of the same name inside a container is another one: its processes are seen from here, in a namespace of their own."""
    try:
        beside = Path(f"/proc/{pid}/ns/pid").stat().st_ino == Path("/proc/self/ns/pid").stat().st_ino
        return beside and f"{MARK}={fabric}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def belonging(fabric: str, namespaces: Iterable[Path]) -> list[int]:
    """Processes of a lab: those with its mark, and whatever runs in one of its namespaces, less this command and its parents."""
    own = set(_ancestors(os.getpid()))
    pids = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())
    with _held(namespaces) as spaces:
        return [pid for pid in pids if pid not in own and (_is_in(pid, spaces) or is_marked(pid, fabric)) and alive(pid)]


@contextmanager
def _held(namespaces: Iterable[Path]) -> Iterator[set[int]]:
    """The namespaces' numbers, held: one that goes away meanwhile would leave its number to somebody else's."""
    held: list[int] = []
    try:
        for path in namespaces:
            with suppress(OSError):
                held.append(os.open(path, os.O_RDONLY))
        yield {os.fstat(each).st_ino for each in held}
    finally:
        for each in held:
            os.close(each)


def _is_in(pid: int, spaces: set[int]) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino in spaces
    except OSError:
        return False


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            return


def end(pids: Iterable[int]) -> None:
    """Asks processes to end, kills those that do not, and returns when all are gone."""
    left = _signal(pids, signal.SIGTERM)
    left = _wait(left, PATIENCE)
    left = _wait(_signal(left, signal.SIGKILL), PATIENCE)
    if left:
        raise WeftError(f"process {left[0]} does not end, even by kill -9: look at it with ps")


def _signal(pids: Iterable[int], number: int) -> list[int]:
    reached = []
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        reached.append(pid)
    return reached


def _wait(pids: list[int], seconds: float) -> list[int]:
    """Those of `pids` that are still alive after so many seconds."""
    deadline = time.monotonic() + seconds
    while (pids := [pid for pid in pids if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return pids
