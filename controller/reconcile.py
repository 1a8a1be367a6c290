"""Makes one switch hold its program, and keeps it so: observe, compare, change, observe.

One task for each switch. It reads the switch once after every connect, and again now and then; in between it believes what it did
itself, and Open vSwitch's flow monitors tell what others did. A change is one atomic bundle (OpenFlow 1.3 has none: messages and a
barrier), with meters before and unused meters after it, because a bundle takes no meters. What a switch refuses is reported with the
flow and its reasons, and tried again when something changes or at the next reading, never in a hot loop.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from struct import Struct

from weft.apps.flow import Program
from weft.apps.text import flow_text
from weft.controller import encode, wire
from weft.controller.channel import Connection, log
from weft.controller.encode import Entry, Key
from weft.controller.ledger import Changes, Ledger
from weft.controller.oxm import match_text
from weft.controller.refusal import Refused

READ_SECONDS = 60
"""Between two readings of a switch, at least; a big one is read less often (`READ_SHARE`)."""
READ_SHARE = 50
"""A reading that took t seconds is followed by at least 50 t without one."""
REPAIR_SECONDS = 1
"""Between two repairs of what somebody else changed, at least."""
CHUNK = 64 << 10
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
        self._bundles = count(1)
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
        self._moved |= names
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
            elif key is not None and key in self.ledger.foreign:
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
            await self._adopt()
            if self._retry or not self.state.failed:
                self._retry = False
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

    async def _adopt(self) -> None:
        """Brings the ledger to the program and the ports, which may change again meanwhile."""
        adopted = None
        while adopted is not self._program or self._moved:
            moved, self._moved = self._moved, set()
            self.ledger.moved(moved)
            adopted = self._program
            for _ in self.ledger.adopt(adopted.units):
                await asyncio.sleep(0)
        for place, key in self.ledger.doubles.items():
            log.error("%s: two flows of one identity: %s, %s and %s", self._connection, key, place, self.ledger.wanted[key].place)

    async def _apply(self) -> None:
        program, serial = self._program, self._serial
        numbers = self._connection.ports
        groups = {group.number: encode.group_body(group, numbers) for group in program.groups}
        meters = {meter.number: encode.meter_body(meter) for meter in program.meters}
        changes = self.ledger.changes(self._sweep)
        before = Stage(self._connection)
        for number, body in _differing(meters, self._meters):
            before.add(encode.meter_mod(before.version, before.xid, number in self._meters, body), f"meter {number}")
        stage = Stage(self._connection)
        for number, body in _differing(groups, self._groups):
            stage.add(encode.group_mod(stage.version, stage.xid, number in self._groups, body), f"group {number}")
        gone_groups = [n for n in self._groups if n not in groups and (self._sweep or n in self._made)]
        gone_meters = [n for n in self._meters if n not in meters and (self._sweep or -n in self._made)]
        failed: tuple[str, ...] = ()
        if changes or stage.blame or before.blame or gone_groups or gone_meters:
            swept = [_foreign_text(key, cookie) for key, cookie in self.ledger.foreign.items() if self._sweep]
            failed = await self._change(before, stage, changes, gone_groups, gone_meters)
            for line in swept if not failed else ():
                log.warning("%s: drift: %s: removed", self._connection, line)
        if not failed:
            self._groups = {n: b for n, b in self._groups.items() if n not in gone_groups} | groups
            self._meters = {n: b for n, b in self._meters.items() if n not in gone_meters} | meters
            self._made = {*groups, *(-n for n in meters)}
            self._monitor()
        done = not failed and program is self._program
        self.state = replace(self.state, synced=done, failed=failed, serial=serial if done else self.state.serial)

    async def _change(self, before: "Stage", stage: "Stage", changes: Changes, groups: list[int], meters: list[int]) -> tuple[str, ...]:
        """Meters, the bundle, meters again; what was refused, in words."""
        connection = self._connection
        bundle = next(self._bundles) if connection.version >= wire.V1_4 else None
        self._repair_at = asyncio.get_running_loop().time()
        connection.errors = {}
        try:
            await before.flush()
            refused = await self._send(bundle, stage, changes, groups)
            if not refused:
                self.ledger.done(changes)
                for number in meters:
                    connection.write(encode.meter_delete(connection.version, connection.xid(), number))
            elif bundle is None:
                self._read_at = 0  # half of it may be done
            blame = before.blame | stage.blame
            return self._words(refused, blame)
        finally:
            connection.errors = None

    async def _send(self, bundle: int | None, stage: "Stage", changes: Changes, groups: list[int]) -> dict[int, Refused]:
        """Errors by xid; under 0 what names no message of the bundle."""
        connection, version = self._connection, self._connection.version
        assert connection.errors is not None
        stage.bundle = bundle
        if bundle is not None:
            connection.write(wire.bundle_control(version, connection.xid(), bundle, wire.BUNDLE_OPEN))
        for key in changes.deletes:
            stage.flow(wire.DELETE_STRICT, key, _NOTHING)
            await stage.room()
        for key, entry in changes.adds:
            stage.flow(wire.ADD, key, entry)
            await stage.room()
        for number in groups:
            stage.add(encode.group_delete(version, stage.xid, number), f"group {number}")
        await stage.flush()
        self.state = replace(self.state, sent=self.state.sent + len(changes))
        await connection.barrier()
        errors = connection.errors
        if bundle is None:
            return errors
        xid = connection.xid()
        if errors:  # the switch would commit the rest
            connection.write(wire.bundle_control(version, xid, bundle, wire.BUNDLE_DISCARD))
            return errors
        try:
            await connection.ask(xid, wire.bundle_control(version, xid, bundle, wire.BUNDLE_COMMIT))
        except Refused as error:
            return errors or {0: error}
        return errors

    def _words(self, refused: dict[int, Refused], blame: dict[int, "Key | str"]) -> tuple[str, ...]:
        lines = []
        for xid, error in list(refused.items())[:SPOKEN_MOST]:
            what = blame.get(xid, "the bundle")
            flow = None if isinstance(what, str) else self.ledger.flow(what)
            if flow is not None:
                lines.append(f"{flow_text(flow)}: {error} (for {', '.join(flow.why)})")
            else:
                lines.append(f"{what if isinstance(what, str) else _key_text(what)}: {error}")
        if lines and lines != list(self.state.failed):
            for line in lines:
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
        foreign = [_foreign_text(key, cookie) for key, cookie in list(self.ledger.foreign.items())[:SPOKEN_MOST]]
        if len(self.ledger.foreign) > SPOKEN_MOST:
            foreign.append(f"and {len(self.ledger.foreign) - SPOKEN_MOST} more")
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


class Stage:
    """Messages on their way to a switch, and which of them is whose fault."""

    def __init__(self, connection: Connection) -> None:
        self.version = connection.version
        self.blame: dict[int, Key | str] = {}
        self.bundle: int | None = None
        self.xid = connection.xid()
        self._connection = connection
        self._messages: list[bytes] = []
        self._bytes = 0

    def add(self, message: bytes, what: Key | str) -> None:
        """`message` carries `xid`, which is another afterwards."""
        self.blame[self.xid] = what
        self._messages.append(message)
        self._bytes += len(message)
        self.xid = self._connection.xid()

    def flow(self, command: int, key: Key, entry: Entry) -> None:
        self.add(wire.flow_mod(self.version, self.xid, command, key, entry.cookie, entry.instructions), key)

    async def room(self) -> None:
        if self._bytes >= CHUNK:
            await self.flush()

    async def flush(self) -> None:
        """Sends what there is and gives the others their turn."""
        if self.bundle is not None:
            bundle = self.bundle
            self._messages = [wire.bundled(bundle, message) for message in self._messages]
        self._connection.write(b"".join(self._messages))
        self._messages.clear()
        self._bytes = 0
        await self._connection.drained()
        await asyncio.sleep(0)


_ALL_METERS = Struct("!I4x").pack(0xFFFFFFFF)
_NOTHING = Entry(0, b"")
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
            entry = None if event == _REMOVED else Entry(cookie, body[rest : at + length])
            yield event, (table, priority, match), entry
        elif event != _ABBREVIATED:
            yield event, None, None
        at += length


def _differing(wanted: dict[int, bytes], have: dict[int, bytes]) -> Iterable[tuple[int, bytes]]:
    return [(number, body) for number, body in wanted.items() if have.get(number) != body]


def _key_text(key: Key) -> str:
    return f"table={key[0]}, priority={key[1]}{match_text(key[2])}"


def _foreign_text(key: Key, cookie: int) -> str:
    return f"{_key_text(key)}: cookie {cookie:#x} is not weft's"
