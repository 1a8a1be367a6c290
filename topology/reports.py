"""What is: the rows that agents and the controller in charge write into the store."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weft.topology.errors import WeftError
from weft.topology.ovsdb import Client, Op, OvsdbError, Row, Watch, set_value
from weft.topology.questions import question_watch
from weft.topology.replica import Replica
from weft.topology.server import DATABASE
from weft.topology.store import map_mutations

AGENT_COLUMNS = ("name", "wanted", "wanted_serial", "state", "applied_serial")


class Fenced(WeftError):
    """Another controller is in charge of this store now."""


def host_watch(host: str) -> dict[str, Watch]:
    """What an agent follows: its own row, whose fabric it is, where the controller listens, and what it is asked."""
    return {
        "Host": Watch(AGENT_COLUMNS, (["name", "==", host],)),
        "Fabric": Watch(("name", "serial")),
        "Controller": Watch(("targets",)),
        "Question": question_watch(host),
    }


async def report_host(store: Replica, host: str, old: Mapping[str, str], new: Mapping[str, str], applied: int) -> None:
    """Brings a host's `state` from `old` to `new`, and says which serial of what it should have is applied."""
    where = [["name", "==", host]]
    mutations = map_mutations("state", old, new)
    ops: list[Op] = [{"op": "mutate", "table": "Host", "where": where, "mutations": mutations}] if mutations else []
    ops.append({"op": "update", "table": "Host", "where": where, "row": {"applied_serial": applied, "seen": int(time.time())}})
    await store.transact(*ops)


async def synced(store: Replica, dpids: Iterable[int]) -> dict[int, Row]:
    """The rows of those of these switches that hold all flows of the fabric as it is now, by the word of the controller in charge."""
    columns = ["dpid", "connected", "flows", "synced_serial", "drift"]
    ops: list[Op] = [{"op": "select", "table": "Fabric", "where": [], "columns": ["serial"]}]
    ops += [{"op": "select", "table": "Switch", "where": [["dpid", "==", f"{dpid:016x}"]], "columns": columns} for dpid in dpids]
    fabrics, *found = (result["rows"] for result in await store.transact(*ops))
    rows = [row for rows in found for row in rows]
    serial = max((fabric["serial"] for fabric in fabrics), default=0)
    return {int(row["dpid"], 16): row for row in rows if row["connected"] and row["synced_serial"] >= serial and not row["drift"]}


@dataclass(frozen=True, slots=True)
class SwitchReport:
    """One connected switch. `synced`: the serial of the intent it holds the flows of."""

    dpid: int
    bridge: str
    connected: bool
    flows: int
    synced: int
    missing: tuple[str, ...] = ()
    """Ports that flows wait for."""
    drift: str = ""
    bare: bool = False
    """In no fabric."""

    def row(self) -> Mapping[str, object]:
        return {
            "dpid": f"{self.dpid:016x}",
            "bridge": self.bridge,
            "bare": self.bare,
            "connected": self.connected,
            "flows": self.flows,
            "synced_serial": self.synced,
            "missing": set_value(self.missing),
            "drift": self.drift,
        }


async def claim(client: Client, targets: Iterable[str], pid: int) -> int:
    """Takes charge of the store: a new epoch, above the stored one and not below the wall clock in milliseconds.

    Switches remember the epoch as OpenFlow `generation_id`: a store made anew must not be older than what they remember.
    Raises OvsdbError where another controller claims it at the same time.
    """
    rows = await client.select(DATABASE, "Controller", ("epoch",))
    stored = rows[0]["epoch"] if rows else 0
    epoch = max(stored + 1, int(time.time() * 1000))
    row = {"epoch": epoch, "targets": set_value(targets), "pid": pid}
    guard = _guard(stored) if rows else {**_guard(0), "rows": []}
    change: Op = {"op": "update", "table": "Controller", "where": [], "row": row}
    await client.transact(DATABASE, guard, change if rows else {"op": "insert", "table": "Controller", "row": row})
    return epoch


async def report_switches(store: Replica, epoch: int, reports: Iterable[SwitchReport], gone: Iterable[int] = ()) -> None:
    """Replaces the rows of these switches, and removes those of `gone`. Raises Fenced when another controller took charge since `epoch`."""
    ops: list[Op] = [_guard(epoch)]
    ops += [{"op": "delete", "table": "Switch", "where": [["dpid", "==", f"{dpid:016x}"]]} for dpid in gone]
    for report in reports:
        where = [["dpid", "==", f"{report.dpid:016x}"]]
        known = any(row["dpid"] == f"{report.dpid:016x}" for row in store.tables["Switch"].values())
        change: Op = {"op": "update", "table": "Switch", "where": where, "row": report.row()}
        ops.append(change if known else {"op": "insert", "table": "Switch", "row": report.row()})
    try:
        await store.transact(*ops)
    except OvsdbError as error:
        if "timed out" in str(error):
            raise Fenced("another controller is in charge of this store now") from None
        raise


Count = tuple[int, int]
"""Packets and octets."""


async def report_policies(store: Replica, epoch: int, counts: Mapping[str, Count]) -> None:
    """Replaces what policies counted, by name. Raises Fenced when another controller took charge since `epoch`."""
    ops: list[Op] = [_guard(epoch)]
    known = {row["name"]: (row["packets"], row["octets"]) for row in store.tables["Policy"].values()}
    ops += [{"op": "delete", "table": "Policy", "where": [["name", "==", name]]} for name in known.keys() - counts.keys()]
    for name, (packets, octets) in counts.items():
        row = {"name": name, "packets": packets, "octets": octets}
        if name not in known:
            ops.append({"op": "insert", "table": "Policy", "row": row})
        elif known[name] != (packets, octets):
            ops.append({"op": "update", "table": "Policy", "where": [["name", "==", name]], "row": row})
    try:
        await store.transact(*ops)
    except OvsdbError as error:
        if "timed out" in str(error):
            raise Fenced("another controller is in charge of this store now") from None
        raise


def _guard(epoch: int) -> Op:
    columns = {"columns": ["epoch"], "until": "==", "rows": [{"epoch": epoch}]}
    return {"op": "wait", "table": "Controller", "timeout": 0, "where": [], **columns}


