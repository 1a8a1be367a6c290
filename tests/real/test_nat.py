"""NAT whole: what leaves, what comes back, what a forward lets in, and the host's own traffic unharmed beside it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.labs import Lab, lab
from tests.real.threefold import Case, asking, check_sent, check_trace, check_walk, say, serving, until, walked
from weft.apps.world import World
from weft.topology.names import HAIRPIN, HAIRPIN6

pytestmark = pytest.mark.real

FABRIC = """
fabric: natx
segments:
  office:
    mode: nat
    subnets: [192.168.122.0/24, "fd00:122::/64"]
    ra: false
    uplink: physnet
    forwards:
      - {listen: tcp/8080, to: a.eth0, port: 80}
      - {listen: udp/9000, to: a.eth0}
      - {listen: tcp/8080, to: c.eth0, port: 80}
      - {listen: tcp/8081, to: b.eth0, port: 8000}
  second: {mode: nat, subnets: [192.168.123.0/24], uplink: other}
  flat: {mode: bridged, uplink: physnet}
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [ens224]}, other: {nics: [ens256], address: 198.51.100.11/24}}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [ens224]}, other: {nics: [ens256], address: 198.51.100.12/24}}}
guests:
  a: {host: kvm1, nics: [{segment: office, ip: [192.168.122.10, "fd00:122::10"]}]}
  b: {host: kvm1, nics: [{segment: office, ip: [192.168.122.20, "fd00:122::20"]}]}
  c: {host: kvm2, nics: [{segment: office, ip: [192.168.122.30, "fd00:122::30"]}]}
  two: {host: kvm1, nics: [{segment: second, ip: 192.168.123.10}]}
  out2: {host: kvm2, nics: [{segment: flat, ip: [203.0.113.2/24, "2001:db8::2/64"]}]}
