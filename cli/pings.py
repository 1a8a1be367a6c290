"""The table of `weft lab ping`: who should reach whom, and who does."""

from collections.abc import Iterator
from dataclasses import dataclass

from weft.agents import wires
from weft.agents.pings import Ping, answered
from weft.apps.compile import Compiler
from weft.apps.facts import Facts
from weft.apps.world import World
from weft.cli.tables import Row, show
from weft.topology import names
from weft.topology.model import Endpoint, Fabric
from weft.topology.terms import Address

OUTSIDE = wires.OUTSIDE
SECONDS = 1.0
ROUNDS = 3
"""Rounds for those that should answer and did not: the first packet between two may be what makes a switch learn."""
MOST = 100
"""Rows of a table for people; of more only those that are not as expected are shown."""

YES = {True: "yes", False: "no"}
"""In words: a table leaves a column out where it is false in every row."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One ping of the table; `target` is an endpoint, or None for outside."""

    source: str
    target: Endpoint | None
    address: Address

    @property
    def to(self) -> str:
        return self.target.name if self.target else OUTSIDE


def show_pings(fabric: Fabric, facts: Facts, as_json: bool) -> bool:
    """Pings, prints, and says whether every answer was the expected one."""
    pairs = list(_pairs(fabric))
    world = World(fabric, Compiler().compile(fabric, facts), facts)
    should = {pair: expected(world, pair) for pair in pairs}
    does = _answers(fabric, pairs, should)
    rows: list[Row] = [
        {"from": p.source, "to": p.to, "address": str(p.address), "expected": should[p], "answered": p in does} for p in pairs
    ]
    wrong = [row for row in rows if row["expected"] != row["answered"]]
    if as_json:
        show(rows, as_json)
    else:
        shown = rows if len(rows) <= MOST else wrong
        show([{**row, "expected": YES[row["expected"]], "answered": YES[row["answered"]]} for row in shown], as_json, "")
        print(f"{len(rows)} pings, {len(wrong)} not as expected")
    return not wrong


def expected(world: World, pair: Pair) -> bool:
    """Whether this ping is answered when it is walked through the compiled flows, sent as the guest's kernel would send it."""
    guest = world.fabric.guests.get(pair.source)
    stations = [world.stations[endpoint.name] for endpoint in guest.endpoints if endpoint.tag is None] if guest else [world.stations[OUTSIDE]]
    on_link = [station for station in stations if any(pair.address in own.network for own in station.addresses)]
    sender = next(iter(on_link or [station for station in stations if station.gateways or station.routes]), None)
    return sender is not None and world.pings(sender.name, pair.address)


def _pairs(fabric: Fabric) -> Iterator[Pair]:
    inside = [guest for guest in fabric.guests.values() if any(e.attach == "netns" for e in guest.endpoints)]
    targets = [(e, address.ip) for guest in inside for e in guest.endpoints if e.tag is None for address in e.addresses]
    for guest in inside:
        yield from (Pair(guest.name, e, address) for e, address in targets if e.guest != guest.name)
        yield Pair(guest.name, None, wires.gateway(fabric))
        if any(address.version == 6 for endpoint in guest.endpoints for address in endpoint.addresses):
            yield Pair(guest.name, None, wires.gateway6(fabric))
    yield from (Pair(OUTSIDE, e, address) for e, address in targets)


def _answers(fabric: Fabric, pairs: list[Pair], should: dict[Pair, bool]) -> set[Pair]:
    does: set[Pair] = set()
    asked = pairs
    for _ in range(ROUNDS):
        pings = {pair: Ping(names.namespace(fabric.name, pair.source), pair.address) for pair in asked}
        heard = answered(pings.values(), SECONDS)
        does |= {pair for pair, ping in pings.items() if ping in heard}
        asked = [pair for pair in pairs if should[pair] and pair not in does]
        if not asked:
            break
    return does
