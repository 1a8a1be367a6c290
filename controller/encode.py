"""Flows, groups and meters as one switch is told them, and as it tells them back."""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from weft.apps.flow import Bucket, Flow, Group, Meter, Port
from weft.controller import wire
from weft.controller.actions import action_list, instructions, named, present
from weft.controller.oxm import match_bytes
from weft.controller.ports import Numbers

Key = tuple[int, int, bytes]
"""What makes a flow this flow on a switch: table, priority, OXMs of its match."""


class Entry(NamedTuple):
    """One flow of one switch: cookie and instructions, as sent and as read back."""

    cookie: int
    instructions: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """One flow of a dump."""

    key: Key
    entry: Entry
    seconds: int
    packets: int


def encode(flow: Flow, numbers: Numbers) -> tuple[Key, Entry] | None:
    """The flow with this switch's port numbers; None while its match names a port that the switch does not have."""
    matched = match_bytes(flow.match, numbers)
    if matched is None:
        return None
    return (flow.table, flow.priority, matched), Entry(flow.cookie, instructions(present(flow.actions, numbers)))


def names(flow: Flow) -> set[str]:
    """The ports that `flow` speaks of."""
    return {term.value.name for term in flow.match if isinstance(term.value, Port)} | set(named(flow.actions))


def seen(body: bytes) -> Iterator[Seen]:
    """The flows of one part of a flow dump. Raises Malformed, struct.error."""
    at = 0
    while at < len(body):
        length, table, seconds, priority, cookie, packets, matched = wire.FLOW_STATS.unpack_from(body, at)
        end = at + length
        begin = at + 52
        rest = at + 48 + (matched + 7) // 8 * 8
        if length < 56 or matched < 4 or rest > end or end > len(body):
            raise wire.Malformed("a flow that lies about its length")
        yield Seen((table, priority, body[begin : begin + matched - 4]), Entry(cookie, body[rest:end]), seconds, packets)
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
        length, _, number = Struct("!HHI").unpack_from(body, at)
        if length < 8 or at + length > len(body):
            raise wire.Malformed("a meter that lies about its length")
        yield number, body[at + 2 : at + length]
        at += length
