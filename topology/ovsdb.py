"""A small OVSDB client on asyncio (RFC 7047): transactions, and replicas of tables that follow the server by themselves.

One module for both databases weft speaks to: its own store and Open vSwitch's. Values arrive as plain Python: a map column as a dict, a
set column as a list, an optional one as its value or None, a UUID as a string.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from weft.topology.errors import WeftError

Row = dict[str, Any]
Op = Mapping[str, Any]
Condition = list[Any]

CALL_TIMEOUT = 30.0
BACKOFF = (0.05, 2.0)
"""First and longest pause between attempts to reconnect, in seconds."""


class OvsdbError(WeftError):
    """The server refused, or cannot be reached."""


class Unreachable(OvsdbError):
    """There is no connection now."""


@dataclass(frozen=True, slots=True)
class Column:
    """As much of a column's type as is needed to read it (RFC 7047, 3.2)."""

    is_map: bool
    many: bool
    default: Any
    """What the column holds where a row leaves it out."""


Schema = Mapping[str, Mapping[str, Column]]


class Change(NamedTuple):
    """One row of a replica became another; None: it was not there, or is not there any more."""

    table: str
    uuid: str
    old: Row | None
    new: Row | None


@dataclass(frozen=True, slots=True)
class Watch:
    """Columns of a table to follow, in the rows where `where` holds (all, when it is empty)."""

    columns: tuple[str, ...]
    where: tuple[Condition, ...] = ()


def map_value(pairs: Mapping[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in pairs.items()]]


def set_value(values: Iterable[Any]) -> list[Any]:
    return ["set", list(values)]


def uuid_value(uuid: str) -> list[str]:
    return ["uuid", uuid]


class Client:
    """One connection. Closed for good when it is lost: `closed` is done then."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._ids = count(1)
        self._schemas: dict[str, Schema] = {}
        self._updates: dict[str, Callable[[Any], None]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, target: str) -> "Client":
        """Connects to ``unix:PATH`` or ``tcp:HOST:PORT``. Raises Unreachable."""
        client = cls(target)
        try:
            streams = await asyncio.wait_for(_open(target), 5)
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"{target}: no database answers there ({getattr(error, 'strerror', None) or error})") from None
        client._writer = streams[1]
        client._reader = asyncio.create_task(client._read(streams[0]))
        return client

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC call. Raises Unreachable when the connection goes meanwhile."""
        if self._writer is None or self.closed.done():
            raise Unreachable(f"{self.target}: the connection to the database is lost")
        number = next(self._ids)
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        self._send({"method": method, "params": list(params), "id": number})
        try:
            return await asyncio.wait_for(answer, CALL_TIMEOUT)
        finally:
            self._calls.pop(number, None)

    async def transact(self, database: str, *ops: Op) -> list[Any]:
        """One transaction; the results of its operations. Raises OvsdbError with what the server says, and nothing is done then."""
        results = await self.call("transact", database, *ops)
        for result in results:
            if result and result.get("error"):
                raise OvsdbError(f"{self.target}: {result['error']}: {result.get('details', '')}".rstrip(": "))
        return list(results)

    async def schema(self, database: str) -> Schema:
        """The types of a database's columns, asked for once."""
        if database not in self._schemas:
            self._schemas[database] = await self._schema(database)
        return self._schemas[database]

    async def _schema(self, database: str) -> Schema:
        given = await self.call("get_schema", database)
        return {
            table: {name: _column(column["type"]) for name, column in spec["columns"].items()} | {"_uuid": Column(False, False, "")}
            for table, spec in given["tables"].items()
        }

    async def select(self, database: str, table: str, columns: Iterable[str], where: Iterable[Condition] = ()) -> list[Row]:
        """Rows as plain Python."""
        op = {"op": "select", "table": table, "where": list(where), "columns": list(columns)}
        (result,), schema = await self.transact(database, op), (await self.schema(database))[table]
        return [{name: plain(schema[name], value) for name, value in row.items()} for row in result["rows"]]

    async def monitor(self, database: str, watches: Mapping[str, Watch], on_update: Callable[[Any], None]) -> Any:
        """Starts to follow tables (``monitor_cond``, ovsdb-server(7)); gives the rows that there are."""
        name = f"weft{next(self._ids)}"
        self._updates[name] = on_update
        requests = {
            table: [{"columns": list(watch.columns), **({"where": list(watch.where)} if watch.where else {})}]
            for table, watch in watches.items()
        }
        return await self.call("monitor_cond", database, name, requests)

    async def close(self) -> None:
        self._lost()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if self._writer is not None:
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message, separators=(",", ":")).encode())

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder, text = json.JSONDecoder(), ""
        try:
            while data := await reader.read(1 << 20):
                text += data.decode(errors="surrogateescape")
                while text.startswith("{") and "}" in text:
                    try:
                        message, end = decoder.raw_decode(text)
                    except json.JSONDecodeError:
                        break  # not all of it has arrived
                    text = text[end:].lstrip()
                    self._take(message)
        except OSError:
            pass
        finally:
            self._lost()

    def _take(self, message: Mapping[str, Any]) -> None:
        method = message.get("method")
        if method == "echo":
            self._send({"result": message["params"], "error": None, "id": message["id"]})
        elif method == "update2":
            self._updates[message["params"][0]](message["params"][1])
        elif (answer := self._calls.get(message.get("id") or 0)) and not answer.done():
            if message.get("error"):
                answer.set_exception(OvsdbError(f"{self.target}: {message['error']}"))
            else:
                answer.set_result(message["result"])

    def _lost(self) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(Unreachable(f"{self.target}: the connection to the database is lost"))
        if self._writer is not None:
            self._writer.close()


