"""The store: what the fabric should be, what each host should have, and what is. The one module that knows its tables.

Writers name what they write: `weft apply` the intent and the hosts' rows, an agent its host's state, the controller in charge the
switches. A controller's transactions wait for its own epoch, so that one that was replaced writes nothing any more.
"""

import getpass
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from weft.topology.ovsdb import Client, Op, OvsdbError, Row, Watch, map_value, plain, set_value
from weft.topology.server import DATABASE

ALIVE = 30
"""Seconds after which an agent that said nothing counts as gone; it reports at least every third of that."""

WATCHES: Mapping[str, Watch] = {
    "Fabric": Watch(("name", "file", "lab", "serial")),
    "Object": Watch(("path", "spec", "line")),
    "Host": Watch(("name", "wanted_serial", "state", "applied_serial", "seen")),
    "Switch": Watch(("dpid", "bridge", "bare", "connected", "flows", "synced_serial", "missing", "drift")),
    "Controller": Watch(("epoch", "targets", "pid")),
    "Policy": Watch(("name", "packets", "octets")),
}
"""What a controller follows."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody wants the fabric to be: objects by path, each its JSON text and line."""

    fabric: str
    file: str
    lab: bool
    objects: Mapping[str, tuple[str, int]]
    serial: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything in the store but what hosts should have."""

    intent: Intent | None
    hosts: Mapping[str, Row] = field(default_factory=dict)
    switches: Mapping[str, Row] = field(default_factory=dict)
    """By datapath id in 16 hexadecimal digits."""
    controller: Row | None = None
    policies: Mapping[str, Row] = field(default_factory=dict)
    """What policies counted, by name."""

    @property
    def states(self) -> dict[str, Mapping[str, str]]:
        return {name: row["state"] for name, row in self.hosts.items()}

    def alive(self, host: str) -> bool:
        return host in self.hosts and alive(self.hosts[host])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far hosts and switches are with a serial."""

    hosts: Mapping[str, Row]
    switches: Mapping[str, Row]


def alive(host: Row) -> bool:
    """Whether the agent of a host's row was heard of lately."""
    return bool(time.time() - host["seen"] < ALIVE)


def snapshot(tables: Mapping[str, Mapping[str, Row]]) -> Snapshot:
    """From the tables of a replica that follows `WATCHES`."""
    objects = {row["path"]: (row["spec"], row["line"]) for row in tables["Object"].values()}
    fabrics = [Intent(row["name"], row["file"], row["lab"], objects, row["serial"]) for row in tables["Fabric"].values()]
    return Snapshot(
        fabrics[0] if fabrics else None,
        {row["name"]: row for row in tables["Host"].values()},
        {row["dpid"]: row for row in tables["Switch"].values()},
        next(iter(tables["Controller"].values()), None),
        {row["name"]: row for row in tables["Policy"].values()},
    )


async def read(client: Client) -> Snapshot:
    """Everything, once: a command's way of looking."""
    ops = [{"op": "select", "table": table, "where": [], "columns": ["_uuid", *watch.columns]} for table, watch in WATCHES.items()]
    schema = await client.schema(DATABASE)
    results = await client.transact(DATABASE, *ops)
    tables = {
        table: {row["_uuid"][1]: {name: plain(schema[table][name], value) for name, value in row.items()} for row in result["rows"]}
        for table, result in zip(WATCHES, results, strict=False)
    }
    return snapshot(tables)


async def progress(client: Client) -> Progress:
    """Little enough to be asked again and again."""
    hosts = await client.select(DATABASE, "Host", ("name", "wanted_serial", "applied_serial", "seen"))
    switches = await client.select(DATABASE, "Switch", ("dpid", "connected", "synced_serial", "drift"))
    return Progress({row["name"]: row for row in hosts}, {row["dpid"]: row for row in switches})


async def states(client: Client) -> dict[str, Mapping[str, str]]:
    """What every host says of its objects, by its name."""
    return {row["name"]: row["state"] for row in await client.select(DATABASE, "Host", ("name", "state"))}


