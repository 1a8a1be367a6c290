"""Segments and what lies between them: each line of the tables walked in memory, asked of a real switch, and sent over real wires."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.test_routing import CASES as ROUTING
from tests.apps.test_routing import JOINED
from tests.real.frames import Jack, encode, heard, marker, sockets
from tests.real.labs import Lab, lab, weft
from tests.real.test_trace import once, within
from weft.apps.compile import Compiler
from weft.apps.facts import facts
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology import names
from weft.topology.server import default_target

pytestmark = pytest.mark.real

CASES = {case.says: case for case in ROUTING}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("segments") / "segments.yaml"
    file.write_text(JOINED.replace("fabric: test", "fabric: shp-a").replace("[nic0]", "[ens224]"))
    with lab(file, "shp-a") as here:
        yield here


@pytest.fixture(scope="module")
def walked(real: Lab) -> World:
    seen = look(default_target(real.fabric))
    known = facts(seen.states)
    return World(seen.fabric, Compiler().compile(seen.fabric, known), known)


def jack(here: World, station: str) -> Jack:
    """Where a station of the walk is in the lab."""
    fabric = here.fabric
    segment, at, host = station.partition("@")
    if at:
        return Jack(names.service_namespace(fabric.name, host), names.service_port(segment))
    endpoint = fabric.endpoints[station]
    return Jack(names.namespace(fabric.name, endpoint.guest), endpoint.nic)


@pytest.fixture(scope="module")
def sent(walked: World) -> dict[str, set[str]]:
    """By case: who heard it. All are sent at once."""
    stations = [name for name in walked.stations if name in walked.fabric.endpoints or ("@" in name and _served(walked, name))]
    at = {jack(walked, name): name for name in stations}
    frames = {says: (jack(walked, case.sender), encode(case.packet(walked), marker(says))) for says, case in CASES.items()}
    wanted = {says: {jack(walked, name) for name in case.to} for says, case in CASES.items()}
    with sockets(at) as opened:
        return {says: {at[place] for place in places} for says, places in heard(opened, frames, wanted).items()}


def _served(here: World, station: str) -> bool:
    segment, _, host = station.partition("@")
    return any(endpoint.host == host for endpoint in here.fabric.members(segment))


@pytest.mark.parametrize("says", CASES)
def test_it_is_walked_so(walked: World, says: str) -> None:
    case = CASES[says]
    assert set(walked.send(case.sender, case.packet(walked)).to) == set(case.to)


@pytest.mark.parametrize("says", CASES)
def test_a_real_switch_meets_the_flows_that_the_walk_met(real: Lab, walked: World, says: str) -> None:
    case = CASES[says]
    station = walked.stations[case.sender]
    switch, port = station.place
    host, _, bridge = switch.partition("/")
    packet = case.packet(walked)
    traced = real.ovs(host, "ovs-appctl", "ofproto/trace", bridge, f"in_port={port}", encode(packet, marker(says)).hex())
    assert within(traced, bridge) == once(walked.send(case.sender, packet), switch)


@pytest.mark.parametrize("says", CASES)
def test_a_real_packet_goes_there(sent: dict[str, set[str]], says: str) -> None:
    assert sent[says] == set(CASES[says].to)


def test_every_ping_among_guests_is_answered_that_should_be_and_no_other(real: Lab) -> None:
    rows = json.loads(weft("lab", "ping", real.fabric, "--json").stdout)
    among = [row for row in rows if "outside" not in (row["from"], row["to"])]
    assert len(among) > 100
    assert [row for row in among if row["expected"] != row["answered"]] == []


def test_the_way_to_a_guest_of_another_segment_leads_over_the_gateway(real: Lab) -> None:
    said = real.exec("branch1", "traceroute", "-n", "-q", "1", "-w", "2", "192.168.3.11").stdout
    hops = [line.split()[1] for line in said.splitlines()[1:]]
    assert hops == ["192.168.2.1", "192.168.3.11"]
