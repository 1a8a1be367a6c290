"""Policies on real switches: each case walked, asked of ofproto/trace, and sent; and what becomes of connections when policies change."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.apps.test_policies import PEOPLE, packet, station
from tests.real.labs import Lab, lab
from tests.real.test_trace import once, within
from tests.real.trace import packet_text
from weft.apps.compile import Compiler
from weft.apps.fields import ICMP
from weft.apps.packet import Packet
from weft.apps.text import value_text
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology import names
from weft.topology.server import default_target

pytestmark = pytest.mark.real

POLICIES = [
    "name: stream, allow: any, from: web2, to: web1.eth1",
    "name: watch, audit: udp/53, from: any, to: db1",
    "name: web-to-db, allow: tcp/79-81, from: {tier: web}, to: {tier: db}",
    "name: no-db, deny: tcp, from: any, to: {tier: db}",
    "name: no-out, deny: tcp/80, from: web2, to: outside",
    "name: no-host, deny: tcp/80, from: host, to: flat1",
    "name: into, allow: tcp/80, from: shut1, to: shut2",
    "name: no-answer, allow: udp/99, from: shut1, to: shut2",
    "name: shout, allow: udp/5353, from: shut, to: shut3",
    "name: old, deny: udp, from: any, to: db2, until: 2020-01-01T00:00Z",
]
CASES = [
    ("web1.eth1", "db1", "tcp", 80, True),
    ("web1.eth1", "db2", "tcp", 81, True),
    ("web2.eth1", "db2", "tcp", 80, True),
    ("web1.eth1", "db1", "tcp", 82, False),
    ("db2", "db1", "tcp", 80, False),
    ("db1", "db2", "tcp", 81, False),
    ("db1", "web1.eth1", "tcp", 80, True),
    ("db2", "db1", "udp", 53, True),
    ("db1", "db2", "udp", 53, True),
    ("shut1", "shut2", "tcp", 80, True),
    ("shut1", "shut2", "tcp", 81, False),
    ("shut2", "shut1", "tcp", 80, False),
    ("shut3", "shut1", "udp", 53, False),
    ("six1", "six2", "tcp", 80, True),
    ("six2", "six1", "tcp", 80, True),
    ("six1", "six2", "tcp", 82, False),
    ("web1", "outside", "tcp", 80, True),
    ("web2", "outside", "tcp", 80, False),
    ("kvm1", "flat1", "tcp", 80, False),
    ("flat2", "flat1", "tcp", 80, True),
]

SERVE = """
import select, socket
six = socket.AF_INET6
socks = []
for port in (80, 81, 82):
    s = socket.socket(six); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", port)); s.listen(); socks.append(s)
u = socket.socket(six, socket.SOCK_DGRAM); u.bind(("::", 53)); socks.append(u)
print("ready", flush=True)
while True:
    for s in select.select(socks, [], [])[0]:
        if s is u:
            u.sendto(b"back", u.recvfrom(100)[1])
        else:
            s.accept()[0].close()
"""
ASK = """
import socket, sys, time
kind, target, port, patience = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
family = socket.AF_INET6 if ":" in target else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(patience if kind == "tcp" else 0.5)
limit = time.monotonic() + patience
try:
    s.connect((target, port))
    while kind == "udp":
        s.send(b"there")
        try:
            s.recv(100)
            break
        except TimeoutError:
            if time.monotonic() > limit:
                raise
except OSError as error:
    sys.exit(3 if isinstance(error, TimeoutError) else 4)
"""
HEAR = """
import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 5353)); print("ready", flush=True)
while True:
    print(u.recv(100).decode(), flush=True)
"""
SHOUT = """
import socket, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
u.sendto(b"shouted", ("10.0.8.255", 5353)); u.sendto(b"said", ("10.0.8.13", 5353))
"""
LISTEN = """
import select, socket
t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); t.bind(("", 7000)); t.listen()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 7001))
print("ready", flush=True)
c = None
while True:
    for s in select.select([x for x in (t, u, c) if x], [], [])[0]:
        if s is t:
            c = t.accept()[0]
        elif s is u:
            u.recv(100); print("udp", flush=True)
        else:
            data = c.recv(1000); c.send(data); print("tcp", flush=True)
"""
STREAM = """
import select, socket, sys, time
t = socket.create_connection((sys.argv[1], 7000)); t.setblocking(False)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        t.send(b"x")
    except BlockingIOError:
        pass
    u.sendto(b"x", (sys.argv[1], 7001))
    if select.select([t], [], [], 0.05)[0]:
        t.recv(1000); print("back", flush=True)
    time.sleep(0.05)