lab: {outside: 203.0.113.0/24}
"""
H1, H2, OUT, OUT2, FAR = "203.0.113.11", "203.0.113.12", "203.0.113.1", "203.0.113.2", "198.18.0.2"
S1, S2, SIX, SIX2 = "2001:db8::11", "2001:db8::12", "2001:db8::1", "2001:db8::2"
HIDDEN, HIDDEN6 = str(HAIRPIN), str(HAIRPIN6)
PORTS = {"outside": (7000, 7001, 7002), "out2": (7000,), "kvm1": (22,), "kvm2": (22,), "a": (80, 9000), "b": (80,), "c": (80,)}

CASES = [
    Case("a", "tcp", OUT, 7000, "outside", H1),
    Case("b", "udp", OUT, 7000, "outside", H1),
    Case("c", "tcp", OUT, 7000, "outside", H2),
    Case("a", "tcp", OUT2, 7000, "out2", H1),
    Case("c", "udp", OUT2, 7000, "out2", H2),
    Case("a", "tcp", H2, 22, "kvm2", H1),
    Case("a", "tcp", "192.168.122.30", 80, "c", "192.168.122.10"),
    Case("two", "tcp", "198.51.100.1", 7000, "outside", "198.51.100.11"),
    Case("kvm1", "tcp", OUT, 7000, "outside", H1),
    Case("outside", "tcp", H1, 22, "kvm1", OUT),
    Case("outside", "tcp", H1, 8080, "a", OUT),
    Case("outside", "udp", H1, 9000, "a", OUT),
    Case("outside", "tcp", H2, 8080, "c", OUT),
    Case("outside", "udp", H2, 9000, None),
    Case("out2", "tcp", H1, 8080, "a", OUT2),
    Case("c", "tcp", H1, 8080, "a", H2),
    Case("b", "tcp", H1, 8080, "a", HIDDEN),
    Case("a", "tcp", H1, 8080, "a", HIDDEN),
    Case("b", "udp", H1, 9000, "a", HIDDEN),
    Case("b", "tcp", H1, 22, "kvm1", HIDDEN),
    Case("outside", "tcp", "192.168.122.10", 80, None),
    Case("a", "tcp", SIX, 7000, "outside", S1),
    Case("c", "udp", SIX, 7000, "outside", S2),
    Case("b", "tcp", SIX2, 7000, "out2", S1),
    Case("kvm1", "tcp", SIX, 7000, "outside", S1),
    Case("outside", "tcp", S1, 22, "kvm1", SIX),
    Case("outside", "tcp", S1, 8080, "a", SIX),
    Case("c", "udp", S1, 9000, "a", S2),
    Case("b", "tcp", S1, 8080, "a", HIDDEN6),
    Case("b", "tcp", S1, 22, "kvm1", HIDDEN6),
    Case("outside", "tcp", "fd00:122::10", 80, None),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("nat") / "natx.yaml"
    file.write_text(FABRIC)
    with lab(file, "natx") as made:
        made.exec("outside", "ip", "address", "add", "198.51.100.1/24", "dev", "eth1")
        beyond(made)
        with serving(made, PORTS):
            assert until(lambda: all(made.pings(name, OUT) for name in "abc"))
            yield made


def beyond(made: Lab) -> None:
    """A machine behind `outside`, over a cable of MTU 1300: loopback of a namespace that only outside knows."""
    far = "weft.natx.far"
    for line in (
        f"ip netns add {far}",
        f"ip -n weft.natx.outside link add far mtu 1300 type veth peer name eth0 mtu 1300 netns {far}",
        "ip -n weft.natx.outside address add 198.18.0.1/24 dev far",
        "ip -n weft.natx.outside address add 2001:db8:18::1/64 dev far nodad",
        "ip -n weft.natx.outside link set far up",
        f"ip -n {far} address add {FAR}/24 dev eth0",
        f"ip -n {far} address add 2001:db8:18::2/64 dev eth0 nodad",
        f"ip -n {far} link set eth0 up",
        f"ip -n {far} route add default via 198.18.0.1",
        f"ip -n {far} route add default via 2001:db8:18::1",
        "ip netns exec weft.natx.outside sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        "ip netns exec weft.natx.outside ethtool -K far tx off tso off gso off gro off",
        f"ip netns exec {far} ethtool -K eth0 tx off tso off gso off gro off",
    ):
        subprocess.run(line.split(), check=True, capture_output=True)


@pytest.fixture
def world(here: Lab) -> World:
    return walked(here)


SECOND = [case for case in CASES if case.source == "two"]
"""The walk knows `outside` by its address on the first network alone."""


@pytest.mark.parametrize("case", [case for case in CASES if case not in SECOND], ids=str)
def test_walked(world: World, case: Case) -> None:
    check_walk(world, case)


@pytest.mark.parametrize("case", [case for case in CASES if case not in SECOND], ids=str)
def test_traced(here: Lab, world: World, case: Case) -> None:
    check_trace(here, world, case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sent(here: Lab, case: Case) -> None:
    check_sent(here, case)


# ---- ports that two want


@pytest.mark.parametrize(("kind", "target", "seen", "own"), [("tcp", OUT, H1, 5555), ("udp", OUT, H1, 5557), ("tcp", SIX, S1, 5558)])
def test_of_a_guest_and_its_host_with_one_port_the_later_is_moved_and_the_first_lives_on(
    here: Lab, kind: str, target: str, seen: str, own: int
) -> None:
    guest = asking(here, "a", kind, target, 7001, own=own, hold=3)
    assert guest.stdout
    first = json.loads(guest.stdout.readline())
    host, other = (say(here, name, kind, target, 7001, own=own) for name in ("kvm1", "b"))
    assert (first["saw"], first["port"]) == (seen, own)
    for later in (host, other):
        assert later["saw"] == seen
        assert later["port"] != own
    assert json.loads(guest.communicate(timeout=20)[0].splitlines()[-1])["port"] == own


def test_a_host_keeps_the_port_that_a_guest_wants_later(here: Lab) -> None:
    host = asking(here, "kvm1", "tcp", OUT, 7002, own=5556, hold=2)
    assert host.stdout
    assert json.loads(host.stdout.readline())["port"] == 5556
    guest = say(here, "a", "tcp", OUT, 7002, own=5556)
    assert guest["saw"] == H1
    assert guest["port"] != 5556
    assert json.loads(host.communicate(timeout=20)[0].splitlines()[-1])["port"] == 5556


def test_a_guests_own_port_may_be_that_of_a_forward(here: Lab) -> None:
    assert say(here, "a", "tcp", OUT, 7000, own=8080)["port"] == 8080
    assert say(here, "outside", "tcp", H1, 8080, own=8080)["by"] == "a"


@pytest.mark.parametrize(("target", "count"), [(OUT, "10"), (SIX, "10")])
def test_two_guests_ping_with_one_identifier(here: Lab, target: str, count: str) -> None:
    pings = [here.start(name, "ping", "-qc", count, "-i", "0.1", "-e", "77", target) for name in "ab"]
    assert all(" 0% packet loss" in ping.communicate(timeout=20)[0] for ping in pings)


# ---- sizes and errors


@pytest.mark.parametrize("target", [OUT, SIX])
def test_fragments_go_both_ways(here: Lab, target: str) -> None:
    assert say(here, "a", "udp", target, 7000, size=4000)["got"] == 4000
    assert here.pings("a", target, "-s", "4000")


@pytest.mark.parametrize(("name", "target"), [("a", OUT), ("a", SIX), ("a", H1), ("b", S1)])
def test_a_port_that_nobody_listens_on_is_refused_at_once(here: Lab, name: str, target: str) -> None:
    assert "refused" in say(here, name, "udp", target, 9999)["error"]


def test_a_path_mtu_beyond_reaches_the_guest(here: Lab) -> None:
    said = here.exec("a", "ping", "-c", "3", "-i", "0.3", "-W", "1", "-M", "do", "-s", "1372", FAR)
    assert "mtu = 1300" in said.stdout.replace("mtu=", "mtu = "), said.stdout


@pytest.mark.parametrize(("target", "family"), [(H1, "4"), (S1, "6")])
def test_outside_learns_the_path_mtu_of_a_forward(here: Lab, target: str, family: str) -> None:
    """Less than its own: what the overlay leaves."""
    script = f"""
