"""Makes one switch hold its program, and keeps it so: observe, compare, change, observe.

One task for each switch. It reads the switch once after every connect, and again now and then; in between it believes what it did
itself, and Open vSwitch's flow monitors tell what others did. A change is one atomic bundle (OpenFlow 1.3 has none: messages and a
barrier), with meters before and unused meters after it, because a bundle takes no meters. What a switch refuses is reported with the
flow and its reasons, and tried again when something changes or at the next reading, never in a hot loop.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from struct import Struct

from weft.apps.flow import Program
from weft.apps.text import flow_text
from weft.controller import encode, wire
from weft.controller.bundle import Bundle
from weft.controller.connection import Connection, log
from weft.controller.encode import Entry, Key
from weft.controller.ledger import Changes, Ledger
from weft.controller.oxm import match_text
from weft.controller.ports import Numbers
from weft.controller.refusal import Refused

READ_SECONDS = 60
"""Between two readings of a switch, at least; a big one is read less often (`READ_SHARE`)."""
READ_SHARE = 50
"""A reading that took t seconds is followed by at least 50 t without one."""
REPAIR_SECONDS = 1
"""Between two repairs of what somebody else changed, at least."""
EARLY = 2048
"""Flows to be sent that are not kept back until all are known."""
SPOKEN_MOST = 8
"""Lines of drift or refusal that are reported in full."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a switch is. `serial` is that of the last program that it held completely."""

    synced: bool = False
    serial: int = 0
    flows: int = 0
    held_back: int = 0
    """Flows that wait for a port."""
    failed: tuple[str, ...] = ()
    """What the switch refused and why, a line each."""
    drift: tuple[str, ...] = ()
    """What is there and not ours, a line each."""
    repaired: int = 0
    """Flows put right since the connect that somebody else had changed or removed."""
    sent: int = 0
    """Flow-mods sent since the connect."""


