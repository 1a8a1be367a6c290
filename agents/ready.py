"""When is a fabric what it should be: every endpoint wired, every switch with its flows."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from weft.topology.model import Endpoint, Fabric
from weft.topology.ovsdb import Row
from weft.topology.replica import Replica
from weft.topology.server import DATABASE
from weft.topology.store import WATCHES, Snapshot, snapshot

GIVE_UP = 5.0
"""Seconds after which what failed, when nothing else is waited for, is taken as final."""


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is not ready: an endpoint, an uplink or a switch."""

    about: str
    state: str
    reason: str

    def __str__(self) -> str:
        return f"{self.about} {self.state}: {self.reason}" if self.reason else f"{self.about} {self.state}"


def lacks(fabric: Fabric, seen: Snapshot) -> list[Lack]:
    """What is not ready, in the order of the file."""
    return [*_endpoints(fabric, seen), *_uplinks(fabric, seen), *_services(fabric, seen), *_switches(fabric, seen)]


def awaited(fabric: Fabric) -> list[Endpoint]:
    """The endpoints that are wired by weft alone: a guest of libvirt is started by its owner, or not."""
    return [endpoint for endpoint in fabric.endpoints.values() if endpoint.attach != "libvirt"]


def _endpoints(fabric: Fabric, seen: Snapshot) -> Iterator[Lack]:
    for endpoint in awaited(fabric):
        yield from _object(seen, endpoint.host, endpoint.row, endpoint.name)


def _uplinks(fabric: Fabric, seen: Snapshot) -> Iterator[Lack]:
    for host in fabric.hosts.values():
        for name in host.uplinks:
            yield from _object(seen, host.name, f"uplink/{name}", f"{host.name} {name}")


def _services(fabric: Fabric, seen: Snapshot) -> Iterator[Lack]:
    """DHCP, router advertisements and DNS of the segments that have them, on each host that serves them."""
    places = {(endpoint.host, endpoint.segment) for endpoint in fabric.endpoints.values()}
    for host in fabric.hosts.values():
        for segment in fabric.segments.values():
            if segment.answers and ((host.name, segment.name) in places or segment.routed_on(host)):
                yield from _object(seen, host.name, f"service/{segment.name}", f"{host.name} services of {segment.name}")


def _object(seen: Snapshot, host: str, key: str, about: str) -> Iterator[Lack]:
    text = seen.states.get(host, {}).get(key)
    said: Mapping[str, str] = json.loads(text) if text else {"state": "waiting", "reason": f"the agent of {host} has not reported it"}
    if said["state"] != "wired":
        yield Lack(about, said["state"], said.get("reason", ""))


def _switches(fabric: Fabric, seen: Snapshot) -> Iterator[Lack]:
    serial = seen.intent.serial if seen.intent else 0
    for host in fabric.hosts.values():
        bridges = {host.bridge: host.dpid} | {uplink.bridge: uplink.dpid for uplink in host.uplinks.values()}
        for bridge, dpid in bridges.items():
            row: Row = seen.switches.get(f"{dpid:016x}", {})
            if not row.get("connected"):
                yield Lack(f"{host.name} {bridge}", "waiting", "the controller has not seen it")
            elif row["synced_serial"] < serial:
                yield Lack(f"{host.name} {bridge}", "waiting", "it does not have its flows yet")


async def wait(store: str, fabric: Fabric, seconds: float, say: Callable[[list[Lack]], None]) -> list[Lack]:
    """Returns when nothing is lacking, or what still is after `seconds`; sooner where only failures are left."""
    woken = asyncio.Event()
    watches = {table: watch for table, watch in WATCHES.items() if table != "Object"}
    replica = Replica(store, DATABASE, watches, lambda changes: woken.set())
    await replica.start(seconds)
    deadline = time.monotonic() + seconds
    failing = time.monotonic()
    try:
        while left := lacks(fabric, snapshot({"Object": {}, **replica.tables})):
            say(left)
            now = time.monotonic()
            if any(lack.state != "failed" for lack in left):
                failing = now
            if now >= deadline or now - failing >= GIVE_UP:
                return left
            woken.clear()
            try:
                await asyncio.wait_for(woken.wait(), 0.5)
            except TimeoutError:
                continue
        return []
    finally:
        await replica.stop()
