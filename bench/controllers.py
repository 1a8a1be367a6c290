"""The two controllers that are compared, each a process of its own."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WEFT = str(Path(sys.executable).with_name("weft"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def weft(target: str, *options: str) -> Iterator[None]:
    """`weft controller` listening at ``tcp:ADDRESS:PORT`` or ``unix:PATH``."""
    with _running(target, WEFT, "controller", "--listen", target, "--log", "error", *options):
        yield


@contextmanager
def testcontroller(target: str) -> Iterator[None]:
    """`ovs-testcontroller` at the same."""
    kind, _, where = target.partition(":")
    address, _, port = where.rpartition(":")
    passive = f"punix:{where}" if kind == "unix" else f"ptcp:{port}:{address}"
    with tempfile.TemporaryDirectory() as folder:
        options = ("-O", "OpenFlow13,OpenFlow14", f"--unixctl={folder}/ctl", "-vconsole:off", "-vsyslog:off")
        with _running(target, "ovs-testcontroller", *options, passive):
            yield


@contextmanager
def _running(target: str, *command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait(process, target)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _wait(process: "subprocess.Popen[bytes]", target: str) -> None:
    kind, _, where = target.partition(":")
    address, _, port = where.rpartition(":")
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as probe:
            try:
                probe.connect(where if kind == "unix" else (address, int(port)))
                return
            except OSError:
                time.sleep(0.05)
    raise RuntimeError(f"{process.args!r}: does not listen")