class Reconciler:
    """One switch's program and its way onto the switch. Lives as long as the connection."""

    def __init__(self, connection: Connection, report: Callable[[State], None]) -> None:
        self.state = State()
        self.ledger = Ledger(connection.ports)
        self._connection = connection
        self._report = report
        self._program = Program()
        self._serial = 0
        self._sweep = False
        self._groups: dict[int, bytes] = {}
        self._meters: dict[int, bytes] = {}
        self._made: set[int] = set()
        """Groups and meters (these negative) of our making: they carry no cookie."""
        self._moved: set[str] = set()
        self._events: list[bytes] | None = None
        """Told while the switch was being read, to be heard afterwards."""
        self._monitored: set[int] = set()
        self._repairs = 0
        self._wake = asyncio.Event()
        self._retry = False
        self._read_at = 0.0
        self._repair_at = 0.0
        self._started = False

    def want(self, program: Program, serial: int = 0, sweep: bool = False) -> None:
        """What the switch should hold from now on; `sweep` takes foreign flows out of our tables and foreign groups and meters away."""
        self._program, self._serial, self._sweep = program, serial, sweep
        self.state = replace(self.state, synced=False)
        self._again()
        if not self._started:
            self._started = True
            self._connection.spawn(self._work())

    def ports_changed(self, names: set[str]) -> None:
        """What flows speak of them is another thing now: nothing is in sync until that is laid."""
        self._moved |= names
        self.state = replace(self.state, synced=False)
        self._again()

    def flows_changed(self, body: bytes) -> None:
        """A flow monitor speaks (OpenFlow 1.4.1, 7.3.5.15.2)."""
        if self._events is not None:
            self._events.append(body)
            return
        for event, key, entry in _updates(body):
            if event == _RESUMED:
                self._read_at = 0
                self._wake.set()
            elif key is not None and self.ledger.told(key, entry):
                self._repairs += 1
                self._mend()
            elif key is not None and self.ledger.intrudes(key):
                self._mend()

    def _again(self) -> None:
        self._retry = True
        self._wake.set()

    def _mend(self) -> None:
        """Soon; at once only where the last repair is a while ago: somebody may be fighting us."""
        loop = asyncio.get_running_loop()
        loop.call_at(max(loop.time(), self._repair_at + REPAIR_SECONDS), self._wake.set)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if loop.time() >= self._read_at:
                await self._read()
            await self._apply()
            self._tell()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(self._read_at - loop.time(), 0))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        connection, xid = self._connection, self._connection.xid()
        self._events = []
        parts = await connection.ask(xid, wire.flow_dump(connection.version, xid))
        for _ in self.ledger.observed(one for part in parts for one in encode.seen(part)):
            await asyncio.sleep(0)
        events, self._events = self._events, None
        for body in events:
            self.flows_changed(body)
        if connection.open_vswitch:
            self._groups = await self._numbered(wire.MP_GROUP_DESC, b"", encode.groups_seen)
            self._meters = await self._numbered(wire.MP_METER_CONFIG, _ALL_METERS, encode.meters_seen)
        if self.state.synced:
            self._repairs += len(self.ledger.dirty)
        self._retry = True
        self._read_at = loop.time() + max(READ_SECONDS, READ_SHARE * (loop.time() - begun))

    async def _numbered(self, kind: int, body: bytes, seen: Callable[[bytes], Iterator[tuple[int, bytes]]]) -> dict[int, bytes]:
        try:
            parts = await self._connection.multipart(kind, body)
        except Refused:  # a switch without groups or meters
            return {}
        return dict(one for part in parts for one in seen(part))

    async def _apply(self) -> None:
        """Brings the ledger to the program and the ports, and the switch to the ledger, at the same time."""
        program, serial, retry = self._program, self._serial, self._retry
        self._retry = False
        moved, self._moved = self._moved, set()
        bundle = Bundle(self._connection)
        try:
            self.ledger.moved(moved)
            send = retry or not self.state.failed
            numbered = Numbered(program, self._connection.ports, self._groups, self._meters, self._made, self._sweep)
            if send:
                numbered.begin(bundle)
            sent = await self._flows(program, bundle if send else None)
            failed = self.state.failed
            if send:
                failed = await self._commit(bundle, numbered, sent)
        finally:
            bundle.close()
        done = not failed and program is self._program and not self._moved
        count = self.state.sent + len(sent) if send else self.state.sent
        self.state = replace(self.state, synced=done, failed=failed, serial=serial if done else self.state.serial, sent=count)

    async def _flows(self, program: Program, bundle: Bundle | None) -> Changes:
        """What was sent of the flows. A big program goes out while the rest of it is still being encoded; deletions come last, for a
        flow that goes here may come again there."""
        ledger, sent = self.ledger, Changes()
        for _ in ledger.adopt(program.units):
            if bundle is not None and len(ledger.dirty) >= EARLY:
                await _put(bundle, ledger.additions(), sent)
            await asyncio.sleep(0)
        for place, key in ledger.doubles.items():
            log.error("%s: two flows of one identity: %s, %s and %s", self._connection, key, place, ledger.wanted[key][1])
        if bundle is not None:
            await _put(bundle, ledger.changes(self._sweep), sent)
        return sent

    async def _commit(self, bundle: Bundle, numbered: "Numbered", sent: Changes) -> tuple[str, ...]:
        """What was refused, in words."""
        swept = [_foreign_text(key, cookie) for key, cookie in self.ledger.foreign.items() if self._sweep]
        if sent:
            self._repair_at = asyncio.get_running_loop().time()
        numbered.end(bundle)
        await bundle.commit()
        if bundle.errors:
            self.ledger.undone(sent)
            self._meters |= numbered.taken(bundle)
            if self._connection.version < wire.V1_4:
                self._read_at = 0  # half of it may be done
            return self._words(bundle)
        self.ledger.done(sent)
        numbered.unused(bundle)
        self._groups, self._meters, self._made = numbered.groups, numbered.meters, numbered.made
        for line in swept:
            log.warning("%s: drift: %s: removed", self._connection, line)
        self._monitor()
        return ()

    def _words(self, bundle: Bundle) -> tuple[str, ...]:
        lines = []
        for xid, error in list(bundle.errors.items())[:SPOKEN_MOST]:
            what = bundle.blame.get(xid, "the bundle")
            flow = None if isinstance(what, str) else self.ledger.flow(what)
            if flow is not None:
                lines.append(f"{flow_text(flow)}: {error} (for {', '.join(flow.why)})")
            else:
                lines.append(f"{what if isinstance(what, str) else _key_text(what)}: {error}")
        for line in lines if lines != list(self.state.failed) else ():
            log.error("%s: refused: %s", self._connection, line)
        return tuple(lines)

    def _monitor(self) -> None:
        """A flow monitor for every table that is ours, so that learned flows in other tables do not flood us."""
        connection = self._connection
        if not connection.open_vswitch or connection.version < wire.V1_4:
            return
        for table in sorted(self.ledger.tables - self._monitored):
            self._monitored.add(table)
            xid = connection.xid()
            flags = _TELL_ADDED | _TELL_REMOVED | _TELL_CHANGED | _TELL_INSTRUCTIONS
            body = Struct("!IIIHBBHH4x").pack(table + 1, wire.ANY_PORT, wire.ANY_GROUP, flags, table, 0, 1, 4)
            connection.write(wire.multipart_request(connection.version, xid, wire.MP_FLOW_MONITOR, body))

    def _tell(self) -> None:
        intruders = self.ledger.foreign
        foreign = [_foreign_text(key, cookie) for key, cookie in list(intruders.items())[:SPOKEN_MOST]]
        if len(intruders) > SPOKEN_MOST:
            foreign.append(f"and {len(intruders) - SPOKEN_MOST} more")
        state = replace(
            self.state,
            flows=len(self.ledger.have),
            held_back=len(self.ledger.held_back),
            drift=tuple(foreign),
            repaired=self._repairs,
        )
        for line in set(foreign) - set(self.state.drift):
            log.warning("%s: drift: %s", self._connection, line)
        self.state = state
        self._report(state)