async def wanted(client: Client) -> dict[str, Row]:
    """What every host should have, by its name."""
    rows = await client.select(DATABASE, "Host", ("name", "wanted", "wanted_serial"))
    return {row["name"]: row for row in rows}


async def write(client: Client, new: Intent, hosts: Mapping[str, Mapping[str, str]], what: str) -> int:
    """Makes `new` the intent and `hosts` what they should have, in one transaction; gives its serial.

    Touches only what differs. Raises OvsdbError where somebody else wrote in between: nothing is done then.
    """
    before, rows = await read(client), await wanted(client)
    if before.intent and before.intent.fabric != new.fabric:
        raise OvsdbError(f'this store holds fabric "{before.intent.fabric}", not "{new.fabric}": give another --store')
    old = before.intent or Intent(new.fabric, new.file, new.lab, {})
    serial = old.serial + 1
    where = [["serial", "==", old.serial]]
    guard = {"op": "wait", "table": "Fabric", "timeout": 0, "where": [], "columns": ["serial"], "until": "=="}
    ops: list[Op] = [guard | {"rows": [{"serial": old.serial}] if before.intent else []}]
    fabric = {"name": new.fabric, "file": new.file, "lab": new.lab, "serial": serial}
    if before.intent:
        ops.append({"op": "update", "table": "Fabric", "where": where, "row": fabric})
    else:
        ops.append({"op": "insert", "table": "Fabric", "row": fabric})
    ops += _objects(old.objects, new.objects)
    ops += _hosts(rows, hosts, serial)
    ops.append({"op": "insert", "table": "Journal", "row": {"serial": serial, "at": int(time.time()), "who": who(), "what": what}})
    try:
        await client.transact(DATABASE, *ops)
    except OvsdbError as error:
        if "timed out" in str(error):
            raise OvsdbError("somebody else applied at the same moment, and nothing of this was: weft plan shows what is left") from None
        raise
    return serial


def who() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _objects(old: Mapping[str, tuple[str, int]], new: Mapping[str, tuple[str, int]]) -> Iterable[Op]:
    for path in old.keys() - new.keys():
        yield {"op": "delete", "table": "Object", "where": [["path", "==", path]]}
    for path, (spec, line) in new.items():
        row = {"path": path, "spec": spec, "line": line}
        if path not in old:
            yield {"op": "insert", "table": "Object", "row": row}
        elif old[path] != (spec, line):
            yield {"op": "update", "table": "Object", "where": [["path", "==", path]], "row": row}


def _hosts(old: Mapping[str, Row], new: Mapping[str, Mapping[str, str]], serial: int) -> Iterable[Op]:
    for name in old.keys() - new.keys():  # its agent undoes what is not wanted; the row goes when the host is forgotten
        if old[name]["wanted"]:
            yield from _host_update(name, old[name]["wanted"], {}, serial)
    for name, wants in new.items():
        if name not in old:
            yield {"op": "insert", "table": "Host", "row": {"name": name, "wanted": map_value(wants), "wanted_serial": serial}}
        elif old[name]["wanted"] != wants:
            yield from _host_update(name, old[name]["wanted"], wants, serial)


def _host_update(name: str, old: Mapping[str, str], new: Mapping[str, str], serial: int) -> Iterable[Op]:
    where = [["name", "==", name]]
    yield {"op": "mutate", "table": "Host", "where": where, "mutations": map_mutations("wanted", old, new)}
    yield {"op": "update", "table": "Host", "where": where, "row": {"wanted_serial": serial}}


def map_mutations(column: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[list[Any]]:
    """The mutations that turn one map into another, touching only the keys that differ."""
    gone = [key for key in old if new.get(key) != old[key]]
    come = {key: value for key, value in new.items() if old.get(key) != value}
    mutations: list[list[Any]] = [[column, "delete", set_value(gone)]] if gone else []
    return [*mutations, [column, "insert", map_value(come)]] if come else mutations
