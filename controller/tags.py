"""What the database of a bare bridge says of its ports: tags, trunks, bonds. OpenFlow cannot see them.

Read over the local socket of Open vSwitch unless told otherwise; a bridge of another machine, or a database that does not answer, is simply
not known here.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from weft.apps.bare import BarePort
from weft.topology.ovsdb import OvsdbError, Watch
from weft.topology.replica import Change, Replica

WATCHES = {
    "Bridge": Watch(("name", "datapath_id", "ports")),
    "Port": Watch(("name", "tag", "trunks", "vlan_mode", "interfaces")),
}
PATIENCE = 1.0
"""Seconds that a start waits for the database; it is taken up later, too."""


def local() -> str:
    """Where Open vSwitch's database listens on this machine (ovs-vswitchd(8): OVS_RUNDIR)."""
    return f"unix:{os.environ.get('OVS_RUNDIR', '/run/openvswitch')}/db.sock"


class Tags:
    """Follows one database. `changed` is called when something about ports became other."""

    def __init__(self, target: str, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._replica = Replica(target, "Open_vSwitch", WATCHES, self._heard)
        self._task: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._replica.start())
        with suppress(TimeoutError, OvsdbError):
            await asyncio.wait_for(asyncio.shield(self._task), PATIENCE)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._replica.stop()

    def _heard(self, changes: list[Change]) -> None:
        if changes:
            self._changed()

    def ports(self, dpid: int) -> tuple[BarePort, ...] | None:
        """The ports of the bridge, in order of their names; None where the database does not know the bridge."""
        rows = self._rows(dpid)
        return None if rows is None else tuple(sorted(map(_port, rows), key=lambda port: port.name))

    def bonded(self, dpid: int) -> bool:
        """A port of several interfaces: only `NORMAL` knows which of them to send by."""
        return any(len(row["interfaces"]) > 1 for row in self._rows(dpid) or ())

    def _rows(self, dpid: int) -> list[Mapping[str, Any]] | None:
        tables = self._replica.tables
        for bridge in tables["Bridge"].values():
            if bridge["datapath_id"] == f"{dpid:016x}":
                return [tables["Port"][uuid] for uuid in bridge["ports"] if uuid in tables["Port"]]
        return None


def _port(row: Mapping[str, Any]) -> BarePort:
    return BarePort(row["name"], row["tag"], tuple(sorted(row["trunks"])), row["vlan_mode"])
