"""A shared address with real connections: spread, kept, taken from the dead, answered as asked; and the walk tells the truth of it."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.real.labs import ROOT, Lab, lab
from tests.real.test_trace import once, within
from tests.real.trace import packet_text
from weft.agents import lab as labs
from weft.agents import processes
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.facts import facts
from weft.apps.packet import Packet
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology.server import default_target

pytestmark = pytest.mark.real

WEBS = ("web1", "web2", "web3")
SHOP, LOGIN, SIX, ONE = "192.168.122.200", "192.168.122.201", "fd00:122::200", "192.168.122.202"
SERVER = """
import contextlib, socket, sys, threading
def serve(client, address):
    with client, contextlib.suppress(OSError):
        client.sendall(f"{sys.argv[1]} {address.removeprefix('::ffff:')}\\n".encode())
        while said := client.recv(64):
            client.sendall(said)
listening = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
while True:
    client, address = listening.accept()
    threading.Thread(target=serve, args=(client, address[0]), daemon=True).start()
"""
"""Says who it is and whom it sees, then whatever is said to it."""
CLIENT = """
import socket, sys
for _ in range(int(sys.argv[2])):
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[3])), 5) as server:
            print(server.recv(100).decode().strip(), flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""
STAYER = """
import socket, sys
with socket.create_connection((sys.argv[1], 80), 5) as server:
    print(server.recv(100).decode().strip(), flush=True)
    for line in sys.stdin:
        server.sendall(line.encode())
        print(server.recv(100).decode().strip(), flush=True)
"""


class Shop:
    """A lab with a server in each member."""

    def __init__(self, here: Lab) -> None:
        self.lab = here
        self.servers: dict[str, subprocess.Popen[str]] = {}

    def serve(self, *names: str) -> None:
        for name in names:
            self.servers[name] = self.lab.start(name, sys.executable, "-c", SERVER, name)

    def stop(self, *names: str) -> None:
        for name in names:
            server = self.servers.pop(name)
            server.kill()
            server.communicate()

    def ask(self, client: str, address: str, times: int, port: int = 80) -> list[tuple[str, ...]]:
        """Who answered and whom it saw, of each of so many connections."""
        done = self.lab.exec(client, sys.executable, "-c", CLIENT, address, str(times), str(port))
        return [tuple(line.split()) for line in done.stdout.splitlines()]

    def until(self, alive: set[str]) -> None:
        """Waits until exactly these are told to be alive, and switches hold what follows from that."""
        wait_for(lambda: all(self.alive(row) == alive for row in self.lab.show("services") if len(row["members"]) > 1))
        wait_for(lambda: all(row["state"] == "in sync" for row in self.lab.show("switches")))

    def alive(self, row: dict[str, list[str]]) -> set[str]:
        return {member.partition(".")[0] for member in row["members"] if member.endswith(" alive")}


def wait_for(reached: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.2)


MORE = """
  - {name: one, address: 192.168.122.202, listen: tcp/80, port: 8080, to: web3}
  - {name: echo, address: 192.168.122.202, listen: udp/53, port: 5353, to: web1}
"""
GUESTS = """guests:
  far: {host: kvm2, nics: [{segment: office}]}
  branch1: {host: kvm1, nics: [{segment: branch}]}
  branch3: {host: kvm3, nics: [{segment: branch}]}
"""


def fabric_text() -> str:
    """The example, its segment routed to another one that has guests on a host without members, too."""
    text = (ROOT / "examples/services.yaml").read_text().replace("fabric: services", "fabric: grpshare")
    text = text.replace("mode: isolated", "mode: routed\n    uplink: physnet").replace("guests:\n", GUESTS)
    text = text.replace("hosts:", "  branch: {mode: routed, uplink: physnet, subnets: [192.168.2.0/24, 'fd00:2::/64'], ra: false}\n\nhosts:")
    text = text.replace("  kvm2: ", "  kvm3: {address: 10.10.10.3/24}\n  kvm2: ")
    for host in (1, 2, 3):
        text = text.replace(f"10.10.10.{host}/24", f"10.10.10.{host}/24, uplinks: {{physnet: {{nics: [ens224]}}}}")
    return text.rstrip() + MORE


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    file: Path = tmp_path_factory.mktemp("grpshare") / "grpshare.yaml"
    file.write_text(fabric_text())
    with lab(file, "grpshare") as here:
        made = Shop(here)
        made.serve(*WEBS)
        try:
            made.until({*WEBS})
            yield made
        finally:
            made.stop(*[*made.servers])


def own(shop: Shop, client: str, address: str) -> str:
    row = next(row for row in shop.lab.show("guests") if row["endpoint"] == f"{client}.eth0")
    return next(ip for ip in row["ips"] if (":" in ip) == (":" in address))


@pytest.mark.parametrize("address", [SHOP, SIX])
@pytest.mark.parametrize("client", ["client", "far", "branch1", "branch3"])
def test_connections_are_spread_over_all_members_who_see_the_client(shop: Shop, client: str, address: str) -> None:
    answers = shop.ask(client, address, 40)
    assert {who for who, *_ in answers} == {*WEBS}
    assert {seen for _, seen in answers} == {own(shop, client, address)}


@pytest.mark.parametrize("client", ["client", "far", "branch3"])
def test_a_client_stays_with_its_member(shop: Shop, client: str) -> None:
    assert len({who for who, *_ in shop.ask(client, LOGIN, 20)}) == 1


@pytest.mark.parametrize("address", [SHOP, SIX])
def test_a_member_reaches_all_members_and_itself_as_the_shared_address(shop: Shop, address: str) -> None:
    answers = shop.ask("web1", address, 40)
    assert {who for who, *_ in answers} == {*WEBS}
    assert {seen for who, seen in answers if who == "web1"} == {address}
    assert {seen for who, seen in answers if who != "web1"} == {own(shop, "web1", address)}


def test_a_direct_connection_to_a_member_is_unharmed(shop: Shop) -> None:
    assert shop.ask("client", "192.168.122.12", 5, 8080) == [("web2", "192.168.122.21")] * 5


def test_datagrams_are_shared_too_and_their_member_is_asked_by_ping(shop: Shop) -> None:
    echo = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5353)); d, a = s.recvfrom(99); s.sendto(d, a)"
    ask = f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('{ONE}', 53)); s.settimeout(0.5)\n"
    ask += "for _ in range(20):\n  try: s.send(b'hello'); print(s.recv(99).decode()); break\n  except OSError: pass"
    server = shop.lab.start("web1", sys.executable, "-c", echo)
    try:
        assert shop.lab.exec("far", sys.executable, "-c", ask).stdout == "hello\n"
    finally:
        server.kill()
        server.communicate()
    assert next(row["members"] for row in shop.lab.show("services") if row["service"] == "echo") == ["web1.eth0 alive"]


