"""The store's server: an `ovsdb-server` of weft's own over one file and a unix socket."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from weft.topology.errors import WeftError

SCHEMA = Path(__file__).with_name("fabric.ovsschema")
DATABASE = "Weft"
RUN = Path("/run/weft")


def run_folder(fabric: str) -> Path:
    """Where the sockets, logs and files of a fabric on this machine are."""
    return RUN / fabric


def default_target(fabric: str) -> str:
    return f"unix:{run_folder(fabric) / 'store.sock'}"


def prepare(database: Path) -> None:
    """Makes the database file, or brings an older one to this version's schema. Raises WeftError where that cannot be done."""
    if shutil.which("ovsdb-tool") is None or shutil.which("ovsdb-server") is None:
        raise WeftError("ovsdb-server is not installed: apt install openvswitch-common openvswitch-switch")
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeftError(f"{database.parent}: {error.strerror}: run as root, or give another --db") from None
    if not database.exists():
        _tool("create", database, SCHEMA)
    elif _tool("needs-conversion", database, SCHEMA).strip() == "yes":
        _tool("convert", database, SCHEMA)


def command(database: Path, listen: Iterable[str]) -> list[str]:
    """The command line that serves `database` at ``unix:PATH`` and ``tcp:ADDRESS:PORT`` targets, in the foreground."""
    folder = database.parent
    remotes = [f"--remote=p{_remote(target)}" for target in listen]
    return [
        "ovsdb-server",
        str(database),
        *remotes,
        f"--unixctl={folder / 'store.ctl'}",
        "--no-chdir",
        "-vconsole:warn",
        "-vsyslog:off",
    ]


def serve(database: Path, listen: Iterable[str]) -> None:
    """Becomes the server: this process is `ovsdb-server` from here on, and ends as it does on SIGTERM."""
    targets = list(listen)
    for target in targets:
        kind, _, where = target.partition(":")
        if kind == "unix" and not _vacate(Path(where)):
            raise WeftError(f"{where}: another store answers there: stop it, or give another --listen")
    words = command(database, targets)
    os.execvp(words[0], words)


def _vacate(socket: Path) -> bool:
    """Removes a socket that a killed server left behind; False where somebody answers on it."""
    if not socket.exists():
        return True
    answers = subprocess.run(["ovsdb-client", "--timeout=2", "list-dbs", f"unix:{socket}"], capture_output=True, check=False)
    if answers.returncode == 0:
        return False
    socket.unlink(missing_ok=True)
    return True


def _remote(target: str) -> str:
    """OVSDB writes a passive target ``ptcp:PORT:ADDRESS``."""
    kind, _, where = target.partition(":")
    if kind == "unix" and where:
        return target
    address, _, port = where.rpartition(":")
    if kind != "tcp" or not port.isdecimal() or not address:
        raise WeftError(f'--listen "{target}" is not unix:PATH or tcp:ADDRESS:PORT')
    return f"tcp:{port}:{address}"


def _tool(*words: object) -> str:
    done = subprocess.run(["ovsdb-tool", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WeftError(f"ovsdb-tool {words[0]}: {done.stderr.strip() or 'failed'}")
    return done.stdout
