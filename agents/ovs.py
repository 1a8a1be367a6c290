"""Open vSwitch's own database: bridges and ports, looked at and changed in one transaction."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from operator import attrgetter
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from weft.agents import steps as s
from weft.agents.bonds import bond_mode, lacp_partners, member
from weft.agents.observed import Bridge, Health, Monitoring, Port
from weft.agents.transaction import MARK, PROTOCOLS, SETTLED, Transaction
from weft.agents.watching import TABLES
from weft.topology.errors import WeftError
from weft.topology.names import BASE_COOKIE
from weft.topology.ovsdb import Row, Watch, set_value
from weft.topology.replica import Replica

DATABASE = "Open_vSwitch"
WAIT, HOLD = "flow-restore-wait", "weft-hold"
"""Keys in other_config and external_ids of Open vSwitch: it looks at no packet yet, and that is so because of weft."""
EXIT = re.compile(r'in_port="?([^",]+)"?')
PATIENCE, PAUSE = 20.0, 0.004
"""Seconds to wait for ovs-vswitchd, and between looks."""

HEALTH = ("bfd", "bfd_status", "cfm_mpid", "cfm_fault", "cfm_fault_status", "cfm_remote_mpids")

SETTINGS = ("name", "ports", "controller", "fail_mode", "datapath_type", "other_config", "protocols", "external_ids", "flood_vlans")

WATCHES: Mapping[str, Watch] = {
    "Open_vSwitch": Watch(("next_cfg", "cur_cfg", "bridges", "other_config", "external_ids")),
    "Bridge": Watch((*SETTINGS, *TABLES)),
    "Port": Watch(("name", "interfaces", "tag", "external_ids", "bond_mode", "lacp", "bond_active_slave")),
    "Interface": Watch(("name", "type", "options", "ofport", "error", "external_ids", "link_state", "lacp_current", *HEALTH)),
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
            row["external_ids"].get(SETTLED, ""),
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
                    found[row["name"]] = self._port(row, interfaces, bridge["name"])
        return found

    def _port(self, row: Row, interfaces: list[Row], bridge: str) -> Port:
        """Of a bond: open where a member is, in error where all are."""
        interfaces = sorted(interfaces, key=lambda each: (bool(each["error"]), -(each["ofport"] or 0), each["name"]))
        interface = interfaces[0]
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
        common = (row["name"], bridge, ours, kind, interface["options"], interface["ofport"], interface["error"] or "", *said, health)
        vm, pin = ids.get("vm-id", ""), ids.get("iface-id", "").lower()
        if kind or (len(interfaces) == 1 and interface["name"] == row["name"]):
            return Port(*common, members=(member(interface),) if not kind else (), vm=vm, pin=pin)
        return Port(*common, bond_mode(row), tuple(sorted(map(member, interfaces), key=attrgetter("name"))), row["bond_active_slave"] or "")

    def partners(self, port: str) -> dict[str, str]:
        """By NIC of a bond with LACP: its partner's system id; empty: it has none."""
        words = ["ovs-appctl", "--timeout=5", "-t", "ovs-vswitchd", "lacp/show", port]
        environment = os.environ | {"OVS_RUNDIR": str(self._folder)}
        return lacp_partners(subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout)

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