def test_a_shared_address_answers_pings(shop: Shop) -> None:
    assert shop.lab.pings("client", SHOP)
    assert shop.lab.pings("far", SIX)


def test_a_dead_member_is_taken_out_its_clients_go_elsewhere_and_it_comes_back(shop: Shop) -> None:
    ((before, _),) = shop.ask("client", LOGIN, 1)
    space = ("ip", "netns", "exec", f"weft.{shop.lab.fabric}.client")
    staying = subprocess.Popen([*space, sys.executable, "-c", STAYER, SHOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert staying.stdin and staying.stdout
        with_whom = staying.stdout.readline().split()[0]
        victim = before if before != with_whom else next(web for web in WEBS if web != with_whom)
        shop.stop(victim)
        shop.until({*WEBS} - {victim})
        assert {who for who, *_ in shop.ask("client", SHOP, 30)} == {*WEBS} - {victim}
        after = {who for who, *_ in shop.ask("client", LOGIN, 10)}
        assert len(after) == 1
        assert victim not in after
        staying.stdin.write("still there\n")
        staying.stdin.flush()
        assert staying.stdout.readline() == "still there\n"
        shop.serve(victim)
        shop.until({*WEBS})
        assert {who for who, *_ in shop.ask("client", SHOP, 40)} == {*WEBS}
        assert {who for who, *_ in shop.ask("client", LOGIN, 10)} == after
    finally:
        staying.kill()
        staying.communicate()


def test_an_agent_that_starts_again_takes_no_dead_member_for_a_living_one(shop: Shop) -> None:
    shop.stop("web1")
    try:
        shop.until({"web2", "web3"})
        os.kill(shop.lab.pid("kvm1/agent"), signal.SIGKILL)
        here = labs.read(shop.lab.fabric)
        assert here
        processes.start(next(one for one in here.processes if one.name == "kvm1/agent"), here.fabric, here.folder)
        for _ in range(8):
            assert "web1" not in {who for who, *_ in shop.ask("client", SHOP, 10)}
    finally:
        shop.serve("web1")
    shop.until({*WEBS})


def test_while_no_member_lives_the_address_refuses(shop: Shop) -> None:
    shop.stop(*WEBS)
    try:
        shop.until(set())
        assert {who for (who,) in shop.ask("client", SHOP, 3)} == {"ConnectionRefusedError"}
    finally:
        shop.serve(*WEBS)
        shop.until({*WEBS})
    assert "ConnectionRefusedError" not in Counter(who for who, *_ in shop.ask("client", SHOP, 5))


def test_nothing_is_changed_again_on_a_switch_that_is_in_sync(shop: Shop) -> None:
    """Groups read back as they were written: the log says nothing of repairs."""
    log = Path(f"/run/weft/{shop.lab.fabric}/controller.log").read_text()
    assert "refused" not in log
    assert "drift" not in log


# ---- the same in memory and asked of the switch


@pytest.fixture
def walked(shop: Shop) -> World:
    seen = look(default_target(shop.lab.fabric))
    known = facts(seen.states)
    return World(seen.fabric, Compiler().compile(seen.fabric, known), known)


def syn(here: World, source: str, address: str) -> Packet:
    me, target = here.stations[source], ip_address(address)
    gateway = here.stations[f"{here.fabric.endpoints[source].segment}@kvm1"]
    mine = next(one for one in me.own if one.version == target.version)
    return p.segment_of("tcp", me.mac, gateway.mac, mine, target, 40000, 80)


def asked(here: World, source: str, address: str) -> Packet:
    me, target = here.stations[source], ip_address(address)
    return p.question(me.mac, next(one for one in me.own if one.version == target.version), target)


CASES: dict[str, Callable[[World], tuple[str, Packet]]] = {
    "who has a shared address": lambda w: ("client.eth0", asked(w, "client.eth0", SHOP)),
    "who has a shared IPv6 address": lambda w: ("far.eth0", asked(w, "far.eth0", SIX)),
    "a connection to the one that there is": lambda w: ("client.eth0", syn(w, "client.eth0", ONE)),
    "a connection to itself": lambda w: ("web3.eth0", syn(w, "web3.eth0", ONE)),
    "a connection from another segment": lambda w: ("branch1.eth0", syn(w, "branch1.eth0", ONE)),
    "and from a host without members": lambda w: ("branch3.eth0", syn(w, "branch3.eth0", ONE)),
    "another port of a shared address": lambda w: ("client.eth0", {**syn(w, "client.eth0", ONE), "tcp_dst": 443}),
    "a member, directly": lambda w: ("client.eth0", {**syn(w, "client.eth0", "192.168.122.13"), "eth_dst": mac(w, "web3.eth0")}),
}


def mac(here: World, station: str) -> int:
    return int(here.stations[station].mac.replace(":", ""), 16)


@pytest.mark.parametrize("case", CASES)
def test_a_real_switch_meets_the_flows_that_the_walk_met(shop: Shop, walked: World, case: str) -> None:
    name, packet = CASES[case](walked)
    endpoint = walked.fabric.endpoints[name]
    host = walked.fabric.hosts[endpoint.host]
    new = ("--ct-next", "trk,new") * 4
    hashed = f"{packet_text(packet, endpoint.port)},dp_hash=1"  # a trace does not go on behind a datapath that hashes
    traced = shop.lab.ovs(host.name, "ovs-appctl", "ofproto/trace", host.bridge, hashed, *new)
    assert within(traced, host.bridge) == once(walked.send(name, packet), f"{host.name}/{host.bridge}")
