"""The store's server refuses what ovsdb-server would try for ever, or spoil."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft.topology import server
from weft.topology.errors import WeftError

pytestmark = pytest.mark.skipif(shutil.which("ovsdb-server") is None, reason="no ovsdb-server here")


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Path]:
    """A database that is served, at ``store.sock`` beside it."""
    database = tmp_path / "store.db"
    server.prepare(database)
    with subprocess.Popen(server.command(database, [f"unix:{tmp_path}/store.sock"])) as running:
        while not (tmp_path / "store.sock").exists():
            pass
        yield database
        running.terminate()


def test_a_database_that_is_served_is_not_served_twice(serving: Path) -> None:
    with pytest.raises(WeftError, match="another store serves it"):
        server.prepare(serving)


def test_a_socket_that_is_answered_is_not_taken(serving: Path) -> None:
    with pytest.raises(WeftError, match="another store answers there"):
        server.serve(serving.with_name("second.db"), [f"unix:{serving.with_name('store.sock')}"])


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(WeftError, match="address already in use: give another"):
        server.serve(tmp_path / "store.db", [f"tcp:127.0.0.1:{other.getsockname()[1]}"])


@pytest.mark.parametrize("target", ["tcp:192.0.2.1:6640", "tcp:127.0.0.1:99999", "tcp:nowhere.invalid:6640", "tcp:6640", "udp:1:2", "unix:"])
def test_a_target_that_is_none_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(WeftError) as refused:
        server.serve(tmp_path / "store.db", [target])
    assert target in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(WeftError, match="there is a file of that name"):
        server.serve(tmp_path / "store.db", [f"unix:{tmp_path}/notes"])
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_database_of_another_program_is_not_converted(tmp_path: Path) -> None:
    schema, database = tmp_path / "schema", tmp_path / "conf.db"
    schema.write_text('{"name": "Other", "version": "1.0.0", "tables": {}}')
    subprocess.run(("ovsdb-tool", "create", database, schema), check=True)
    before = database.read_bytes()
    with pytest.raises(WeftError, match="another program"):
        server.prepare(database)
    assert database.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine\n")
    with pytest.raises(WeftError, match="unexpected file format") as refused:
        server.prepare(tmp_path / "notes")
    assert "\n" not in str(refused.value)
