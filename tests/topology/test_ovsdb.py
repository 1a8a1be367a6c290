"""The OVSDB client against a real ovsdb-server, which needs no root."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from weft.topology.ovsdb import Client, OvsdbError, Unreachable, Watch, map_value, set_value
from weft.topology.replica import Change, Replica

SCHEMA = {
    "name": "Test",
    "version": "1.0.0",
    "tables": {
        "Thing": {
            "columns": {
                "name": {"type": "string"},
                "number": {"type": {"key": "integer", "min": 0, "max": 1}},
                "words": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
                "map": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
            },
            "indexes": [["name"]],
            "isRoot": True,
        }
    },
}
COLUMNS = ("name", "number", "words", "map")
A = [["name", "==", "a"]]


class Server:
    """An ovsdb-server over one file, started and killed by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = f"unix:{folder}/db.sock"
        (folder / "schema").write_text(json.dumps(SCHEMA))
        subprocess.run(["ovsdb-tool", "create", folder / "db", folder / "schema"], check=True)
        self.start()

    def start(self) -> None:
        (self.folder / "ctl").unlink(missing_ok=True)
        listening = [f"--remote=p{self.target}", f"--unixctl={self.folder}/ctl"]
        self.process = subprocess.Popen(["ovsdb-server", "-vconsole:off", *listening, self.folder / "db"])
        for _ in range(1000):
            if (self.folder / "ctl").exists():  # made behind the remotes
                return
            time.sleep(0.01)
        raise TimeoutError("ovsdb-server did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.kill()


@asynccontextmanager
async def replica(server: Server, seen: list[list[Change]] | None = None, watch: Watch | None = None) -> AsyncIterator[Replica]:
    made = Replica(server.target, "Test", {"Thing": watch or Watch(COLUMNS)}, (seen if seen is not None else []).append)
    await made.start(10)
    try:
        yield made
    finally:
        await made.stop()


async def until(said: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not said():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def insert(name: str, **columns: object) -> dict[str, object]:
    return {"op": "insert", "table": "Thing", "row": {"name": name, **columns}}


def mutate(*mutations: object) -> dict[str, object]:
    return {"op": "mutate", "table": "Thing", "where": A, "mutations": list(mutations)}


def rows(of: Replica) -> list[dict[str, object]]:
    return sorted(of.tables["Thing"].values(), key=lambda row: str(row["name"]))


async def test_what_is_written_is_read_back_plain(server: Server) -> None:
    async with replica(server) as here:
        await here.transact(insert("a", number=7, words=set_value(["x"]), map=map_value({"k": "v"})))
        await here.transact(insert("b"))
        client = await Client.connect(server.target)
        found = await client.select("Test", "Thing", COLUMNS)
        await client.close()
    assert sorted(found, key=lambda row: str(row["name"])) == [
        {"name": "a", "number": 7, "words": ["x"], "map": {"k": "v"}},
        {"name": "b", "number": None, "words": [], "map": {}},
    ]


async def test_a_replica_follows_every_change(server: Server) -> None:
    async with replica(server) as here:
        await here.transact(insert("a", words=set_value(["x", "y"]), map=map_value({"k": "v", "gone": "1"})))
        await here.transact(
            mutate(
                ["words", "delete", set_value(["x"])],
                ["words", "insert", set_value(["z"])],
                ["map", "delete", set_value(["k", "gone"])],
                ["map", "insert", map_value({"k": "w", "new": "2"})],
            )
        )
        await until(lambda: rows(here) == [{"name": "a", "number": None, "words": ["y", "z"], "map": {"k": "w", "new": "2"}}])
        await here.transact({"op": "update", "table": "Thing", "where": A, "row": {"number": 5}})
        await until(lambda: rows(here)[0]["number"] == 5)
        await here.transact({"op": "delete", "table": "Thing", "where": A})
        await until(lambda: rows(here) == [])


async def test_one_transaction_is_one_call(server: Server) -> None:
    seen: list[list[Change]] = []
    async with replica(server, seen) as here:
        await here.transact(insert("a"), insert("b"))
        await until(lambda: bool(seen))
    assert [sorted(change.new["name"] for change in changes if change.new) for changes in seen] == [["a", "b"]]


async def test_a_condition_hides_other_rows(server: Server) -> None:
    async with replica(server, watch=Watch(COLUMNS, (["name", "==", "a"],))) as here:
        await here.transact(insert("b"), insert("a"))
        await until(lambda: [row["name"] for row in rows(here)] == ["a"])


async def test_all_operations_or_none(server: Server) -> None:
    async with replica(server) as here:
        await here.transact(insert("a"))
        with pytest.raises(OvsdbError, match="constraint violation"):
            await here.transact(insert("b"), insert("a"))
        await here.transact(insert("c"))
        await until(lambda: [row["name"] for row in rows(here)] == ["a", "c"])


async def test_a_wait_that_does_not_hold_refuses(server: Server) -> None:
    wait = {"op": "wait", "table": "Thing", "where": A, "columns": ["number"], "until": "==", "rows": [{"number": 1}], "timeout": 0}
    async with replica(server) as here:
        with pytest.raises(OvsdbError, match="timed out"):
            await here.transact(wait, insert("a"))


async def test_after_a_loss_only_what_changed_meanwhile_is_told(server: Server) -> None:
    seen: list[list[Change]] = []
    async with replica(server, seen) as here:
        await here.transact(insert("a"), insert("b"))
        await until(lambda: len(rows(here)) == 2)
        server.kill()
        await until(lambda: not here.ready.is_set())
        with pytest.raises(Unreachable):
            await here.transact(insert("c"))
        assert len(rows(here)) == 2
        seen.clear()
        server.start()
        await until(here.ready.is_set)
        assert seen == []
        await here.transact(insert("c"))
        await until(lambda: [row["name"] for row in rows(here)] == ["a", "b", "c"])


async def test_a_large_answer_arrives_whole(server: Server) -> None:
    client = await Client.connect(server.target)
    for start in range(0, 5000, 1000):
        await client.transact("Test", *(insert(f"é{n}", map=map_value({"}": "{" * 50})) for n in range(start, start + 1000)))
    await client.close()
    async with replica(server) as here:
        assert len(rows(here)) == 5000


async def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no database answers there") as refused:
        await Client.connect(f"unix:{tmp_path}/nobody")
    assert len(refused.value.lines) == 1


@pytest.mark.parametrize("bad", ["", "tcp:1.2.3.4", "udp:1.2.3.4:5", "ssl:h:1", "/run/x"])
async def test_a_target_that_means_nothing_is_refused(bad: str) -> None:
    with pytest.raises(OvsdbError):
        await Client.connect(bad)
