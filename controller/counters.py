"""What policies let through and dropped, counted by the switches and summed up in the store.

While there are policies, the tables that decide are read every few seconds, a switch that answers slowly less often. The sums are written
when they are other ones, and nobody is woken by them. A switch that is gone keeps what it counted last.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from math import inf
from struct import Struct

from weft.apps.flow import Conjunction, Program
from weft.apps.pipeline import AUDIT, JUDGE
from weft.controller import wire
from weft.controller.connection import Connection, log
from weft.controller.service import Controller
from weft.topology.ovsdb import OvsdbError
from weft.topology.replica import Replica
from weft.topology.reports import Count, Fenced, report_policies

SECONDS = 2
"""Between two readings of a switch, at least."""
SHARE = 20
"""A reading that took t seconds is followed by at least 20 t without one."""
_STATS = Struct("!H22xQQQ2xH")


class Counters:
    """Runs beside a `weft.controller.fabric.Loom`, whose programs and epoch it asks for."""

    def __init__(self, store: Replica, controller: Controller, programs: Callable[[], Mapping[int, Program]], epoch: Callable[[], int]) -> None:
        self._store, self._controller = store, controller
        self._programs, self._epoch = programs, epoch
        self._seen: dict[int, dict[str, Count]] = {}
        self._cookies: dict[int, tuple[Program, dict[int, str]]] = {}
        self._told: dict[str, Count] | None = None
        self._next: dict[int, tuple[Connection, float]] = {}
        """When a switch is to be read again; infinite while it is being read."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(SECONDS)
            now = asyncio.get_running_loop().time()
            for dpid, program in self._programs().items():
                switch = self._controller.switches.get(dpid)
                if switch is not None and self._named(dpid, program) and self._due(dpid, switch.connection, now):
                    self._next[dpid] = switch.connection, inf
                    switch.connection.spawn(self._read(dpid, switch.connection))
            await self._tell()

    def _due(self, dpid: int, connection: Connection, now: float) -> bool:
        last = self._next.get(dpid)
        return last is None or last[0] is not connection or now >= last[1]

    def _named(self, dpid: int, program: Program) -> dict[int, str]:
        """Which policy a flow that decides is of, by its cookie."""
        known = self._cookies.get(dpid)
        if known is None or known[0] is not program:
            known = self._cookies[dpid] = program, dict(_deciding(program))
        return known[1]

    async def _read(self, dpid: int, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        begun, counts = loop.time(), dict[str, Count]()
        try:
            for table in (JUDGE, AUDIT):
                xid = connection.xid()
                parts = await connection.ask(xid, wire.flow_dump(connection.version, xid, table=table.number))
                names = self._cookies[dpid][1]
                for cookie, packets, octets in (one for part in parts for one in counted(part)):
                    if cookie in names:
                        had = counts.get(names[cookie], (0, 0))
                        counts[names[cookie]] = had[0] + packets, had[1] + octets
        finally:
            self._next[dpid] = connection, loop.time() + max(SECONDS / 2, SHARE * (loop.time() - begun))
        self._seen[dpid] = counts

    async def _tell(self) -> None:
        programs, sums = self._programs(), dict[str, Count]()
        for dpid, counts in self._seen.items():
            names = set(self._named(dpid, programs[dpid]).values()) if dpid in programs else ()
            for name, (packets, octets) in counts.items():
                if name in names:
                    had = sums.get(name, (0, 0))
                    sums[name] = had[0] + packets, had[1] + octets
        if sums == (self._told or {}):
            return
        try:
            await report_policies(self._store, self._epoch(), sums)
        except (OvsdbError, Fenced) as error:  # the store is away, or another's: whoever follows it finds out by itself
            log.debug("counters of policies: %s", error)
        else:
            self._told = sums


def _deciding(program: Program) -> Iterator[tuple[int, str]]:
    for key, unit in program.units.items():
        if key[1] != "policy":
            continue
        audits = not any(flow.table == JUDGE.number for flow in unit)
        for flow in unit:
            if flow.table == (AUDIT if audits else JUDGE).number and not any(isinstance(a, Conjunction) for a in flow.actions):
                yield flow.cookie, key[2]


def counted(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Cookie, packets and octets of every flow in one part of a flow dump. Raises Malformed."""
    at = 0
    while at < len(body):
        if len(body) - at < 56:
            raise wire.Malformed("half a flow")
        length, cookie, packets, octets, _ = _STATS.unpack_from(body, at)
        if length < 56 or at + length > len(body):
            raise wire.Malformed("a flow that lies about its length")
        yield cookie, packets, octets
        at += length
