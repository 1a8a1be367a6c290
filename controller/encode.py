"""Flows, groups and meters as one switch is told them, and as it tells them back."""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from weft.apps.flow import Action, Bucket, Flow, Group, Meter, Port
from weft.controller import wire
from weft.controller.actions import action_list, instructions, named, present
from weft.controller.oxm import match_bytes
from weft.controller.ports import Numbers

Key = tuple[int, int, bytes]
"""What makes a flow this flow on a switch: table, priority, OXMs of its match."""


Entry = tuple[int, bytes]
"""Cookie and instructions of one flow of one switch, as sent and as read back."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One flow of a dump."""

    key: Key
    entry: Entry
    seconds: int
    packets: int


class Encoder:
    """Encodes flows with the port numbers of one switch. `numbers` is its live map; `forget` when it changed."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._known: dict[tuple[Action, ...], tuple[bytes, tuple[str, ...]]] = {}
        self._names: set[str] = set()

    def forget(self) -> None:
        self._known.clear()

    def spoken(self) -> frozenset[str]:
        """The ports that were named since the last call."""
        spoken = frozenset(self._names)
        self._names.clear()
        return spoken

    def __call__(self, flow: Flow) -> tuple[Key, Entry] | None:
        """None while the match names a port that the switch does not have."""
        actions = flow.actions
        known = self._known.get(actions)
        if known is None:
            encoded = instructions(present(actions, self._numbers))
            known = self._known[actions] = (encoded, tuple(named(actions)))
        if known[1]:
            self._names.update(known[1])
        matched = match_bytes(flow.match, self._numbers, self._names)
        if matched is None:
            return None
        return (flow.table, flow.priority, matched), (flow.cookie, known[0])


def encode(flow: Flow, numbers: Numbers) -> tuple[Key, Entry] | None:
    """One flow on its own."""
    return Encoder(numbers)(flow)


def names(flow: Flow) -> list[str]:
    """The ports that `flow` speaks of."""
    found = [value.name for _, value, _ in flow.match if isinstance(value, Port)]
    found.extend(named(flow.actions))
    return found


def seen(body: bytes) -> Iterator[Seen]:
    """The flows of one part of a flow dump. Raises Malformed."""
    at = 0
    while at < len(body):
        if len(body) - at < 56:
            raise wire.Malformed("half a flow")
        length, table, seconds, priority, cookie, packets, matched = wire.FLOW_STATS.unpack_from(body, at)
        end = at + length
        begin = at + 52
        rest = at + 48 + (matched + 7) // 8 * 8
        if length < 56 or matched < 4 or rest > end or end > len(body):
            raise wire.Malformed("a flow that lies about its length")
        yield Seen((table, priority, body[begin : begin + matched - 4]), (cookie, body[rest:end]), seconds, packets)
        at = end


GROUP_KINDS = {"all": 0, "select": 1, "indirect": 2, "fast_failover": 3}


def group_body(group: Group, numbers: Numbers) -> bytes:
    """Kind, number and buckets: what a GROUP_MOD says after its command, and what a group description gives back."""
    buckets = b"".join(_bucket(bucket, group.kind, numbers) for bucket in group.buckets)
    return Struct("!BxI").pack(GROUP_KINDS[group.kind], group.number) + buckets


def _bucket(bucket: Bucket, kind: str, numbers: Numbers) -> bytes:
    actions = action_list(present(bucket.actions, numbers))
    watch: int | None = wire.ANY_PORT
    if bucket.watch_port is not None:
        watch = numbers.get(bucket.watch_port.name) if isinstance(bucket.watch_port, Port) else bucket.watch_port
    if watch is None:  # its port is not there, so it is down: never chosen
        return b""
    weight = bucket.weight if kind == "select" else 0
    return Struct("!HHII4x").pack(16 + len(actions), weight, watch, wire.ANY_GROUP) + actions


def group_mod(version: int, xid: int, command: int, body: bytes) -> bytes:
    return wire.message(version, wire.GROUP_MOD, xid, Struct("!H").pack(command) + body)


def group_delete(version: int, xid: int, number: int) -> bytes:
    return group_mod(version, xid, 2, Struct("!BxI").pack(0, number))


def groups_seen(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and body of every group in one part of a group description."""
    at = 0
    while at < len(body):
        if len(body) - at < 8:
            raise wire.Malformed("half a group")
        length, _, number = Struct("!HBxI").unpack_from(body, at)
        if length < 8 or at + length > len(body):
            raise wire.Malformed("a group that lies about its length")
        yield number, body[at + 2 : at + length]
        at += length


_KBPS, _PKTPS, _BURST = 1, 2, 4


def meter_body(meter: Meter) -> bytes:
    """Flags, number and the one band that drops: what a METER_MOD says after its command. No burst means one second's worth."""
    flags = (_PKTPS if meter.packets else _KBPS) | (_BURST if meter.burst else 0)
    return Struct("!HIHHII4x").pack(flags, meter.number, 1, 16, meter.rate, meter.burst or meter.rate)


def meter_mod(version: int, xid: int, command: int, body: bytes) -> bytes:
    return wire.message(version, wire.METER_MOD, xid, Struct("!H").pack(command) + body)


def meter_delete(version: int, xid: int, number: int) -> bytes:
    return meter_mod(version, xid, 2, Struct("!HI").pack(0, number))


def meters_seen(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and body of every meter in one part of a meter configuration."""
    at = 0
    while at < len(body):
        if len(body) - at < 8:
            raise wire.Malformed("half a meter")
        length, _, number = Struct("!HHI").unpack_from(body, at)
        if length < 8 or at + length > len(body):
            raise wire.Malformed("a meter that lies about its length")
        yield number, body[at + 2 : at + length]
        at += length
