"""A small OVSDB client on asyncio (RFC 7047): one connection, its transactions and what it monitors.

One module for both databases weft speaks to: its own store and Open vSwitch's. Values arrive as plain Python: a map column as a dict, a
set column as a list, an optional one as its value or None, a UUID as a string.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from weft.topology.errors import WeftError

Row = dict[str, Any]
Op = Mapping[str, Any]
Condition = list[Any]

CALL_TIMEOUT = 30.0


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
            async with asyncio.timeout(5):  # not wait_for: before Python 3.12 that forgets to be cancelled when it fails just then
                streams = await _open(target)
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
            async with asyncio.timeout(CALL_TIMEOUT):
                return await answer
        finally:
            self._calls.pop(number, None)

    async def transact(self, database: str, *ops: Op) -> list[Any]:
        """One transaction; the results of its operations. Raises OvsdbError with what the server says, and nothing is done then."""
        results = await self.call("transact", database, *ops)
        for result in results:
            if result and result.get("error"):
                raise OvsdbError(f"{self.target}: {_refusal(result)}")
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


def _refusal(result: Mapping[str, Any]) -> str:
    """Why nothing was done, in a line; of a disk that takes no more, what to do."""
    details = str(result.get("details", ""))
    if why := result.get("io-error"):
        return f"{details or result['error']}: {str(why).lower()}: nothing was changed; make room on its disk, and say it again"
    return f"{result['error']}: {details}".rstrip(": ")


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
