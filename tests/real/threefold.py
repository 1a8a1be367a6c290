"""One table of cases, three ways: walked through the compiled flows, asked of the real switches by ofproto/trace, sent as packets."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import takewhile
from pathlib import Path
from typing import Any

from tests.real.labs import Lab
from tests.real.trace import packet_text, within
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.facts import facts
from weft.apps.flow import Flow, mac_number
from weft.apps.stations import Entry, Walk
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology.names import BASE_COOKIE
from weft.topology.server import default_target

SAYS = Path(__file__).with_name("says.py")


@dataclass(frozen=True, slots=True)
class Case:
    """Somebody says something over TCP or UDP to an address; `by` is who hears it, and `saw` as whom; None: nobody does."""

    source: str
    kind: str
    target: str
    port: int
    by: str | None
    saw: str = ""

    def __str__(self) -> str:
        return f"{self.source} {self.kind} {self.target} {self.port}"


def until(holds: Callable[[], bool], seconds: float = 15) -> bool:
    """Whether something comes true in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def walked(here: Lab) -> World:
    """The world as its hosts have reported it."""
    seen = look(default_target(here.fabric))
    known = facts(seen.states)
    return World(seen.fabric, Compiler().compile(seen.fabric, known), known)


def station(here: World, name: str) -> str:
    return name if name in here.stations else f"{name}.eth0"


def walk(here: World, case: Case) -> Walk | None:
    """How the case begins; None: the kernel of its source finds no way."""
    name, target = station(here, case.source), ip_address(case.target)
    found = here.next_hop(name, target)
    if found is None:
        return None
    return here.send(name, p.segment_of(case.kind, here.stations[name].mac, found[1], found[0], target, 40000, case.port))


def check_walk(here: World, case: Case) -> None:
    way = walk(here, case)
    taken = [d for d in way.delivered if d.packet["eth_dst"] == mac_number(d.station.mac)] if way else []
    heard = [(d.station.name, str((p.addresses(d.packet) or ("",))[0])) for d in taken if p.addresses(d.packet)[1] in d.station.own]  # type: ignore[index]
    if case.by is None:
        assert not [name for name, _ in heard if name in here.fabric.endpoints]
    else:
        assert heard == [(station(here, case.by), case.saw)]


def check_trace(lab: Lab, here: World, case: Case) -> None:
    """Wherever the packet comes into a switch, but by a tunnel or from an uplink, the real one meets the flows that were walked."""
    way = walk(here, case)
    entries = [entry for entry in (way.entries if way else ()) if not entry.place[1].startswith(("t.", "p."))]
    assert entries or case.by is None
    for entry in entries:
        known = met(entry)
        assert traced(lab, entry)[: len(known) if _asks_who_began(entry) else None] == known


def _asks_who_began(entry: Entry) -> bool:
    return any(hop.flow and _first(hop.flow) for hop in entry.hops)


def _first(flow: Flow) -> bool:
    """Matches what a connection's first packet had, which a trace does not know."""
    return any(term.field.startswith(("ct_nw_", "ct_ipv6_", "ct_tp_")) for term in flow.match)


def met(entry: Entry) -> list[int]:
    """Cookies of the flows, but for those that the switch wrote itself; as far as a trace can tell."""
    flows = [hop.flow for hop in entry.hops if hop.flow and hop.flow.why != ("learned",)]
    flows = list(takewhile(lambda flow: not _first(flow), flows))
    return [BASE_COOKIE if flow.why == ("agent",) else flow.cookie for flow in flows]


def traced(lab: Lab, entry: Entry) -> list[int]:
    switch, port = entry.place
    host, _, bridge = switch.partition("/")
    said = lab.ovs(host, "ovs-appctl", "ofproto/trace", bridge, packet_text(entry.packet, port), *("--ct-next", "trk,new") * 3)
    return within(said, bridge)


def check_sent(lab: Lab, case: Case) -> None:
    if case.by is None:
        assert "error" in say(lab, case.source, case.kind, case.target, case.port)
        return
    assert until(lambda: said(lab, case) == (case.by, case.saw), 10), say(lab, case.source, case.kind, case.target, case.port)


def said(lab: Lab, case: Case) -> tuple[Any, Any]:
    answer = say(lab, case.source, case.kind, case.target, case.port)
    return answer.get("by"), answer.get("saw")


def say(lab: Lab, name: str, kind: str, target: str, port: int, **more: object) -> dict[str, Any]:
    """What comes back, the last of it."""
    heard: dict[str, Any] = json.loads(asking(lab, name, kind, target, port, **more).communicate(timeout=30)[0].splitlines()[-1])
    return heard


def asking(lab: Lab, name: str, kind: str, target: str, port: int, **more: object) -> subprocess.Popen[str]:
    options = [f"{key}={value}" for key, value in more.items()]
    return lab.start(name, sys.executable, str(SAYS), "ask", kind, target, str(port), *options)


@contextmanager
def serving(lab: Lab, ports: dict[str, tuple[int, ...]]) -> Iterator[None]:
    """Somebody listens on these ports, by name."""
    running = [lab.start(name, sys.executable, str(SAYS), "serve", name, *map(str, numbers)) for name, numbers in ports.items()]
    try:
        for name, numbers in ports.items():
            assert until(lambda name=name, numbers=numbers: listens(lab, name, numbers))  # type: ignore[misc]
        yield
    finally:
        for each in running:
            each.kill()
            each.communicate()


def listens(lab: Lab, name: str, ports: tuple[int, ...]) -> bool:
    there = lab.exec(name, "ss", "-Hltn").stdout
    return all(there.count(f":{port} ") >= 2 for port in ports)