class Numbered:
    """Groups and meters, which have no cookie: their numbers are all there is to know them by."""

    def __init__(
        self, program: Program, numbers: Numbers, groups: dict[int, bytes], meters: dict[int, bytes], made: set[int], sweep: bool
    ) -> None:
        wanted_groups = {group.number: encode.group_body(group, numbers) for group in program.groups}
        wanted_meters = {meter.number: encode.meter_body(meter) for meter in program.meters}
        self._new_groups = {n: body for n, body in wanted_groups.items() if groups.get(n) != body}
        self._new_meters = {n: body for n, body in wanted_meters.items() if meters.get(n) != body}
        self._old_groups = [n for n in groups if n not in wanted_groups and (sweep or n in made)]
        self._old_meters = [n for n in meters if n not in wanted_meters and (sweep or -n in made)]
        self._known = {*groups, *(-n for n in meters)}
        self._asked: dict[int, int] = {}
        self.groups = {n: body for n, body in groups.items() if n not in self._old_groups} | wanted_groups
        self.meters = {n: body for n, body in meters.items() if n not in self._old_meters} | wanted_meters
        self.made = {*wanted_groups, *(-n for n in wanted_meters)}

    def begin(self, bundle: Bundle) -> None:
        """Before the flows: what they refer to."""
        version = bundle.version
        for number, body in self._new_meters.items():
            xid = self._asked[number] = bundle.xid(f"meter {number}")
            bundle.beside(encode.meter_mod(version, xid, -number in self._known, body))
        for number, body in self._new_groups.items():
            bundle.add(encode.group_mod(version, bundle.xid(f"group {number}"), number in self._known, body))

    def taken(self, bundle: Bundle) -> dict[int, bytes]:
        """Meters that the switch has, though it refused the bundle beside them."""
        return {number: self._new_meters[number] for number, xid in self._asked.items() if xid not in bundle.errors}

    def end(self, bundle: Bundle) -> None:
        """After the flows: a group takes the flows that use it along."""
        for number in self._old_groups:
            bundle.add(encode.group_delete(bundle.version, bundle.xid(f"group {number}"), number))

    def unused(self, bundle: Bundle) -> None:
        """After the bundle."""
        for number in self._old_meters:
            bundle.beside(encode.meter_delete(bundle.version, bundle.xid(f"meter {number}"), number))


async def _put(bundle: Bundle, changes: Changes, sent: Changes) -> None:
    for key in changes.deletes:
        if bundle.flow(wire.DELETE_STRICT, key, _NOTHING):
            await bundle.flush()
    for key, entry in changes.adds:
        if bundle.flow(wire.ADD, key, entry):
            await bundle.flush()
    sent.deletes += changes.deletes
    sent.adds += changes.adds


_ALL_METERS = Struct("!I4x").pack(0xFFFFFFFF)
_NOTHING = (0, b"")
_TELL_ADDED, _TELL_REMOVED, _TELL_CHANGED, _TELL_INSTRUCTIONS = 2, 4, 8, 16
_REMOVED, _ABBREVIATED, _PAUSED, _RESUMED = 2, 4, 5, 6
_UPDATE = Struct("!HHBx4xH4xQ2xH")


def _updates(body: bytes) -> Iterator[tuple[int, Key | None, Entry | None]]:
    """Event, flow and contents (None: removed) of every update; updates caused by ourselves come abbreviated and are left out."""
    at = 0
    while at < len(body):
        length, event = Struct("!HH").unpack_from(body, at)
        if length < 4 or at + length > len(body):
            raise wire.Malformed("a flow update that lies about its length")
        if event < _ABBREVIATED:
            _, _, table, priority, cookie, matched = _UPDATE.unpack_from(body, at)
            match = body[at + 28 : at + 24 + matched]
            rest = at + 24 + (matched + 7) // 8 * 8
            entry = None if event == _REMOVED else (cookie, body[rest : at + length])
            yield event, (table, priority, match), entry
        elif event != _ABBREVIATED:
            yield event, None, None
        at += length


def _key_text(key: Key) -> str:
    return f"table={key[0]}, priority={key[1]}{match_text(key[2])}"


def _foreign_text(key: Key, cookie: int) -> str:
    return f"{_key_text(key)}: cookie {cookie:#x} is not weft's"