async def _open(target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, where = target.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(where, limit=1 << 24)
    host, _, port = where.rpartition(":")
    if kind != "tcp" or not port.isdecimal():
        raise OvsdbError(f'"{target}" is not unix:PATH or tcp:HOST:PORT')
    return await asyncio.open_connection(host.strip("[]"), int(port), limit=1 << 24)


DEFAULTS: Mapping[str, Any] = {"integer": 0, "real": 0.0, "boolean": False, "string": "", "uuid": ""}


def _column(kind: Any) -> Column:
    if isinstance(kind, str):
        return Column(False, False, DEFAULTS[kind])
    most, key = kind.get("max", 1), kind["key"]
    if "value" in kind:
        return Column(True, False, {})
    if most == "unlimited" or most > 1:
        return Column(False, True, [])
    return Column(False, False, None if kind.get("min", 1) == 0 else DEFAULTS[key if isinstance(key, str) else key["type"]])


def plain(column: Column, value: Any) -> Any:
    """A value as RFC 7047, 5.1 writes it, as plain Python."""
    if column.is_map:
        return {_atom(key): _atom(item) for key, item in value[1]}
    values = [_atom(item) for item in value[1]] if isinstance(value, list) and value[0] == "set" else [_atom(value)]
    if column.many:
        return values
    return values[0] if values else None


def _atom(value: Any) -> Any:
    return value[1] if isinstance(value, list) else value


def changed(column: Column, old: Any, difference: Any) -> Any:
    """A column after an ``update2`` difference: maps and sets come as what is other, the rest as it is now."""
    now = plain(column, difference)
    if column.is_map:
        merged = dict(old)
        for key, value in now.items():
            if merged.get(key) == value:
                del merged[key]
            else:
                merged[key] = value
        return merged
    if column.many:
        return [value for value in old if value not in now] + [value for value in now if value not in old]
    return now


class Replica:
    """Tables of a database, followed over lost connections and restarted servers.

    `on_change` is called with what became other, all changes of one transaction together; after a reconnect with the
    difference to what was known before.
    """

    def __init__(
        self, target: str, database: str, watches: Mapping[str, Watch], on_change: Callable[[list[Change]], None] = lambda changes: None
    ) -> None:
        self.tables: dict[str, dict[str, Row]] = {table: {} for table in watches}
        self.ready = asyncio.Event()
        """Set while connected and complete."""
        self._target, self._database, self._watches = target, database, watches
        self._on_change = on_change
        self._client: Client | None = None
        self._schema: Schema = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self, patience: float | None = None) -> "Replica":
        """Begins to follow; returns when the tables are here. Raises Unreachable after `patience` seconds, None: waits on."""
        self._task = asyncio.create_task(self._follow())
        try:
            await asyncio.wait_for(self.ready.wait(), patience)
        except TimeoutError:
            await self.stop()
            raise Unreachable(f"{self._target}: no database answers there") from None
        return self

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._client is not None:
            await self._client.close()

    async def transact(self, *ops: Op) -> list[Any]:
        """One transaction. Raises Unreachable while there is no connection, OvsdbError when it is refused."""
        if self._client is None or not self.ready.is_set():
            raise Unreachable(f"{self._target}: the connection to the database is lost")
        return await self._client.transact(self._database, *ops)

    async def _follow(self) -> None:
        pause = BACKOFF[0]
        while True:
            with contextlib.suppress(OvsdbError):
                self._client = await Client.connect(self._target)
                await self._attach(self._client)
                pause = BACKOFF[0]
                await self._client.closed
            self.ready.clear()
            if self._client is not None:
                await self._client.close()
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF[1])

    async def _attach(self, client: Client) -> None:
        self._schema = await client.schema(self._database)
        early: list[Any] = []
        ready = False

        def update(tables: Any) -> None:
            if ready:
                self._apply(tables)
            else:
                early.append(tables)

        rows = await client.monitor(self._database, self._watches, update)
        self._replace(rows)
        ready = True
        self.ready.set()
        for tables in early:
            self._apply(tables)

    def _replace(self, given: Any) -> None:
        """A whole dump: what differs from the tables at hand is a change."""
        changes = []
        for table, known in self.tables.items():
            rows = {uuid: self._row(table, update["initial"]) for uuid, update in given.get(table, {}).items()}
            changes += [Change(table, uuid, known.get(uuid), row) for uuid, row in rows.items() if known.get(uuid) != row]
            changes += [Change(table, uuid, row, None) for uuid, row in known.items() if uuid not in rows]
            self.tables[table] = rows
        if changes:
            self._on_change(changes)

    def _apply(self, given: Any) -> None:
        changes = []
        for table, updates in given.items():
            known = self.tables[table]
            for uuid, update in updates.items():
                old = known.get(uuid)
                new = self._updated(table, old, update)
                changes.append(Change(table, uuid, old, new))
                if new is None:
                    known.pop(uuid, None)
                else:
                    known[uuid] = new
        if changes:
            self._on_change(changes)

    def _updated(self, table: str, old: Row | None, update: Any) -> Row | None:
        if "delete" in update:
            return None
        if "modify" in update and old is not None:
            columns = self._schema[table]
            return old | {name: changed(columns[name], old[name], value) for name, value in update["modify"].items()}
        return self._row(table, update.get("insert") or update.get("initial") or {})

    def _row(self, table: str, given: Any) -> Row:
        """A row; columns that the server leaves out have their default."""
        columns = self._schema[table]
        return {
            name: plain(columns[name], given[name]) if name in given else columns[name].default
            for name in self._watches[table].columns
        }
