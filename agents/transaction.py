"""Steps as operations on Open vSwitch's database: one transaction, so that all of them are done or none."""

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from weft.agents import steps as s
from weft.agents.bonds import bond_columns
from weft.agents.watching import TABLES, columns
from weft.topology.ovsdb import Op, Row, map_value, set_value, uuid_value

MARK = "weft"
"""Key in external_ids; its value is the fabric."""
SETTLED = "weft-uplink"
"""Key in external_ids of an uplink's bridge: what it was last found good with."""
PROTOCOLS = ("OpenFlow10", "OpenFlow13", "OpenFlow14")


class Transaction:
    """Steps as operations of one OVSDB transaction (RFC 7047, 5.2)."""

    def __init__(self, fabric: str, tables: Mapping[str, Mapping[str, Row]]) -> None:
        self._mark = map_value({MARK: fabric})
        self._bridges = {row["name"]: uuid_value(uuid) for uuid, row in tables["Bridge"].items()}
        self._tables = tables
        self._ops: list[Op] = []
        self._names = count()
        self._added: dict[str, list[Any]] = {}
        """Bridges of this transaction: their ports are known only at its end."""
        self._rows: dict[str, dict[str, Any]] = {}

    def add(self, step: s.OvsStep) -> None:
        match step:
            case s.AddBridge():
                self._rows[step.name] = self._new_bridge(step)
                self._added[step.name] = [self._port(step.name, "internal", (), None)]
            case s.SetBridge():
                row = self._settings(step)
                self._ops.append({"op": "update", "table": "Bridge", "where": [["name", "==", step.name]], "row": row})
            case s.RemoveBridge():
                gone = ["bridges", "delete", set_value([self._bridges[step.name]])]
                self._ops.append({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [gone]})
            case s.SeeTags():
                limit = [["other_config", "delete", set_value(["vlan-limit"])], ["other_config", "insert", map_value({"vlan-limit": "0"})]]
                self._ops.append({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": limit})
            case s.Settle():
                kept = [["external_ids", "delete", set_value([SETTLED])], ["external_ids", "insert", map_value({SETTLED: step.spec})]]
                self._ops.append({"op": "mutate", "table": "Bridge", "where": [["name", "==", step.bridge]], "mutations": kept})
            case _:
                self._add_to_bridge(step)

    def _add_to_bridge(self, step: s.OvsPortStep) -> None:
        match step:
            case s.AddPort():
                self._hang(step.bridge, self._port(step.name, step.kind, step.options, step.tag))
            case s.AddBond():
                members = [self._interface(nic, "", ()) for nic in step.nics]
                row = {"name": step.name, "external_ids": self._mark, "interfaces": set_value(members), **bond_columns(step.mode)}
                self._hang(step.bridge, self._insert("Port", row))
            case s.SetBond():
                self._set_bond(step)
            case s.SetWatch():
                self._set_watch(step)
            case s.SetMonitor():
                row = {key: value for key, value in step.settings if value is not None}
                targets = {"targets": set_value(row["targets"]), "external_ids": self._mark}
                self._monitor(step.bridge, step.kind, self._insert(TABLES[step.kind], row | targets))
            case s.RemoveMonitor():
                self._monitor(step.bridge, step.kind, set_value([]))
            case s.RemovePort():
                uuids = [uuid for uuid, row in self._tables["Port"].items() if row["name"] == step.name]
                self._mutate(step.bridge, "delete", [uuid_value(uuid) for uuid in uuids])

    def ops(self) -> list[Op]:
        new = []
        for name, row in self._rows.items():
            uuid = self._insert("Bridge", row | {"ports": set_value(self._added[name])})
            new.append(uuid)
        mutations: list[Any] = [["bridges", "insert", set_value(new)]] if new else []
        last = {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [*mutations, ["next_cfg", "+=", 1]]}
        return [*self._ops, last, {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}]

    def _new_bridge(self, step: s.AddBridge) -> dict[str, Any]:
        return self._settings(step) | {"name": step.name, "datapath_type": step.datapath, "external_ids": self._mark}

    def _settings(self, step: s.AddBridge | s.SetBridge) -> dict[str, Any]:
        config = {"datapath-id": f"{step.dpid:016x}", "disable-in-band": "true"} | ({"hwaddr": step.mac} if step.mac else {})
        targets = []
        if step.controller is not None:
            row = {"target": step.controller, "connection_mode": "out-of-band", "max_backoff": 1000, "inactivity_probe": 5000}
            targets.append(self._insert("Controller", row))
        return {
            "fail_mode": "secure",
            "protocols": set_value(PROTOCOLS),
            "other_config": map_value(config),
            "controller": set_value(targets),
            "flood_vlans": set_value(step.unlearned),
        }

    def _hang(self, bridge: str, port: list[str]) -> None:
        if bridge in self._added:
            self._added[bridge].append(port)
        else:
            self._mutate(bridge, "insert", [port])

    def _set_bond(self, step: s.SetBond) -> None:
        """Members that stay keep their rows: their links are not touched."""
        rows = [row for row in self._tables["Port"].values() if row["name"] == step.name]
        held = {self._tables["Interface"][uuid]["name"]: uuid for row in rows for uuid in row["interfaces"] if uuid in self._tables["Interface"]}
        gone = [uuid_value(uuid) for nic, uuid in held.items() if nic not in step.nics]
        come = [self._interface(nic, "", ()) for nic in step.nics if nic not in held]
        where = [["name", "==", step.name]]
        mutations = [["interfaces", "delete", set_value(gone)], ["interfaces", "insert", set_value(come)]]
        self._ops.append({"op": "mutate", "table": "Port", "where": where, "mutations": mutations})
        self._ops.append({"op": "update", "table": "Port", "where": where, "row": bond_columns(step.mode)})

    def _set_watch(self, step: s.SetWatch) -> None:
        meant = columns(step.kind, step.mpid)
        row = {key: map_value(value) if isinstance(value, dict) else set_value([value] if value else []) for key, value in meant.items()}
        self._ops.append({"op": "update", "table": "Interface", "where": [["name", "==", step.name]], "row": row})

    def _monitor(self, bridge: str, kind: str, monitor: list[Any]) -> None:
        """Open vSwitch drops a row that no bridge has any more by itself."""
        if bridge in self._rows:
            self._rows[bridge][kind] = monitor
        else:
            self._ops.append({"op": "update", "table": "Bridge", "where": [["name", "==", bridge]], "row": {kind: monitor}})

    def _port(self, name: str, kind: str, options: Iterable[tuple[str, str]], tag: int | None) -> list[str]:
        row: dict[str, Any] = {"name": name, "external_ids": self._mark, "interfaces": self._interface(name, kind, options)}
        return self._insert("Port", row | ({"tag": tag} if tag is not None else {}))

    def _interface(self, name: str, kind: str, options: Iterable[tuple[str, str]]) -> list[str]:
        row = {"name": name, "type": kind, "options": map_value(dict(options)), "external_ids": self._mark}
        return self._insert("Interface", row)

    def _mutate(self, bridge: str, how: str, ports: list[Any]) -> None:
        where = [["name", "==", bridge]]
        self._ops.append({"op": "mutate", "table": "Bridge", "where": where, "mutations": [["ports", how, set_value(ports)]]})

    def _insert(self, table: str, row: Mapping[str, Any]) -> list[str]:
        name = f"row{next(self._names)}"
        self._ops.append({"op": "insert", "table": table, "row": dict(row), "uuid-name": name})
        return ["named-uuid", name]
