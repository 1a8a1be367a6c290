"""What one switch should hold, what it holds, and where the two differ. Pure: no switch, no clock.

Every change, whoever made it, only marks keys as dirty: a unit of flows that is another tuple than before, a port that came or went,
a flow that the switch says was changed. `changes` then looks at the dirty keys alone, so that the cost follows the change.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from weft.apps.flow import Flow
from weft.controller import encode
from weft.controller.encode import Entry, Key
from weft.controller.oxm import canonical
from weft.controller.ports import Numbers
from weft.topology.names import COOKIE_MAGIC, of_program

UnitName = tuple[str, ...]
Unit = tuple[Flow, ...]
Place = tuple[UnitName, int]
STEP = 256
"""Flows encoded between two breaths of the event loop."""


Wanted = tuple[Entry, Place]
"""What a flow should be, and which unit wants it."""


def foreign(cookie: int) -> bool:
    return cookie >> 32 != COOKIE_MAGIC


@dataclass(slots=True)
class Changes:
    """Deletions and additions, by key; `adds` includes changed flows, which keep their counters so (OpenFlow 1.4.1, 6.4)."""

    deletes: list[Key] = field(default_factory=list)
    adds: list[tuple[Key, Entry]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.deletes) + len(self.adds)


class Ledger:
    """The flows of one switch. `numbers` is its live map of ports; `moved` says when it changed."""

    def __init__(self, numbers: Numbers) -> None:
        self.wanted: dict[Key, Wanted] = {}
        self.have: dict[Key, Entry] = {}
        self._strangers: dict[Key, int] = {}
        """Cookies of all flows that nobody here made."""
        self.held_back: set[Place] = set()
        self.doubles: dict[Place, Key] = {}
        """Flows whose identity another unit has taken already: a fault of the compiler."""
        self.dirty: dict[Key, None] = {}
        self._numbers = numbers
        self._encode = encode.Encoder(numbers)
        self._units: dict[UnitName, Unit] = {}
        self._keys: dict[UnitName, list[Key | None]] = {}
        self._spoken: dict[UnitName, frozenset[str]] = {}
        """Ports that a unit names."""
        self._named: dict[str, dict[UnitName, None]] = {}
        """And the other way round."""
        self._tables: defaultdict[int, int] = defaultdict(int)

    def flow(self, key: Key) -> Flow | None:
        """The flow that stands behind a key, if it is wanted."""
        wanted = self.wanted.get(key)
        return self._units[wanted[1][0]][wanted[1][1]] if wanted else None

    @property
    def foreign(self) -> dict[Key, int]:
        """Cookies of flows that nobody here made, in tables that are ours."""
        return {key: cookie for key, cookie in self._strangers.items() if self.intrudes(key)}

    def intrudes(self, key: Key) -> bool:
        return key in self._strangers and key[0] in self._tables and key not in self.wanted

    @property
    def tables(self) -> set[int]:
        """The tables that are ours: those that wanted flows are in."""
        return set(self._tables)

    @property
    def missing(self) -> set[str]:
        """Ports that flows name and the switch does not have."""
        return {name for name, places in self._named.items() if places and name not in self._numbers}

    def adopt(self, units: Mapping[UnitName, Unit]) -> Iterator[None]:
        """Takes a new program over, yielding now and then; a unit that is the very same tuple costs nothing."""
        changed = [name for name, unit in units.items() if self._units.get(name) is not unit]
        gone = [name for name in self._units if name not in units]
        for name in (*gone, *changed):
            if name in self._units:
                yield from self._remove(name)
        for name in changed:
            yield from self._add(name, units[name])
        for place in list(self.doubles):  # whoever had the identity may be gone
            del self.doubles[place]
            self._keys[place[0]][place[1]] = self._place(self._units[place[0]][place[1]], place)

    def _add(self, name: UnitName, unit: Unit) -> Iterator[None]:
        self._units[name] = unit
        keys = self._keys[name] = []
        for index, flow in enumerate(unit):
            keys.append(self._place(flow, (name, index)))
            if not index % STEP:
                yield
        spoken = self._spoken[name] = self._encode.spoken()
        for port in spoken:
            self._named.setdefault(port, {})[name] = None

    def _remove(self, name: UnitName) -> Iterator[None]:
        for index in range(len(self._units[name])):
            self._unplace((name, index))
            if not index % STEP:
                yield
        for port in self._spoken.pop(name):
            del self._named[port][name]
        del self._units[name], self._keys[name]

    def _place(self, flow: Flow, place: Place) -> Key | None:
        encoded = self._encode(flow)
        if encoded is None:
            self.held_back.add(place)
            return None
        key, entry = encoded
        if key in self.wanted:
            self.doubles[place] = key
            return None
        self.wanted[key] = (entry, place)
        self._tables[key[0]] += 1
        if self.have.get(key) != entry:
            self.dirty[key] = None
        return key

    def _unplace(self, place: Place) -> None:
        self.held_back.discard(place)
        self.doubles.pop(place, None)
        name, index = place
        key = self._keys[name][index]
        if key is not None:
            self._keys[name][index] = None
            del self.wanted[key]
            self._tables[key[0]] -= 1
            if not self._tables[key[0]]:
                del self._tables[key[0]]
            self.dirty[key] = None

    def moved(self, ports: set[str]) -> None:
        """Ports came, went or changed their numbers: the flows that name them are encoded again."""
        if not ports:
            return
        self._encode.forget()
        units = {name: None for port in sorted(ports) for name in self._named.get(port, ())}
        places = [
            (name, index) for name in units for index, flow in enumerate(self._units[name]) if not ports.isdisjoint(encode.names(flow))
        ]
        for place in places:  # all go first: two ports may have swapped their numbers
            self._unplace(place)
        for name, index in places:
            self._keys[name][index] = self._place(self._units[name][index], (name, index))

    def observed(self, seen: Iterator[encode.Seen] | list[encode.Seen]) -> Iterator[None]:
        """A whole dump of the switch replaces what was believed of it. Yields now and then; the last step does it."""
        have: dict[Key, Entry] = {}
        strangers: dict[Key, int] = {}
        for count, one in enumerate(seen):
            if of_program(one.entry[0]):
                have[self._known(one.key)] = one.entry
            elif foreign(one.entry[0]):
                strangers[self._known(one.key)] = one.entry[0]
            if count % STEP == 0:
                yield
        self._replace(have, strangers)

    def _replace(self, have: dict[Key, Entry], strangers: dict[Key, int]) -> None:
        self.have = have
        self._strangers = strangers
        self.dirty = dict.fromkeys(key for key in have if key not in self.wanted)
        self.dirty.update((key, None) for key, wanted in self.wanted.items() if have.get(key) != wanted[0])

    def _known(self, key: Key) -> Key:
        """The key as weft writes it, where the switch shuffled the fields of the match."""
        if key in self.wanted or not key[2]:
            return key
        return key[0], key[1], canonical(key[2])

    def told(self, key: Key, entry: Entry | None) -> bool:
        """The switch says that somebody else changed a flow (None: removed it). True where that is not what should be."""
        wanted = self.wanted.get(key)
        if entry is not None and of_program(entry[0]):
            self.have[key] = entry
        else:
            self.have.pop(key, None)
            self._strangers.pop(key, None)
            if entry is not None and foreign(entry[0]):
                self._strangers[key] = entry[0]
        if self.have.get(key) == (wanted[0] if wanted else None):
            self.dirty.pop(key, None)
            return False
        self.dirty[key] = None
        return True

    def additions(self) -> Changes:
        """What is dirty and wanted, for as long as a program is still being adopted."""
        changes = Changes()
        kept: dict[Key, None] = {}
        for key in self.dirty:
            wanted = self.wanted.get(key)
            if wanted is None:
                kept[key] = None
            elif wanted[0] != self.have.get(key):
                changes.adds.append((key, wanted[0]))
        self.dirty = kept
        return changes

    def changes(self, sweep: bool = False) -> Changes:
        """What makes the switch as it should be, with `sweep` without what is foreign in our tables. Nothing is dirty then: to be
        followed by `done` or `undone`."""
        changes = self.additions()
        changes.deletes = [key for key in self.dirty if key in self.have]
        self.dirty = {}
        if sweep:
            changes.deletes.extend(self.foreign)
        return changes

    def done(self, changes: Changes) -> None:
        """The switch took them. What it told of meanwhile is newer."""
        newer = {key: self.have.get(key) for key in self.dirty}
        for key in changes.deletes:
            self.have.pop(key, None)
            self._strangers.pop(key, None)
        self.have.update(changes.adds)
        for key, entry in newer.items():
            if entry is not None:
                self.have[key] = entry
            else:
                self.have.pop(key, None)

    def undone(self, changes: Changes) -> None:
        """The switch took none of them."""
        self.dirty.update(dict.fromkeys(key for key in changes.deletes if key in self.have))
        self.dirty.update((key, None) for key, _ in changes.adds)
