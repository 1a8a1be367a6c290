"""Open vSwitch's own database: bridges and ports, looked at and changed in one transaction."""

import asyncio
import re
import subprocess
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from weft.agents import steps as s
from weft.agents.observed import Bridge, Health, Monitoring, Port
from weft.agents.watching import TABLES, columns
from weft.topology.errors import WeftError
from weft.topology.names import BASE_COOKIE
from weft.topology.ovsdb import Op, Row, Watch, map_value, set_value, uuid_value
from weft.topology.replica import Replica

DATABASE = "Open_vSwitch"
MARK = "weft"
"""Key in external_ids; its value is the fabric."""
WAIT, HOLD = "flow-restore-wait", "weft-hold"
"""Keys in other_config and external_ids of Open vSwitch: it looks at no packet yet, and that is so because of weft."""
EXIT = re.compile(r'in_port="?([^",]+)"?')
PATIENCE, PAUSE = 20.0, 0.004
"""Seconds to wait for ovs-vswitchd, and between looks."""
PROTOCOLS = ("OpenFlow10", "OpenFlow13", "OpenFlow14")

HEALTH = ("bfd", "bfd_status", "cfm_mpid", "cfm_fault", "cfm_fault_status", "cfm_remote_mpids")

SETTINGS = ("name", "ports", "controller", "fail_mode", "datapath_type", "other_config", "protocols", "external_ids", "flood_vlans")

WATCHES: Mapping[str, Watch] = {
    "Open_vSwitch": Watch(("next_cfg", "cur_cfg", "bridges", "other_config", "external_ids")),
    "Bridge": Watch((*SETTINGS, *TABLES)),
    "Port": Watch(("name", "interfaces", "tag", "external_ids")),
    "Interface": Watch(("name", "type", "options", "ofport", "error", "external_ids", *HEALTH)),
    "Controller": Watch(("target", "is_connected")),
    "sFlow": Watch(("targets", "sampling", "header", "polling", "agent", "external_ids")),
    "NetFlow": Watch(("targets", "active_timeout", "external_ids")),
    "IPFIX": Watch(("targets", "sampling", "cache_active_timeout", "cache_max_flows", "external_ids")),
}


def kernel_datapath() -> bool:
    """Whether this kernel has Open vSwitch's datapath: asked of the kernel, after its module had a chance to load."""
    subprocess.run(["modprobe", "openvswitch"], capture_output=True, check=False)
    asking = GenericNetlinkSocket()
    try:
        asking.bind("ovs_datapath", None)
    except (NetlinkError, OSError, KeyError):
        return False
    finally:
        asking.close()
    return True


