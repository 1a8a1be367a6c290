"""Rules and policies between segments that are joined by routing: walked, and sent."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.apps.test_policies import ROUTED, packet, station
from tests.real.labs import Lab, lab
from tests.real.test_policies import BRIEF, PATIENT, SERVE, asks, end
from weft.apps.compile import Compiler
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology.server import default_target

pytestmark = pytest.mark.real

POLICIES = [
    "name: in, allow: tcp/80, from: bra1, to: office",
    "name: apart, deny: tcp/81, from: any, to: other",
]
CASES = [
    ("off1", "bra1", "tcp", 80, True),
    ("off1", "bra2", "tcp", 80, True),
    ("off2", "bra1", "udp", 53, True),
    ("bra1", "off1", "tcp", 80, True),
    ("bra1", "off2", "tcp", 80, True),
    ("bra1", "off2", "tcp", 81, False),
    ("bra2", "off1", "tcp", 80, False),
    ("bra2", "off2", "udp", 53, False),
    ("lab1", "off1", "tcp", 80, False),
    ("bra2", "oth1", "tcp", 80, True),
    ("bra2", "oth1", "tcp", 81, False),
    ("off1", "off2", "tcp", 81, True),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("polr") / "polr.yaml"
    text = ROUTED.replace("fabric: test", "fabric: polr").replace("[nic0]", "[ens224]")
    file.write_text(text + "policies:\n" + "".join(f"  - {{{policy}}}\n" for policy in POLICIES))
    with lab(file, "polr") as here, ExitStack() as stack:
        for guest in ("off1", "off2", "lab1", "bra1", "bra2", "oth1"):
            serving = here.start(guest, "python3", "-c", SERVE)
            stack.callback(end, serving)
            assert serving.stdout is not None and serving.stdout.readline() == "ready\n"
        yield here


@pytest.mark.parametrize(("source", "target", "kind", "port", "arrives"), CASES)
def test_who_may_speak_to_whom_in_another_segment(real: Lab, source: str, target: str, kind: str, port: int, arrives: bool) -> None:
    seen = look(default_target(real.fabric))
    walked = World(seen.fabric, Compiler().compile(seen.fabric, seen.facts), seen.facts)
    walk = walked.send(station(source), packet(walked, source, target, 40000, port, kind))
    assert (station(target) in walk.to) == arrives
    assert asks(real, walked, source, target, kind, port, PATIENT if arrives else BRIEF) == arrives