import socket, time
six = {family} == 6
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(*((41, 23, 2) if six else (0, 10, 2)))
s.connect(("{target}", 9000))
for _ in range(20):
    try:
        s.send(bytes(1440))
    except OSError:
        pass
    mtu = s.getsockopt(*((41, 24) if six else (0, 14)))
    if mtu < 1500:
        break
    time.sleep(0.1)
print(mtu)
"""
    assert here.exec("outside", "python3", "-c", script).stdout.strip() == "1442"


@pytest.mark.parametrize(("target", "gateway", "beyond"), [(FAR, "192.168.122.1", OUT), ("2001:db8:18::2", "fd00:122::1", SIX)])
def test_traceroute_shows_the_gateway_and_the_routers_beyond(here: Lab, target: str, gateway: str, beyond: str) -> None:
    hops = here.exec("a", "traceroute", "-n", "-q", "1", "-w", "2", "-m", "5", target).stdout.splitlines()[1:]
    assert [hop.split()[1] for hop in hops] == [gateway, beyond, target]


def test_an_address_of_the_wire_that_nobody_has_is_unreachable(here: Lab) -> None:
    assert "Unreachable" in here.exec("a", "ping", "-c", "1", "-W", "5", "203.0.113.99").stdout


def test_nothing_from_outside_starts_a_conversation(here: Lab) -> None:
    """Not even one that names a guest's address and its host as the way there. The kernel may ask whether a neighbour is still there."""
    for route in ("192.168.122.0/24 via 203.0.113.11", "fd00:122::/64 via 2001:db8::11"):
        here.exec("outside", "ip", "route", "replace", *route.split())
    guest = "ip host 192.168.122.10 or (ip6 host fd00:122::10 and ip6[40] != 135 and ip6[40] != 136)"
    heard = here.start("kvm1.svc", "tcpdump", "-lnqi", "any", guest)
    assert heard.stderr
    while "listening on" not in heard.stderr.readline():
        assert heard.poll() is None
    assert not here.pings("outside", "192.168.122.10")
    assert not here.pings("outside", "fd00:122::10")
    assert "error" in say(here, "outside", "tcp", "192.168.122.10", 80)
    assert "refused" in say(here, "outside", "tcp", H1, 80)["error"]
    heard.terminate()
    assert heard.communicate(timeout=10)[0].strip() == ""
    for route in ("192.168.122.0/24", "fd00:122::/64"):
        here.exec("outside", "ip", "route", "delete", route)


