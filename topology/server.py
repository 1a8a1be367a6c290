"""The store's server: an `ovsdb-server` of weft's own over one file and a unix socket."""

import errno
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

from weft.topology.errors import WeftError

SCHEMA = Path(__file__).with_name("fabric.ovsschema")
DATABASE = "Weft"
RUN = Path("/run/weft")
FLOCK = "hhqqi"
"""The kernel's struct flock."""


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
        _lock(database)
    except BlockingIOError as error:
        raise WeftError(f"{database}: another store serves it, process {error.filename}: stop that, or give another --db") from None
    except OSError as error:
        raise WeftError(f"{error.filename}: {str(error.strerror).lower()}: run as root, or give another --db") from None
    if not database.exists():
        _tool("create", database, SCHEMA)
    elif _tool("db-name", database).strip() != DATABASE:
        raise WeftError(f"{database}: a database of another program: give another --db")
    elif _tool("needs-conversion", database, SCHEMA).strip() == "yes":
        _tool("convert", database, SCHEMA)


def _lock(database: Path) -> None:
    """Raises BlockingIOError, about its id, where another process has the lock that every program of OVSDB takes before it writes."""
    with database.resolve().with_name(f".{database.resolve().name}.~lock~").open("ab") as lock:
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(FLOCK, fcntl.fcntl(lock, fcntl.F_GETLK, asked))
        if kind != fcntl.F_UNLCK:
            raise BlockingIOError(errno.EAGAIN, "locked", str(pid))


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
    words = command(database, targets)
    for target in targets:
        _reserve(target)
    os.execvp(words[0], words)


def _reserve(target: str) -> None:
    """Raises WeftError where a target cannot be listened at: ovsdb-server itself would go on without it, and try again for ever."""
    kind, _, where = target.partition(":")
    try:
        if kind == "unix":
            Path(where).parent.mkdir(parents=True, exist_ok=True)
            if not _vacate(Path(where)):
                raise WeftError(f"{where}: another store answers there: stop it, or give another --listen")
            if not os.access(Path(where).parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        address, _, port = where.rpartition(":")
        host = address.strip("[]")
        with socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        said = error.strerror or str(error)
        raise WeftError(f"--listen {target}: {said.partition(' (while')[0].lower()}: give another") from None


def _vacate(path: Path) -> bool:
    """Removes a socket that a killed server left behind; False where somebody answers on it. Raises OSError where it is no socket."""
    if not path.exists():
        return True
    if not path.is_socket():
        raise FileExistsError(errno.EEXIST, "there is a file of that name")
    answers = subprocess.run(["ovsdb-client", "--timeout=2", "list-dbs", f"unix:{path}"], capture_output=True, check=False)
    if answers.returncode == 0:
        return False
    path.unlink(missing_ok=True)
    return True


def _remote(target: str) -> str:
    """OVSDB writes a passive target ``ptcp:PORT:ADDRESS``."""
    kind, _, where = target.partition(":")
    if kind == "unix" and where:
        return target
    address, _, port = where.rpartition(":")
    if kind != "tcp" or not port.isdecimal() or int(port) > 65535 or not address:
        raise WeftError(f'--listen "{target}" is not unix:PATH or tcp:ADDRESS:PORT')
    return f"tcp:{port}:{address}"


def _tool(*words: object) -> str:
    done = subprocess.run(["ovsdb-tool", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "failed").splitlines()[-1]
        raise WeftError(said.removeprefix("ovsdb-tool: "))
    return done.stdout
