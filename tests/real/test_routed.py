"""Routed segments on the uplink: guests are seen with their own addresses, and reached by them, whether the wire knows a route or asks."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.labs import Lab, lab
from tests.real.threefold import Case, check_sent, check_trace, check_walk, say, serving, until, walked
from weft.apps.world import World

pytestmark = pytest.mark.real

FABRIC = """
fabric: natr
segments:
  branch:
    mode: routed
    subnets: [192.168.2.0/24, "fd00:2::/64"]
    ra: false
    uplink: physnet
    routes: [{to: 10.20.0.0/16, via: 192.168.2.254}]
  public: {mode: routed, subnets: [203.0.113.128/25, "2001:db8:0:0:1::/80"], ra: false, uplink: physnet}
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet, forwards: [{listen: tcp/8080, to: n1.eth0, port: 7000}]}
  flat: {mode: bridged, uplink: physnet}
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [ens224]}}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [ens224]}}}
guests:
  r1: {host: kvm1, nics: [{segment: branch, ip: [192.168.2.10, "fd00:2::10"]}]}
  r2: {host: kvm2, nics: [{segment: branch, ip: [192.168.2.20, "fd00:2::20"]}]}
  gate: {host: kvm2, nics: [{segment: branch, ip: 192.168.2.254, spoof: true}]}
  p1: {host: kvm1, nics: [{segment: public, ip: [203.0.113.130, "2001:db8::1:0:0:30"]}]}
  p2: {host: kvm2, nics: [{segment: public, ip: [203.0.113.131, "2001:db8::1:0:0:31"]}]}
  n1: {host: kvm1, nics: [{segment: office, ip: 192.168.122.10}]}
  out2: {host: kvm2, nics: [{segment: flat, ip: [203.0.113.2/24, "2001:db8::2/64"]}]}
