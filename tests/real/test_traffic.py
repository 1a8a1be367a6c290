"""Mirrors, limits, marks, collectors and watched tunnels on real switches with real packets: the table of `tests.traffic`, and more."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.real.collect import Collector, Flow, ipfix, netflow, sflow
from tests.real.labs import Lab, lab, weft
from tests.real.taps import Taps, frame_of
from tests.real.test_trace import once
from tests.real.trace import cookies, packet_text
from tests.traffic import CASES, TRAFFIC, Case, packet
from weft.apps.compile import Compiler
from weft.apps.facts import facts
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology.server import default_target

pytestmark = pytest.mark.real

SPORTS = count(41000)
MONITOR = 'monitor: {sflow: "203.0.113.1:6343", netflow: "203.0.113.1:2055", ipfix: "203.0.113.1:4739", sampling: 8}\n'
FLOW = re.compile(r"( *)\d+\. ")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("trf") / "trf.yaml"
    file.write_text(TRAFFIC.replace("fabric: test", "fabric: trf") + MONITOR)
    with lab(file, "trf") as here:
        yield here


@pytest.fixture
def walked(real: Lab) -> World:
    seen = look(default_target(real.fabric))
    known = facts(seen.states)
    return World(seen.fabric, Compiler().compile(seen.fabric, known), known)


@pytest.fixture(scope="module")
def taps(real: Lab) -> Iterator[Taps]:
    taps = Taps(9999)
    for endpoint in look(default_target(real.fabric)).fabric.endpoints.values():
        taps.open(endpoint.name, f"weft.{real.fabric}.{endpoint.guest}", "eth0")
    taps.open("wire", f"weft.{real.fabric}.wires", "kvm1.ens224")
    yield taps
    taps.close()


@pytest.mark.parametrize("name", CASES)
def test_a_real_switch_meets_the_flows_that_the_walk_met(real: Lab, walked: World, name: str) -> None:
    case = CASES[name]
    sent = packet(walked, case)
    endpoint = walked.fabric.endpoints[case.sender]
    host = walked.fabric.hosts[endpoint.host]
    traced = real.ovs(host.name, "ovs-appctl", "ofproto/trace", host.bridge, packet_text(sent, endpoint.port))
    assert met(traced, host.bridge) == once(walked.send(case.sender, sent), f"{host.name}/{host.bridge}")


def met(trace: str, bridge: str) -> list[int]:
    """The cookies of the flows met on one bridge: a packet comes back from another where the lines are less far in again."""
    found: list[int] = []
    inside: list[tuple[int, str]] = []
    for line in trace.splitlines():
        text = line.lstrip()
        if text.startswith("bridge("):
            inside.append((len(line) - len(text), text.split('"')[1]))
        elif flow := FLOW.match(line):
            while len(inside) > 1 and len(flow[1]) < inside[-1][0]:
                inside.pop()
            found += cookies(line) if inside[-1][1] == bridge else []
    return found


@pytest.mark.parametrize("name", CASES)
def test_everybody_gets_the_packet_once_and_marked_as_the_file_says(walked: World, taps: Taps, name: str) -> None:
    case, sport = CASES[name], next(SPORTS)
    taps.send(case.sender, frame_of({**packet(walked, case), "udp_src": sport}))
    wanted = Counter({(endpoint, 0, dscp): 1 for endpoint, dscp in case.gets.items()})
    heard = [one for one in taps.hear(sport, lambda heard: len(heard) >= len(case.gets) + case.wire) if one.tap != "wire" or one.vlan == 900]
    assert Counter((one.tap, one.vlan, one.dscp) for one in heard if one.tap != "wire") == wanted
    assert sum(one.tap == "wire" for one in heard) == case.wire


def burst(taps: Taps, walked: World, case: Case, frames: int) -> Counter[str]:
    """How many of so many full frames, sent as fast as they are read, come to whom."""
    sport = next(SPORTS)
    frame = frame_of({**packet(walked, case), "udp_src": sport}, bytes(1350))
    heard = []
    for number in range(1, frames + 1):
        taps.send(case.sender, frame)
        if number % 20 == 0:
            heard += taps.hear(sport, lambda heard: True)
    heard += taps.hear(sport, lambda heard: False, 0.5)
    return Counter(one.tap for one in heard if one.tap != "wire")


@pytest.mark.parametrize(
    ("free", "limited"),
    [
        (Case("b.eth0", "a.eth0", {}), Case("b.eth0", "slow.eth0", {})),
        (Case("b.eth0", "c.eth0", {}), Case("slow.eth0", "c.eth0", {})),
    ],
    ids=["in", "out"],
)
def test_a_limit_lets_less_through_than_none(taps: Taps, walked: World, free: Case, limited: Case) -> None:
    freely = burst(taps, walked, free, 200)[free.target]
    slowly = burst(taps, walked, limited, 200)[limited.target]
    assert freely > 150
    assert 0 < slowly < freely / 2


def test_a_meter_that_drops_its_copy_of_a_flood_drops_no_other(taps: Taps, walked: World) -> None:
    got = burst(taps, walked, Case("a.eth0", "all", {}), 200)
    others = {name: got[name] for name in ("b.eth0", "c.eth0", "ids1.eth0", "ids2.eth0")}
    assert min(others.values()) > 150
    assert max(got["slow.eth0"], got["slower.eth0"]) < min(others.values()) / 2
    assert max(others.values()) <= 200


def test_a_full_frame_reaches_its_receiver_whole_and_is_cut_where_its_copy_does_not_fit(taps: Taps, walked: World) -> None:
    case, sport = CASES["a bridged guest, copied through the overlay"], next(SPORTS)
    taps.send(case.sender, frame_of({**packet(walked, case), "udp_src": sport}, bytes(1500 - 28)))
    heard = {one.tap: one.octets for one in taps.hear(sport, lambda heard: len(heard) >= 2) if one.tap != "wire"}
    assert heard == {"lan2.eth0": 1514, "ids3.eth0": 1442 + 14}


@pytest.mark.parametrize("kind", ["sflow", "netflow", "ipfix"])
def test_a_collector_is_told_of_a_conversation(real: Lab, taps: Taps, walked: World, kind: str) -> None:
    port, decode = {"sflow": (6343, sflow), "netflow": (2055, netflow), "ipfix": (4739, ipfix({}))}[kind]
    collector = Collector(f"weft.{real.fabric}.outside", port, decode)
    if kind == "ipfix":  # it says every ten minutes what its records hold
        again(real, lambda text: re.sub(r'ipfix: "[^"]*", ', "", text))
        again(real, str)
    sent = frame_of({**packet(walked, CASES["a conversation that it has no part in"]), "udp_src": 5555, "udp_dst": 7777})
    try:
        assert any(talk(taps, sent) or collector.hears(Flow("10.0.9.12", "10.0.9.13", 5555, 7777), 1) for _ in range(40))
    finally:
        collector.close()


def again(real: Lab, change: Callable[[str], str]) -> None:
    """Applies the lab's file, changed."""
    file = real.file.with_name("changed.yaml")
    file.write_text(change(real.file.read_text()))
    real.run("apply", file, "--store", default_target(real.fabric))