"""


def write(file: Path, policies: list[str]) -> None:
    text = PEOPLE.replace("fabric: test", "fabric: pol").replace("[nic0]", "[ens224]")
    file.write_text(text + "policies:\n" + "".join(f"  - {{{policy}}}\n" for policy in policies))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("pol") / "pol.yaml"
    write(file, POLICIES)
    with lab(file, "pol") as here, ExitStack() as stack:
        for guest in ("web1", "web2", "db1", "db2", "shut1", "shut2", "six1", "six2", "flat1", "flat2"):
            serving = here.start(guest, "python3", "-c", SERVE)
            stack.callback(end, serving)
            assert serving.stdout is not None and serving.stdout.readline() == "ready\n"
        yield here


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def walked(real: Lab) -> World:
    seen = look(default_target(real.fabric))
    return World(seen.fabric, Compiler().compile(seen.fabric, seen.facts), seen.facts)


def until(holds: Callable[[], bool], seconds: float = 30) -> bool:
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            return False
        time.sleep(0.2)
    return True


PATIENT, BRIEF = 20.0, 1.5
"""Seconds to wait for what should come, and for what should not."""


def asks(real: Lab, walked: World, source: str, target: str, kind: str, port: int, patience: float = PATIENT) -> bool:
    address = walked.stations[station(target)].own[0]
    place = source.partition(".")[0]
    return real.exec(place, "python3", "-c", ASK, kind, str(address), str(port), str(patience)).returncode == 0


@pytest.mark.parametrize(("source", "target", "kind", "port", "arrives"), CASES)
def test_who_may_speak_to_whom(
    real: Lab, walked: World, source: str, target: str, kind: str, port: int, arrives: bool
) -> None:
    sent = packet(walked, source, target, 40000, port, kind)
    walk = walked.send(station(source), sent)
    assert (station(target) in walk.to) == arrives
    for host, port_in, entering in entries(walked, source, target, sent):
        bridge = walked.fabric.hosts[host].bridge
        traced = real.ovs(
            host, "ovs-appctl", "ofproto/trace", bridge, tracked_text(entering, port_in), "--ct-next", "trk,new"
        )
        assert within(traced, bridge) == once(walk, f"{host}/{bridge}")
    assert asks(real, walked, source, target, kind, port, PATIENT if arrives else BRIEF) == arrives


def entries(walked: World, source: str, target: str, sent: Packet) -> Iterator[tuple[str, str, Packet]]:
    """Where a packet comes into an integration bridge: at its sender's host, and behind the tunnel."""
    sender, receiver = (walked.fabric.endpoints.get(station(name)) for name in (source, target))
    if sender is None:
        return
    yield sender.host, sender.port, sent
    segment = walked.fabric.segments[sender.segment]
    if (
        receiver is not None
        and receiver.host != sender.host
        and segment.tunnelled
        and receiver.segment == sender.segment
    ):
        yield receiver.host, names.tunnel_port(sender.host), {**sent, "tun_id": segment.id}


def tracked_text(sent: Packet, port: str) -> str:
    """For ofproto/trace, which takes the tuple of the connection's first packet from what it is given."""
    family = "ip" if "ip_src" in sent else "ipv6"
    kind = "tcp" if "tcp_dst" in sent else "udp"
    ends = {"ip": ("ct_nw_src", "ct_nw_dst"), "ipv6": ("ct_ipv6_src", "ct_ipv6_dst")}[family]
    first = {ends[0]: sent[f"{family}_src"], ends[1]: sent[f"{family}_dst"], "ct_nw_proto": sent["ip_proto"]}
    ports = {"ct_tp_src": sent[f"{kind}_src"], "ct_tp_dst": sent[f"{kind}_dst"]}
    key = f",tun_id={sent['tun_id']:#x}" if "tun_id" in sent else ""
    assert sent["ip_proto"] != ICMP
    tracked = ",".join(f"{name}={value_text(name, value)}" for name, value in (first | ports).items())
    return f"{packet_text(sent, port)}{key},ct_state=trk|new,{tracked}"


def counts(real: Lab) -> dict[str, int]:
    return {row["policy"]: row["packets"] for row in real.show("policies")}


def test_what_policies_decide_is_counted_and_their_time_ends(real: Lab, walked: World) -> None:
    before = counts(real)
    assert asks(real, walked, "web1.eth1", "db1", "tcp", 80) and not asks(real, walked, "db2", "db1", "tcp", 80, BRIEF)
    for name in ("web-to-db", "no-db"):
        assert until(lambda name=name: counts(real)[name] > before[name]), name
    assert {row["policy"]: row["state"] for row in real.show("policies")}["old"] == "expired"
    assert counts(real)["old"] == 0