lab: {outside: 203.0.113.0/24}
"""
H1, H2, OUT, OUT2 = "203.0.113.11", "203.0.113.12", "203.0.113.1", "203.0.113.2"
R1, R2, P1, P2, N1 = "192.168.2.10", "192.168.2.20", "203.0.113.130", "203.0.113.131", "192.168.122.10"
S1, S2, SIX, SIX2 = "2001:db8::11", "2001:db8::12", "2001:db8::1", "2001:db8::2"
R1_6, R2_6, P1_6, P2_6 = "fd00:2::10", "fd00:2::20", "2001:db8::1:0:0:30", "2001:db8::1:0:0:31"
PORTS = dict.fromkeys(("outside", "out2", "kvm1", "kvm2", "r1", "r2", "p1", "p2", "n1", "gate"), (7000,))

CASES = [
    Case("r1", "tcp", OUT, 7000, "outside", R1),
    Case("r2", "udp", OUT, 7000, "outside", R2),
    Case("p1", "tcp", OUT, 7000, "outside", P1),
    Case("r1", "tcp", SIX, 7000, "outside", R1_6),
    Case("r2", "tcp", SIX, 7000, "outside", R2_6),
    Case("p2", "udp", SIX, 7000, "outside", P2_6),
    Case("r1", "tcp", OUT2, 7000, "out2", R1),
    Case("p1", "tcp", OUT2, 7000, "out2", P1),
    Case("p1", "tcp", SIX2, 7000, "out2", P1_6),
    Case("outside", "tcp", R1, 7000, "r1", OUT),
    Case("outside", "udp", R2, 7000, "r2", OUT),
    Case("outside", "tcp", R1_6, 7000, "r1", SIX),
    Case("outside", "tcp", R2_6, 7000, "r2", SIX),
    Case("outside", "tcp", P1, 7000, "p1", OUT),
    Case("outside", "udp", P2, 7000, "p2", OUT),
    Case("outside", "tcp", P1_6, 7000, "p1", SIX),
    Case("outside", "tcp", P2_6, 7000, "p2", SIX),
    Case("out2", "tcp", P1, 7000, "p1", OUT2),
    Case("out2", "tcp", P2, 7000, "p2", OUT2),
    Case("out2", "tcp", P2_6, 7000, "p2", SIX2),
    Case("r1", "tcp", H1, 7000, "kvm1", R1),
    Case("r1", "tcp", H2, 7000, "kvm2", R1),
    Case("p2", "tcp", H2, 7000, "kvm2", P2),
    Case("r1", "tcp", S1, 7000, "kvm1", R1_6),
    Case("kvm1", "tcp", R1, 7000, "r1", H1),
    Case("kvm1", "tcp", R2, 7000, "r2", H1),
    Case("kvm1", "tcp", P1, 7000, "p1", H1),
    Case("kvm2", "udp", P1, 7000, "p1", H2),
    Case("kvm1", "tcp", R1_6, 7000, "r1", S1),
    Case("kvm1", "tcp", P1_6, 7000, "p1", S1),
    Case("r1", "tcp", P1, 7000, "p1", R1),
    Case("r1", "tcp", P2, 7000, "p2", R1),
    Case("p2", "tcp", R1_6, 7000, "r1", P2_6),
    Case("n1", "tcp", R1, 7000, "r1", N1),
    Case("n1", "tcp", R2, 7000, "r2", N1),
    Case("r1", "tcp", N1, 7000, None),
    Case("n1", "tcp", OUT, 7000, "outside", H1),
    Case("r1", "tcp", H1, 8080, "n1", "169.254.122.1"),
    Case("r2", "tcp", H1, 8080, "n1", "169.254.122.1"),
    Case("outside", "tcp", H1, 8080, "n1", OUT),
    Case("outside", "tcp", N1, 7000, None),
]
BEHIND = "10.20.0.1"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("routed") / "natr.yaml"
    file.write_text(FABRIC)
    with lab(file, "natr") as made:
        made.exec("gate", "ip", "address", "add", f"{BEHIND}/32", "dev", "lo")
        made.exec("out2", "ip", "route", "add", "192.168.2.0/24", "via", H1)
        with serving(made, PORTS):
            assert until(lambda: all(made.pings(name, OUT) for name in ("r1", "p2", "n1")))
            yield made


@pytest.fixture
def world(here: Lab) -> World:
    return walked(here)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_walked(world: World, case: Case) -> None:
    check_walk(world, case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_traced(here: Lab, world: World, case: Case) -> None:
    check_trace(here, world, case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sent(here: Lab, case: Case) -> None:
    check_sent(here, case)


@pytest.mark.parametrize(("name", "target", "hops"), [
    ("r1", OUT, ["192.168.2.1", OUT]), ("p1", OUT, ["203.0.113.129", OUT]), ("r1", SIX, ["fd00:2::1", SIX]),
    ("outside", R1, [H1, R1]), ("outside", P1, [H1, P1]), ("outside", R1_6, [S1, R1_6]),
    ("r1", P1, ["192.168.2.1", P1]), ("r1", P2, ["192.168.2.1", P2]), ("r1", P1_6, ["fd00:2::1", P1_6]),
])  # fmt: skip
def test_traceroute_shows_the_gateway(here: Lab, name: str, target: str, hops: list[str]) -> None:
    said = here.exec(name, "traceroute", "-n", "-q", "1", "-w", "2", "-m", "4", target).stdout.splitlines()[1:]
    assert [hop.split()[1] for hop in said] == hops


@pytest.mark.parametrize(("name", "target", "reason"), [
    ("r1", "203.0.113.200", "Destination Host Unreachable"), ("outside", "203.0.113.200", "Destination Host Unreachable"),
    ("r1", "192.168.122.99", "Packet filtered"), ("outside", "192.168.2.99", "Destination Host Unreachable"),
])  # fmt: skip
def test_an_address_that_nobody_has_is_unreachable(here: Lab, name: str, target: str, reason: str) -> None:
    assert reason in here.exec(name, "ping", "-c", "1", "-W", "6", target).stdout


@pytest.mark.parametrize(("name", "target"), [("outside", R1), ("r1", OUT), ("outside", R1_6), ("r1", SIX), ("r1", P2)])
def test_a_port_that_nobody_listens_on_is_refused_at_once(here: Lab, name: str, target: str) -> None:
    assert "refused" in say(here, name, "udp", target, 9999)["error"]


@pytest.mark.parametrize(("target", "family"), [(R1, "4"), (R1_6, "6")])
def test_outside_learns_the_path_mtu_to_a_guest(here: Lab, target: str, family: str) -> None:
    said = here.exec("outside", "ping", "-c", "3", "-i", "0.3", "-W", "1", "-M", "do", "-s", "1440", target).stdout
    assert "mtu = 1442" in said.replace("mtu=", "mtu = "), said


@pytest.mark.parametrize("target", [R1, SIX])
def test_fragments_go_both_ways(here: Lab, target: str) -> None:
    name = "outside" if target == R1 else "r1"
    assert say(here, name, "udp", target, 7000, size=4000)["got"] == 4000


def test_what_is_behind_a_router_guest_is_reached_by_its_route(here: Lab) -> None:
    for name in ("outside", "r1", "p1", "n1"):
        assert until(lambda name=name: say(here, name, "tcp", BEHIND, 7000).get("by") == "gate", 10), name  # type: ignore[misc]


def test_every_host_answers_for_its_own_guests_alone(here: Lab) -> None:
    macs = {name: here.exec(name, "cat", "/sys/class/net/wx-physnet/address").stdout.strip() for name in ("kvm1", "kvm2")}
    for address, host in ((P1, "kvm1"), (P2, "kvm2"), (P1_6, "kvm1"), (P2_6, "kvm2")):
        assert here.pings("outside", address)
        assert macs[host] in here.exec("outside", "ip", "neigh", "show", address).stdout


@pytest.mark.parametrize(("name", "target", "server"), [("r1", OUT, "outside"), ("outside", P2, "p2"), ("r1", P2, "p2"), ("r1", SIX, "outside")])
def test_much_goes_through(here: Lab, name: str, target: str, server: str) -> None:
    listening = here.start(server, "iperf3", "-s", "-1")
    try:
        assert until(lambda: ":5201 " in here.exec(server, "ss", "-Hltn").stdout)
        said = json.loads(here.exec(name, "iperf3", "-J", "-t", "1", "-c", target).stdout)
        assert said["end"]["sum_received"]["bits_per_second"] > 1e6, said.get("error")
    finally:
        listening.kill()
        listening.communicate()