def talk(taps: Taps, frame: bytes) -> None:
    """More than are sampled one of."""
    for _ in range(20):
        taps.send("b.eth0", frame)


def links(real: Lab) -> dict[str, tuple[str, str]]:
    return {row["port"].partition("/")[2]: (row["state"], row["reason"]) for row in real.show("links") if row["kind"] != "uplink"}


def until_links(real: Lab, state: str) -> dict[str, tuple[str, str]]:
    for _ in range(60):
        seen = links(real)
        if seen and {each for each, _ in seen.values()} == {state}:
            return seen
        time.sleep(0.5)
    raise AssertionError(seen)


def test_a_tunnel_whose_cable_is_pulled_is_down_until_it_is_back(real: Lab) -> None:
    until_links(real, "up")
    real.run("lab", "fail", "link", "kvm2", "--fabric", real.fabric)
    down = until_links(real, "down")
    assert all("bfd down" in reason for _, reason in down.values())
    real.run("lab", "heal", "link", "kvm2", "--fabric", real.fabric)
    until_links(real, "up")


def test_monitors_follow_the_file_and_leave_somebody_elses_alone(real: Lab) -> None:
    def there(table: str) -> int:
        return sum(line.startswith("_uuid") for line in real.ovs("kvm1", "ovs-vsctl", "--columns=_uuid", "list", table).splitlines())

    assert (there("sFlow"), there("NetFlow"), there("IPFIX")) == (2, 2, 2)
    again(real, lambda text: re.sub(r'netflow: "[^"]*", ', "", text).replace("sampling: 8}", "sampling: 7}"))
    assert (there("sFlow"), there("NetFlow"), there("IPFIX")) == (2, 0, 2)
    assert "sampling            : 7" in real.ovs("kvm1", "ovs-vsctl", "list", "sFlow")
    words = ("--", "--id=@n", "create", "NetFlow", 'targets="127.0.0.1:9"', "--", "set", "bridge", "br-weft", "netflow=@n")
    made = real.ovs("kvm1", "ovs-vsctl", *words)
    done = weft("apply", real.file, "--store", default_target(real.fabric))
    assert done.returncode == 1
    mend = "ovs-vsctl clear bridge br-weft netflow"
    assert f"host kvm1: monitor/netflow: bridge br-weft has NetFlow of somebody else's: {mend}" in done.stderr
    assert real.ovs("kvm1", "ovs-vsctl", "get", "bridge", "br-weft", "netflow").strip() == made.strip()
    real.ovs("kvm1", *mend.split())
    real.run("apply", real.file, "--store", default_target(real.fabric))
    assert there("NetFlow") == 2


def test_a_changed_limit_is_the_switchs_and_a_removed_one_is_gone(real: Lab) -> None:
    def rates() -> list[int]:
        dumped = real.ovs("kvm1", "ovs-ofctl", "-OOpenFlow14", "dump-meters", "br-weft")
        return sorted(int(rate) for rate in re.findall(r"rate=(\d+)", dumped))

    assert rates() == [100, 200, 200]
    again(real, lambda text: text.replace("direction: in, rate: 200kbit", "direction: in, rate: 5mbit"))
    assert rates() == [100, 200, 5000]
    again(real, lambda text: text.replace(", rate: 100kbit, burst: 100kbit, dscp: 10", ", dscp: 10"))
    assert rates() == [200, 200]
    again(real, str)
    assert rates() == [100, 200, 200]
