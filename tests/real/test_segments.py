"""Segments and what lies between them: each line of the tables walked in memory, asked of a real switch, and sent over real wires."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apps import test_cables, test_private, test_routing, test_spoofing
from tests.cases import Case, ends
from tests.real.frames import Jack, encode, heard, marker, outer_tag, sockets
from tests.real.labs import Lab, lab, weft
from tests.real.test_trace import once, within
from weft.apps.compile import Compiler
from weft.apps.facts import facts
from weft.apps.flow import Ct
from weft.apps.pipeline import VLAN_PRESENT
from weft.apps.stations import Walk
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology import names
from weft.topology.server import default_target

pytestmark = pytest.mark.real

TABLES = {
    "shp-a": (test_routing.JOINED, test_routing.CASES),
    "shp-b": (test_private.KINDS, test_private.CASES),
    "shp-c": (test_spoofing.SENDERS, test_spoofing.CASES),
    "shp-d": (test_cables.CABLES, test_cables.CASES),
}
LINES = [pytest.param(name, case, id=case.says) for name, (_, cases) in TABLES.items() for case in cases]


@dataclass
class Stage:
    """A lab that is up, the walk of the very same fabric, and who heard which packet of its table."""

    lab: Lab
    make: Callable[[], World]
    heard: dict[str, set[Jack]]

    @property
    def walked(self) -> World:
        """One that has not seen a packet yet."""
        return self.make()


Stages = Callable[[str], Stage]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """The stage of a table, made when it is first asked for."""
    made: dict[str, Stage] = {}
    with ExitStack() as stack:

        def stage(name: str) -> Stage:
            if name not in made:
                made[name] = stack.enter_context(_stage(name, tmp_path_factory.mktemp(name)))
            return made[name]

        yield stage


@contextmanager
def _stage(name: str, folder: Path) -> Iterator[Stage]:
    text, cases = TABLES[name]
    file = folder / "segments.yaml"
    file.write_text(text.replace("fabric: test", f"fabric: {name}").replace("[nic0]", "[ens224]"))
    with lab(file, name) as here:
        seen = look(default_target(name))
        known = facts(seen.states)
        programs = Compiler().compile(seen.fabric, known)

        def walked() -> World:
            return World(seen.fabric, programs, known)

        yield Stage(here, walked, sent(walked(), cases))


def sent(here: World, cases: tuple[Case, ...]) -> dict[str, set[Jack]]:
    """By case: where it was heard. All are sent at once."""
    stations = [name for name in here.stations if name in here.fabric.endpoints or _is_served(here, name)]
    frames = {case.says: (jack(here, case.sender), frame(here, case)) for case in cases}
    with sockets(jack(here, name) for name in stations) as opened:
        return {says: set(places) for says, places in heard(opened, frames, {case.says: wanted(here, case) for case in cases}).items()}


def wanted(here: World, case: Case) -> set[Jack]:
    """Where it should be heard, and behind which tag."""
    own = case.packet(here)["vlan_vid"] & 0xFFF
    return {where._replace(tag=where.tag or own) for where in (jack(here, name) for name in case.to)}


def _is_served(here: World, station: str) -> bool:
    segment, at, host = station.partition("@")
    return bool(at) and any(endpoint.host == host for endpoint in here.fabric.members(segment))


def jack(here: World, station: str) -> Jack:
    """Where a station of the walk is in the lab."""
    fabric = here.fabric
    segment, at, host = station.partition("@")
    if at:
        return Jack(names.service_namespace(fabric.name, host), names.service_port(segment))
    endpoint = fabric.endpoints[station]
    inside = endpoint.port if endpoint.attach == "host" else endpoint.nic
    return Jack(names.namespace(fabric.name, endpoint.guest), inside, endpoint.tag or 0)


def frame(here: World, case: Case) -> bytes:
    """The packet as its sender puts it on its cable."""
    tag = here.stations[case.sender].tag
    return encode({**case.packet(here), **({} if tag is None else {"vlan_vid": VLAN_PRESENT | tag})}, marker(case.says))


@pytest.mark.parametrize(("name", "case"), LINES)
def test_it_is_walked_so(stages: Stages, name: str, case: Case) -> None:
    here = stages(name).walked
    assert sorted(ends(here, here.send(case.sender, case.packet(here)))) == sorted(case.to)


@pytest.mark.parametrize(("name", "case"), LINES)
def test_a_real_switch_meets_the_flows_that_the_walk_met(stages: Stages, name: str, case: Case) -> None:
    stage, walked = stages(name), stages(name).walked
    switch, port = walked.stations[case.sender].place
    host, _, bridge = switch.partition("/")
    packet = case.packet(walked)
    traced = stage.lab.ovs(host, "ovs-appctl", "ofproto/trace", bridge, f"in_port={port}", frame(walked, case).hex())
    walk = walked.send(case.sender, packet)
    met, meets = once(walk, switch), within(traced, bridge)
    assert meets[: tracked(walk, switch)] == met[: tracked(walk, switch)]


def tracked(walk: Walk, switch: str) -> int | None:
    """After how many flows a switch asks its conntrack, which trace cannot; None: it does not."""
    hops = [hop for hop in walk.hops if hop.switch == switch and hop.flow]
    asking = (number for number, hop in enumerate(hops, 1) if hop.flow and any(isinstance(a, Ct) for a in hop.flow.actions))
    return next(asking, None)


@pytest.mark.parametrize(("name", "case"), LINES)
def test_a_real_packet_goes_there(stages: Stages, name: str, case: Case) -> None:
    stage = stages(name)
    assert stage.heard[case.says] == wanted(stage.walked, case)


@pytest.mark.parametrize("name", TABLES)
def test_every_ping_among_guests_is_answered_that_should_be_and_no_other(stages: Stages, name: str) -> None:
    rows = json.loads(weft("lab", "ping", name, "--json").stdout)
    among = [row for row in rows if "outside" not in (row["from"], row["to"])]
    assert len(among) > 20
    assert [row for row in among if row["expected"] != row["answered"]] == []


def test_the_way_to_a_guest_of_another_segment_leads_over_the_gateway(stages: Stages) -> None:
    said = stages("shp-a").lab.exec("branch1", "traceroute", "-n", "-q", "1", "-w", "2", "192.168.3.11").stdout
    hops = [line.split()[1] for line in said.splitlines()[1:]]
    assert hops == ["192.168.2.1", "192.168.3.11"]


def test_a_guests_tag_travels_inside_an_802_1ad_tag_on_the_wire(stages: Stages) -> None:
    here = stages("shp-d").walked
    case = next(case for case in test_cables.QINQ if "another host" in case.says)
    sender, wire = jack(here, case.sender), Jack(names.namespace("shp-d", "kvm2"), "ens224")
    with sockets((sender, wire)) as opened:
        opened[sender].send(encode(case.packet(here), marker("on the wire")))
        assert outer_tag(opened[wire], marker("on the wire")) == (0x88A8, here.fabric.segments["metro"].vlan)