def test_what_an_audit_would_drop_is_counted_and_logged_and_passes(real: Lab, walked: World) -> None:
    log, before = Path(f"/run/weft/{real.fabric}/controller.log"), counts(real)["watch"]
    assert asks(real, walked, "db2", "db1", "udp", 53)
    said = "> 10.0.9.5:53 to db1.eth0"
    assert until(
        lambda: any(
            "audit watch: would drop udp 10.0.9.6:" in line and said in line for line in log.read_text().splitlines()
        )
    )
    assert until(lambda: counts(real)["watch"] > before)


def test_a_flow_that_judges_leads_to_its_line(real: Lab) -> None:
    line = next(number for number, text in enumerate(real.file.read_text().splitlines(), 1) if "web-to-db" in text)
    flow = next(flow for flow in real.flows("kvm1") if "conj_id=" in flow)
    assert f"pol.yaml:{line}" in real.run("why", flow, "--fabric", real.fabric)


class Heard:
    """Lines that a process prints, counted by word."""

    def __init__(self, process: subprocess.Popen[str], path: Path) -> None:
        self.process, self._path = process, path

    def of(self, word: str) -> int:
        return self._path.read_text().split().count(word)


def heard(real: Lab, guest: str, folder: Path, *command: str) -> Heard:
    path = folder / f"{guest}.out"
    with path.open("w") as out:
        space = ("ip", "netns", "exec", f"weft.{real.fabric}.{guest}")
        process = subprocess.Popen([*space, *command], stdout=out, stderr=subprocess.DEVNULL, text=True)
    return Heard(process, path)


@pytest.mark.parametrize("before", [POLICIES, POLICIES[1:]], ids=["of an earlier policy", "of none"])
def test_a_changed_policy_stops_and_frees_what_is_established(real: Lab, tmp_path: Path, before: list[str]) -> None:
    write(real.file, before)
    real.run("apply", real.file)
    with ExitStack() as stack:
        server = heard(real, "web1", tmp_path, "python3", "-c", LISTEN)
        stack.callback(end, server.process)
        assert until(lambda: server.of("ready") == 1)
        client = heard(real, "web2", tmp_path, "python3", "-c", STREAM, "10.0.9.4")
        stack.callback(end, client.process)
        flows: list[Callable[[], int]] = [lambda: server.of("udp"), lambda: server.of("tcp"), lambda: client.of("back")]
        assert until(lambda: all(count() > 5 for count in flows))
        write(real.file, [POLICIES[0].replace("allow", "deny"), *POLICIES[1:]])
        real.run("apply", real.file)
        stopped = [count() for count in flows]
        time.sleep(1)
        assert [count() for count in flows] == stopped
        write(real.file, POLICIES)
        real.run("apply", real.file)
        assert until(lambda: all(count() > last + 5 for count, last in zip(flows, stopped, strict=True)))


def test_an_icmp_error_comes_back_to_a_closed_guest(real: Lab) -> None:
    ask = ("python3", "-c", ASK, "udp", "10.0.8.12")
    refused, silent = (real.exec("shut1", *ask, port, str(wait)).returncode for port, wait in (("99", PATIENT), ("98", BRIEF)))
    assert (refused, silent) == (4, 3), "4: the kernel was told that nobody listens there; 3: nothing came"


def test_a_broadcast_enters_the_closed_guests_that_a_policy_names(real: Lab, tmp_path: Path) -> None:
    with ExitStack() as stack:
        ears = {guest: heard(real, guest, tmp_path, "python3", "-c", HEAR) for guest in ("shut2", "shut3")}
        for ear in ears.values():
            stack.callback(end, ear.process)
            assert until(lambda ear=ear: ear.of("ready") == 1)
        assert real.exec("shut1", "python3", "-c", SHOUT).returncode == 0
        assert until(lambda: ears["shut3"].of("said") == 1)
        assert (ears["shut3"].of("shouted"), ears["shut2"].of("shouted")) == (1, 0)


def test_a_policy_ends_by_itself(real: Lab, walked: World) -> None:
    end_at = datetime.now(UTC) + timedelta(seconds=8)
    write(real.file, [f"name: short, deny: udp, from: any, to: db1, until: {end_at:%Y-%m-%dT%H:%M:%SZ}", *POLICIES])
    real.run("apply", real.file)
    early = asks(real, walked, "db2", "db1", "udp", 53, BRIEF)
    assert datetime.now(UTC) > end_at or not early
    assert until(lambda: asks(real, walked, "db2", "db1", "udp", 53))
    assert {row["policy"]: row["state"] for row in real.show("policies")}["short"] == "expired"
    write(real.file, POLICIES)
    real.run("apply", real.file)


def test_pings_and_neighbours_are_as_ever(real: Lab) -> None:
    assert real.pings("web1", "10.0.9.5") and real.pings("db1", "10.0.9.6")
    assert not real.pings("shut2", "10.0.8.11")
    assert real.pings("shut2", str(ip_address("10.0.8.1")))
