"""`weft controller` as users start it: what it refuses, and how it ends."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

WEFT = str(Path(sys.executable).with_name("weft"))


def refused(*options: str) -> str:
    done = subprocess.run((WEFT, "controller", *options), capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and done.stdout == ""
    return done.stderr


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = refused("--listen", f"tcp:127.0.0.1:{server.getsockname()[1]}")
    assert said.count("\n") == 1 and "already in use" in said and "--listen" in said


@pytest.mark.parametrize(
    ("options", "word"), [(("--bare", "magic"), "learn, normal, reactive"), (("--log", "loud"), "info"), (("--listen", "tcp:6653"), "ADDRESS")]
)
def test_an_option_that_is_none_is_one_line(options: tuple[str, str], word: str) -> None:
    said = refused(*options)
    assert said.count("\n") == 1 and word in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_clean(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "weft.sock"
    process = subprocess.Popen((WEFT, "controller", "--listen", f"unix:{path}"), stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 20
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0 and "Traceback" not in said and not path.exists()