# ---- programs that people use


def test_curl_sees_the_world_and_the_world_sees_the_host(here: Lab) -> None:
    assert here.exec("a", "curl", "-sS", "-m", "5", f"http://{OUT}/").stdout == f"outside saw {H1}\n"
    assert here.exec("c", "curl", "-sS", "-m", "5", f"http://[{SIX}]/").stdout == f"outside saw {S2}\n"


def test_curl_through_a_forward(here: Lab, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    web = here.start("b", "python3", "-m", "http.server", "8000", "--bind", "::", "--directory", str(tmp_path))
    try:
        assert until(lambda: ":8000 " in here.exec("b", "ss", "-Hltn").stdout)
        for name, target in (("outside", H1), ("outside", f"[{S1}]"), ("c", H1), ("a", H1)):
            assert here.exec(name, "curl", "-sS", "-m", "5", f"http://{target}:8081/").stdout == "hello"
    finally:
        web.kill()
        web.communicate()


@pytest.mark.parametrize(("name", "target", "options"), [
    ("a", OUT, ()), ("a", OUT, ("-R",)), ("a", SIX, ()), ("b", H1, ()), ("kvm1", OUT, ()), ("a", FAR, ()), ("a", "192.168.122.30", ()),
])  # fmt: skip
def test_much_goes_through(here: Lab, name: str, target: str, options: tuple[str, ...]) -> None:
    server = {
        OUT: "outside",
        SIX: "outside",
        H1: "kvm1",
        FAR: "far",
        "192.168.122.30": "c",
    }[target]
    assert carried(here, name, server, target, *options) > 1e6


def carried(here: Lab, name: str, server: str, target: str, *options: str) -> float:
    """Bits a second of one stream."""
    listening = here.start(server, "iperf3", "-s", "-1")
    try:
        assert until(lambda: ":5201 " in here.exec(server, "ss", "-Hltn").stdout)
        said = json.loads(here.exec(name, "iperf3", "-J", "-t", "1", "-c", target, *options).stdout)
        return float(said["end"]["sum_received"]["bits_per_second"])
    finally:
        listening.kill()
        listening.communicate()


def test_a_guest_that_believes_in_a_larger_mtu_still_downloads(here: Lab) -> None:
    """What is too large for it does not vanish: who sends it hears so, and sends less at a time."""
    here.exec("a", "ip", "link", "set", "eth0", "mtu", "1500")
    try:
        assert carried(here, "a", "outside", OUT, "-R") > 1e6
    finally:
        here.exec("a", "ip", "link", "set", "eth0", "mtu", "1442")
        here.exec("outside", "ip", "route", "flush", "cache")


# ---- the gateway


@pytest.mark.parametrize("told", [True, False], ids=["and says so", "and says nothing"])
def test_a_gateway_that_changes_its_mac_is_followed(here: Lab, told: bool) -> None:
    mac = "0e:00:00:00:aa:01" if told else "0e:00:00:00:aa:02"
    assert here.pings("a", OUT)
    here.exec("outside", "ip", "link", "set", "eth0", "address", mac)
    if told:
        here.exec("outside", "python3", "-c", GRATUITOUS, mac, OUT)
        assert until(lambda: mac in here.exec("kvm1.svc", "ip", "neigh", "show", OUT).stdout, 3)
    assert until(lambda: here.pings("a", OUT), 20)
    assert mac in here.exec("kvm1.svc", "ip", "neigh", "show", OUT).stdout
    assert until(lambda: here.pings("a", SIX), 20)


GRATUITOUS = """
import socket, sys
mac, address = bytes.fromhex(sys.argv[1].replace(":", "")), socket.inet_aton(sys.argv[2])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
arp = bytes.fromhex("0001080006040001") + mac + address + bytes(6) + address
s.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + arp)
"""


def test_the_switch_knows_the_hosts_mac_on_its_own_port_alone(here: Lab) -> None:
    mac = here.exec("kvm1", "cat", "/sys/class/net/wx-physnet/address").stdout.strip()
    table = here.ovs("kvm1", "ovs-appctl", "fdb/show", "wx-physnet")
    assert [line.split()[0] for line in table.splitlines() if mac in line] == ["LOCAL"]