class Switch:
    """A host's Open vSwitch. `folder` is its run directory: the management sockets of its bridges."""

    def __init__(self, replica: Replica, fabric: str, folder: Path) -> None:
        self._replica, self._fabric, self._folder = replica, fabric, folder

    # ---- looking

    def vlans(self) -> int:
        """How many tags of a frame it looks at: ``vlan-limit`` (ovs-vswitchd.conf.db(5)), 0: as many as it can."""
        return min((int(row["other_config"].get("vlan-limit", "1")) for row in self._rows("Open_vSwitch")), default=1)

    def bridges(self) -> dict[str, Bridge]:
        return {row["name"]: self._bridge(row) for row in self._rows("Bridge")}

    def _bridge(self, row: Row) -> Bridge:
        config = row["other_config"]
        controllers = [self._replica.tables["Controller"][uuid]["target"] for uuid in self._held(row["controller"], "Controller")]
        settings = row["fail_mode"] == "secure" and config.get("disable-in-band") == "true" and set(row["protocols"]) >= set(PROTOCOLS)
        return Bridge(
            row["name"],
            row["external_ids"].get(MARK) == self._fabric,
            int(config.get("datapath-id", "0"), 16),
            controllers[0] if len(controllers) == 1 else None if not controllers else ", ".join(sorted(controllers)),
            config.get("hwaddr"),
            settings,
            tuple(self._replica.tables["Port"][uuid]["name"] for uuid in self._held(row["ports"], "Port")),
            tuple(sorted(row["flood_vlans"])),
            {kind: self._monitoring(table, row[kind]) for kind, table in TABLES.items() if row[kind] in self._replica.tables[table]},
        )

    def _monitoring(self, table: str, uuid: str) -> Monitoring:
        row = dict(self._replica.tables[table][uuid])
        return Monitoring(row.pop("external_ids").get(MARK) == self._fabric, row)

    def ports(self) -> dict[str, Port]:
        found = {}
        for bridge in self._rows("Bridge"):
            for uuid in self._held(bridge["ports"], "Port"):
                row = self._replica.tables["Port"][uuid]
                interfaces = [self._replica.tables["Interface"][i] for i in self._held(row["interfaces"], "Interface")]
                if interfaces:
                    found[row["name"]] = self._port(row, interfaces[0], bridge["name"])
        return found

    def _port(self, row: Row, interface: Row, bridge: str) -> Port:
        kind = "" if interface["type"] == "system" else interface["type"]
        ours = row["external_ids"].get(MARK) == self._fabric
        ids = interface["external_ids"]
        said = ids.get("port-profile", ""), ids.get("attached-mac", "").lower()
        status = {key: text for key, text in interface["bfd_status"].items() if key in ("state", "diagnostic", "remote_diagnostic")}
        health = Health(
            interface["bfd"],
            status,
            interface["cfm_mpid"],
            interface["cfm_fault"],
            tuple(sorted(interface["cfm_fault_status"])),
            tuple(sorted(interface["cfm_remote_mpids"])),
        )
        return Port(row["name"], bridge, ours, kind, interface["options"], interface["ofport"], interface["error"] or "", *said, health)

    def connected(self, bridge: str) -> bool:
        """Whether a controller is connected to a bridge."""
        rows = [row for row in self._rows("Bridge") if row["name"] == bridge]
        return any(self._replica.tables["Controller"][c]["is_connected"] for row in rows for c in self._held(row["controller"], "Controller"))

    @property
    def held(self) -> bool:
        """Whether ovs-vswitchd waits for us to lay flows."""
        return any(HOLD in row["external_ids"] for row in self._rows("Open_vSwitch"))

    def instance(self, bridge: str) -> tuple[object, ...]:
        """Other than before whenever the flows of a bridge may have been lost: daemon started again, controller set, port anew."""
        try:
            status = (self._folder / f"{bridge}.mgmt").stat()
        except OSError:
            return ()
        seen = self.bridges().get(bridge)
        numbers = {port.name: port.ofport for port in self.ports().values() if port.bridge == bridge}
        return status.st_ino, status.st_mtime_ns, seen.controller if seen else None, *sorted(numbers.items(), key=str)

    def based(self, bridge: str) -> frozenset[str] | None:
        """The ports of an uplink bridge whose untranslated packets stay inside; None: it does not even have its base flow."""
        if not (self._folder / f"{bridge}.mgmt").exists():
            return None
        dumped = self._ofctl("dump-flows", bridge, f"table=0,cookie={BASE_COOKIE:#x}/-1").stdout
        return frozenset(EXIT.findall(dumped)) if "actions=NORMAL" in dumped else None

    def _rows(self, table: str) -> Iterable[Row]:
        return self._replica.tables[table].values()

    def _held(self, uuids: Iterable[str], table: str) -> list[str]:
        return [uuid for uuid in uuids if uuid in self._replica.tables[table]]

    # ---- doing

    async def apply(self, changes: Iterable[s.OvsStep]) -> None:
        """All changes in one transaction, and waits until ovs-vswitchd has done them. Raises OvsdbError."""
        change = Transaction(self._fabric, self._replica.tables)
        for step in changes:
            change.add(step)
        results = await self._replica.transact(*change.ops())
        await self._done(results[-1]["rows"][0]["next_cfg"])

    async def release(self) -> bool:
        """Lets ovs-vswitchd look at packets, where it waits for us, and waits until it does; whether it was so."""
        if not self.held:
            return False
        clear = [["other_config", "delete", set_value([WAIT])], ["external_ids", "delete", set_value([HOLD])]]
        await self._replica.transact({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": clear})
        await self.apply(())
        return True

    async def _done(self, serial: int) -> None:
        """Waits for ovs-vswitchd as ovs-vsctl(8) does: it says which configuration it has carried out."""
        for _ in range(int(PATIENCE / PAUSE)):
            if all(row["cur_cfg"] >= serial for row in self._rows("Open_vSwitch")):
                return
            await asyncio.sleep(PAUSE)
        raise WeftError("ovs-vswitchd does not answer: systemctl restart openvswitch-switch")

    def lay_base(self, step: s.BaseFlows) -> None:
        """Raises WeftError where the bridge does not take them (yet)."""
        flows = [f"cookie={BASE_COOKIE:#x},priority=0,actions=NORMAL"]
        if step.exit is not None:
            flows.append(f"cookie={BASE_COOKIE:#x},priority=1,in_port={step.exit},actions=drop")
        done = self._ofctl("add-flows", step.bridge, "-", given="\n".join(flows))
        if done.returncode:
            raise WeftError(f"base flows of {step.bridge}: {done.stderr.strip()}")

    def _ofctl(self, command: str, bridge: str, argument: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        line = ["ovs-ofctl", "-OOpenFlow14", "--names", command, f"unix:{self._folder / bridge}.mgmt", argument]
        return subprocess.run(line, input=given, capture_output=True, text=True, timeout=10, check=False)


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
            case s.AddPort():
                self._add_port(step)
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

    def _add_port(self, step: s.AddPort) -> None:
        port = self._port(step.name, step.kind, step.options, step.tag)
        if step.bridge in self._added:
            self._added[step.bridge].append(port)
        else:
            self._mutate(step.bridge, "insert", [port])

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
        interface = {"name": name, "type": kind, "options": map_value(dict(options)), "external_ids": self._mark}
        row: dict[str, Any] = {"name": name, "external_ids": self._mark, "interfaces": self._insert("Interface", interface)}
        return self._insert("Port", row | ({"tag": tag} if tag is not None else {}))

    def _mutate(self, bridge: str, how: str, ports: list[Any]) -> None:
        where = [["name", "==", bridge]]
        self._ops.append({"op": "mutate", "table": "Bridge", "where": where, "mutations": [["ports", how, set_value(ports)]]})

    def _insert(self, table: str, row: Mapping[str, Any]) -> list[str]:
        name = f"row{next(self._names)}"
        self._ops.append({"op": "insert", "table": table, "row": dict(row), "uuid-name": name})
        return ["named-uuid", name]
