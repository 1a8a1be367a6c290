"""Tables of an OVSDB server, followed over lost connections and restarted servers (``monitor_cond``, ovsdb-server(7))."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from weft.topology.ovsdb import Client, Column, Op, OvsdbError, Row, Schema, Unreachable, Watch, plain

BACKOFF = (0.05, 2.0)
"""First and longest pause between attempts to reconnect, in seconds."""


class Change(NamedTuple):
    """One row of a replica became another; None: it was not there, or is not there any more."""

    table: str
    uuid: str
    old: Row | None
    new: Row | None


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
            async with asyncio.timeout(patience):
                await self.ready.wait()
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
