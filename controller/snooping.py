"""Who joined which multicast group: heard from the guests of snooping segments, who are asked now and then, and forgotten in time.

Nothing of it is stored: a controller that starts asks every port as soon as its switch is in sync, and knows again within seconds.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError
from typing import Protocol
from weakref import WeakKeyDictionary

from weft.apps.fields import FIELDS
from weft.apps.flow import CONTROLLER
from weft.apps.pipeline import SEGMENT, SERVE
from weft.apps.snooping import restricted
from weft.controller import wire
from weft.controller.connection import Answer, Connection
from weft.controller.membership import QUERY_EVERY, Group, Query, Report, queries, said, untagged
from weft.controller.oxm import header
from weft.topology.model import Endpoint, Segment

TICK = 1.0
"""Seconds between two looks at the clock and at new ports."""
FORGET = 260.0
"""Seconds without a report after which a guest has left (RFC 3376, 8.4)."""
ROUTER_FORGET = 255.0
"""Seconds without a query after which a guest is no multicast router (RFC 3376, 8.5)."""
ANSWER_SOON, ANSWER_LATER = 2, 10
"""Seconds within which a port that is new, and one that is known, is to answer."""
GROUPS_MOST = 256
"""Groups that one endpoint may join."""
KNOWN_MOST = 4096
"""Groups of a segment that are remembered, with members or without."""
_SEGMENT = Struct("!I").pack(header(FIELDS[SEGMENT.field]))
_HEAD = Struct("!8x4xHBBQHH")


class Switch(Protocol):
    """What is asked of a connected switch."""

    @property
    def connection(self) -> Connection: ...
    @property
    def state(self) -> "Synced": ...


class Synced(Protocol):
    @property
    def synced(self) -> bool: ...


@dataclass(slots=True)
class Members:
    """Endpoints, and when each is forgotten, for every group that was ever joined in one segment."""

    groups: dict[Group, dict[str, float]] = field(default_factory=dict)
    routers: dict[str, float] = field(default_factory=dict)

    def hear(self, endpoint: Endpoint, one: Report | Query, now: float) -> bool:
        """Whether that changed who gets what."""
        name = endpoint.name
        if isinstance(one, Query):
            new = name not in self.routers
            self.routers[name] = now + ROUTER_FORGET
            return new
        if not restricted(one.group):
            return False
        members = self.groups.get(one.group)
        if not one.joined:
            return members is not None and not endpoint.spoof and members.pop(name, None) is not None
        if members is None:
            if not self._room(name):
                return False
            members = self.groups[one.group] = {}
        new = name not in members
        if new and sum(name in others for others in self.groups.values()) >= GROUPS_MOST:
            return False
        members[name] = now + FORGET
        return new

    def _room(self, name: str) -> bool:
        """For one group more: the longest known that nobody is in goes."""
        if len(self.groups) >= KNOWN_MOST:
            empty = next((group for group, members in self.groups.items() if not members), None)
            if empty is None:
                return False
            del self.groups[empty]
        return sum(name in others for others in self.groups.values()) < GROUPS_MOST

    def forget(self, now: float, known: Collection[str]) -> bool:
        """Those whose time is over and those who are gone."""
        changed = False
        for held in (self.routers, *self.groups.values()):
            for name in [name for name, until in held.items() if until < now or name not in known]:
                del held[name]
                changed = True
        return changed


class Snooper:
    """All snooping segments. `changed` is called when flows should follow."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._segments: dict[int, Segment] = {}
        self._endpoints: dict[str, list[Endpoint]] = {}
        self._dpids: Mapping[str, int] = {}
        self._members: dict[str, Members] = {}
        self._asked: WeakKeyDictionary[Connection, dict[str, int]] = WeakKeyDictionary()
        self._switches: Mapping[int, Switch] = {}

    def follow(self, segments: Collection[Segment], endpoints: Collection[Endpoint], dpids: Mapping[str, int]) -> None:
        """What is to be snooped from now on. `dpids`: the integration bridge of each host."""
        self._segments = {segment.id: segment for segment in segments if segment.snoop}
        names = {segment.name for segment in self._segments.values()}
        self._endpoints = {name: [endpoint for endpoint in endpoints if endpoint.segment == name] for name in names}
        self._members = {name: self._members.get(name, Members()) for name in names}
        self._dpids = dpids

    @property
    def joined(self) -> dict[tuple[str, Group], tuple[str, ...]]:
        """For the compiler: by segment and group."""
        return {(name, group): tuple(sorted(held)) for name, members in self._members.items() for group, held in members.groups.items()}

    @property
    def routers(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(sorted(members.routers)) for name, members in self._members.items() if members.routers}

    async def run(self, switches: Mapping[int, Switch]) -> None:
        """Asks and forgets until cancelled."""
        self._switches = switches
        loop = asyncio.get_running_loop()
        general = loop.time() + QUERY_EVERY
        while True:
            now = loop.time()
            again = now >= general
            general = now + QUERY_EVERY if again else general
            self._ask(again)
            known = {name: {endpoint.name for endpoint in held} for name, held in self._endpoints.items()}
            forgotten = [members.forget(now, known[name]) for name, members in self._members.items()]
            if any(forgotten):
                self._changed()
            await asyncio.sleep(TICK)

    # ---- asking

    def _ask(self, again: bool) -> None:
        """Every port that was not asked yet, once its switch would tell us the answer; `again`: all of them."""
        for segment in self._segments.values():
            for endpoint in self._endpoints[segment.name]:
                switch = self._switches.get(self._dpids.get(endpoint.host, 0))
                if switch is None or not switch.state.synced:
                    continue
                asked = self._asked.setdefault(switch.connection, {})
                port = switch.connection.ports.get(endpoint.port)
                new = port is not None and asked.get(endpoint.name) != port
                if port is None:
                    asked.pop(endpoint.name, None)
                elif new or again:
                    asked[endpoint.name] = port
                    for frame in queries(segment.gateway_mac, endpoint.tag, ANSWER_SOON if new else ANSWER_LATER):
                        _send(switch.connection, port, frame)

    # ---- hearing

    def answer_for(self, connection: Connection) -> Answer:
        """Hears what one switch's guests say."""

        def hear(data: bytes, begin: int, end: int) -> bytes:
            heard = packet_in(data[begin:end])
            if heard is not None and heard[0] in self._segments:
                self._hear(connection, self._segments[heard[0]], heard[1], heard[2])
            return b""

        return hear

    def _hear(self, connection: Connection, segment: Segment, port: int, frame: bytes) -> None:
        name = next((name for name, number in connection.ports.items() if number == port), "")
        here = self._here(connection, segment)
        endpoint = next((endpoint for endpoint in here if endpoint.port == name), None)
        now, changed = asyncio.get_running_loop().time(), False
        for one in said(frame):
            if endpoint is not None:
                changed |= self._members[segment.name].hear(endpoint, one, now)
            if isinstance(one, Query) and not one.general:
                self._hand_on(connection, segment, endpoint, untagged(frame))
        if changed:
            self._changed()

    def _hand_on(self, connection: Connection, segment: Segment, sender: Endpoint | None, frame: bytes) -> None:
        """A query of one group, to guests that no flow takes it to: of the wire to this host's, which each hears by itself; of a guest to
        other hosts'."""
        for dpid, switch in self._switches.items():
            if (dpid == connection.dpid) == (sender is None):
                for endpoint in self._here(switch.connection, segment):
                    if endpoint.port in switch.connection.ports:
                        tag = b"" if endpoint.tag is None else Struct("!HH").pack(0x8100, endpoint.tag)
                        _send(switch.connection, switch.connection.ports[endpoint.port], frame[:12] + tag + frame[12:])

    def _here(self, connection: Connection, segment: Segment) -> Iterator[Endpoint]:
        return (one for one in self._endpoints[segment.name] if self._dpids.get(one.host) == connection.dpid)


def _send(connection: Connection, port: int, frame: bytes) -> None:
    connection.write(wire.packet_out(connection.version, connection.xid(), CONTROLLER, port, frame))


def packet_in(message: bytes) -> tuple[int, int, bytes] | None:
    """Segment's number, port and frame of a packet-in from table `serve`; None for any other, and for what is malformed."""
    try:
        _, _, table, _, _, length = _HEAD.unpack_from(message)
    except StructError:
        return None
    match, begin = message[28 : 24 + length], 24 + (length + 7) // 8 * 8 + 2
    at, port = match.find(_SEGMENT), match.find(Struct("!I").pack(wire.IN_PORT_OXM))
    if table != SERVE.number or begin > len(message) or at < 0 or port < 0:
        return None
    segment = int.from_bytes(match[at + 4 : at + 8], "big") & SEGMENT.mask
    return segment, int.from_bytes(match[port + 4 : port + 8], "big"), message[begin:]
