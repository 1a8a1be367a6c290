"""DHCP, DHCPv6, router advertisements and DNS with real clients, in one lab of two hosts."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.asking import CASES, SERVED, discover
from tests.frames import Place, at, heard, to_bytes
from tests.real.labs import Lab, lab, weft
from tests.real.test_trace import once, within
from tests.real.trace import packet_text
from weft.apps.compile import Compiler
from weft.apps.facts import facts
from weft.apps.flow import Ct, mac_number
from weft.apps.leases import REQUESTS
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology.server import default_target

pytestmark = pytest.mark.real

PATIENCE = 30.0
"""Seconds after which what does not come is taken not to come at all."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dhcp")


@pytest.fixture(scope="module")
def here(folder: Path) -> Iterator[Lab]:
    file = folder / "dhcp.yaml"
    file.write_text(SERVED.replace("[nic0]", "[ens224]"))
    with lab(file, "agentsvc") as made:
        yield made


@pytest.fixture(scope="module")
def walked(here: Lab) -> World:
    seen = look(default_target(here.fabric))
    known = facts(seen.states)
    return World(seen.fabric, Compiler().compile(seen.fabric, known), known)


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


# ---- one table: walked, asked of the switch, sent


@pytest.mark.parametrize("case", CASES)
def test_a_real_switch_meets_the_flows_that_the_walk_met(here: Lab, walked: World, case: str) -> None:
    name, packet, expected = CASES[case]
    walk = walked.send(name, packet(walked))
    assert walk.to == expected
    host = walked.fabric.hosts[walked.fabric.endpoints[name].host]
    port = walked.fabric.endpoints[name].port
    traced = here.ovs(host.name, "ovs-appctl", "ofproto/trace", host.bridge, packet_text(packet(walked), port))
    met = once(walk, f"{host.name}/{host.bridge}")
    tracked = [hop.flow.cookie for hop in walk.hops if hop.flow and any(isinstance(action, Ct) for action in hop.flow.actions)]
    if tracked:  # a trace does not know what a connection's first packet was (ct_nw_dst): it is asked until there
        met, traced = met[: met.index(tracked[0]) + 1], traced.partition("\nrecirc(")[0]
    assert within(traced, host.bridge) == met


def place_of(here: Lab, station: str) -> Place:
    segment, gateway, host = station.partition("@")
    if gateway:
        return f"weft.{here.fabric}.{host}.svc", f"s.{segment}"
    guest, _, nic = station.partition(".")
    return f"weft.{here.fabric}.{guest}", nic


@pytest.mark.parametrize("case", CASES)
def test_packets_come_out_where_the_walk_says(here: Lab, walked: World, case: str) -> None:
    name, packet, expected = CASES[case]
    segment = walked.fabric.endpoints[name].segment
    others = [one.name for one in walked.fabric.members(segment) if one.name != name]
    payload = case.ljust(64).encode()
    with ExitStack() as stack:
        ears = {one: stack.enter_context(at(place_of(here, one))) for one in (*others, f"{segment}@kvm1", f"{segment}@kvm2")}
        mouth = stack.enter_context(at(place_of(here, name)))
        mouth.send(to_bytes(packet(walked), payload))
        assert heard(ears, payload, set(expected), PATIENCE if expected else 1.0) == set(expected)


# ---- clients


@pytest.fixture(scope="module")
def udhcpc_script(folder: Path) -> Path:
    """Says what it was given, and changes nothing: guests' addresses are the agent's."""
    script = folder / "udhcpc.sh"
    script.write_text('#!/bin/sh\nif [ "$1" = bound ] || [ "$1" = renew ]; then env | grep -E "^[a-z0-9]+="; fi\nexit 0\n')
    script.chmod(0o755)
    return script


def udhcpc(here: Lab, script: Path, guest: str, nic: str, *more: str, tries: int = 8) -> dict[str, str]:
    """What a DHCP client was given; nothing: nobody answered."""
    command = ("udhcpc", "-i", nic, "-f", "-n", "-q", "-t", str(tries), "-T", "1", "-s", str(script), *more)
    done = here.exec(guest, *command, timeout=tries + 20)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@contextmanager
def stranger(here: Lab, guest: str, mac: str, nic: str = "odd0") -> Iterator[str]:
    """A machine behind a guest that may be a router: an interface with a MAC of its own."""
    for words in (("link", "add", "link", "eth0", "name", nic, "type", "macvlan", "mode", "bridge"), ("link", "set", nic, "address", mac, "up")):
        done = here.exec(guest, "ip", *words)
        assert done.returncode == 0, done.stderr
    try:
        yield nic
    finally:
        here.exec(guest, "ip", "link", "del", nic)


def test_an_answer_enters_a_closed_segment(here: Lab, udhcpc_script: Path) -> None:
    assert udhcpc(here, udhcpc_script, "shut1", "eth0").get("ip") == "10.0.7.4"
    assert dig(here, "shut1", "@10.0.7.1", "shut2") == ("NOERROR", ["10.0.7.5"])


@pytest.mark.parametrize(("guest", "address"), [("web1", "192.168.122.10"), ("web2", "192.168.122.11")])
def test_a_guest_of_the_model_gets_its_address_and_what_goes_with_it(here: Lab, udhcpc_script: Path, guest: str, address: str) -> None:
    given = udhcpc(here, udhcpc_script, guest, "eth0")
    assert {key: given.get(key) for key in ("ip", "mask", "router", "dns", "ntpsrv", "mtu", "lease", "hostname", "serverid")} == {
        "ip": address, "mask": "24", "router": "192.168.122.1", "dns": "192.168.122.1", "ntpsrv": "192.168.122.1", "mtu": "1442",
        "lease": "300", "hostname": guest, "serverid": "192.168.122.1",
    }  # fmt: skip


def test_another_host_gives_the_same_guest_the_same_address(here: Lab, walked: World, udhcpc_script: Path) -> None:
    """With its own MAC from behind a guest of the other host; the answer has to be to all, since its MAC lives elsewhere."""
    mac = walked.fabric.endpoints["web1.eth0"].mac
    with stranger(here, "odd2", mac) as nic:
        given = udhcpc(here, udhcpc_script, "odd2", nic, "-B")
    assert (given.get("ip"), given.get("hostname")) == ("192.168.122.10", "web1")


@pytest.mark.parametrize(("guest", "lowest", "highest"), [("odd1", 100, 109), ("odd2", 110, 119)])
def test_a_stranger_gets_an_address_of_its_hosts_slice(here: Lab, udhcpc_script: Path, guest: str, lowest: int, highest: int) -> None:
    with stranger(here, guest, f"0e:00:00:00:01:{lowest:02x}") as nic:
        given = udhcpc(here, udhcpc_script, guest, nic)
    assert lowest <= int(given["ip"].rpartition(".")[2]) <= highest
    assert given["mtu"] == "1442"


def dhclient6(here: Lab, folder: Path, guest: str, nic: str) -> str:
    """The address that a DHCPv6 client was given; empty: none."""
    said, script = folder / f"{guest}.said", folder / "dhclient.sh"
    script.write_text(f'#!/bin/sh\necho "$reason $new_ip6_address $new_dhcp6_name_servers" >> {folder}/$WHOSE.said\nexit 0\n')
    script.chmod(0o755)
    files = ("-lf", str(folder / f"{guest}.leases"), "-pf", str(folder / f"{guest}.pid"))
    client = here.start(guest, "env", f"WHOSE={guest}", "dhclient", "-6", "-d", *files, "-sf", str(script), "-e", f"WHOSE={guest}", nic)
    try:
        until(lambda: said.exists() and "BOUND6" in said.read_text(), f"{guest} gets no address")
    finally:
        client.terminate()
        client.communicate()
    return next(line for line in said.read_text().splitlines() if line.startswith("BOUND6")).removeprefix("BOUND6 ")


@pytest.mark.parametrize(("guest", "address"), [("web1", "fd00:9::10"), ("web2", "fd00:9::11")])
def test_dhcpv6_gives_a_guest_of_the_model_its_address(here: Lab, folder: Path, guest: str, address: str) -> None:
    assert dhclient6(here, folder, guest, "eth1") == f"{address} fd00:9::1"


def test_a_kernel_forms_its_address_from_an_advertisement_and_takes_no_router_where_there_is_no_way_out(here: Lab) -> None:
    with stranger(here, "odd3", "0e:00:00:00:00:33") as nic:
        here.exec("odd3", "sh", "-c", f"echo 2 > /proc/sys/net/ipv6/conf/{nic}/accept_ra; ip link set {nic} down; ip link set {nic} up")
        until(lambda: "fd00:a::c00:ff:fe00:33/64" in here.exec("odd3", "ip", "-6", "address", "show", "dev", nic).stdout, "no address is formed")
        assert "default" not in here.exec("odd3", "ip", "-6", "route", "show", "dev", nic).stdout
        assert here.exec("odd3", "cat", f"/proc/sys/net/ipv6/conf/{nic}/mtu").stdout.strip() == "1442"


def test_a_kernel_takes_the_gateway_for_its_router_where_there_is_a_way_out(here: Lab) -> None:
    here.exec("wide1", "sh", "-c", "echo 2 > /proc/sys/net/ipv6/conf/eth0/accept_ra; ip link set eth0 down; ip link set eth0 up")
    until(lambda: "proto ra" in here.exec("wide1", "ip", "-6", "route", "show", "default").stdout, "no router is heard of")


# ---- names


def dig(here: Lab, guest: str, *question: str) -> tuple[str, list[str]]:
    """The status, and the short answer."""
    said = here.exec(guest, "dig", "+tries=3", "+time=3", *question).stdout
    status = re.search(r"status: (\w+)", said)
    answer = said.partition("ANSWER SECTION:")[2].partition("\n\n")[0].split("\n")
    return (status[1] if status else "none"), [line.split()[-1] for line in answer if line.strip()]


@pytest.mark.parametrize(
    ("guest", "question", "answer"),
    [
        ("web1", ("@192.168.122.1", "web2"), ["192.168.122.11"]),
        ("web2", ("@192.168.122.1", "web1"), ["192.168.122.10"]),
        ("web1", ("@192.168.122.1", "+tcp", "web3.office"), ["192.168.122.12"]),
        ("web1", ("@192.168.122.1", "-x", "192.168.122.11"), ["web2."]),
        ("web1", ("@fd00:9::1", "web2", "AAAA"), ["fd00:9::11"]),
        ("web1", ("@fd00:9::1", "-x", "fd00:9::11"), ["web2."]),
    ],
)
def test_guests_are_known_by_name_on_every_host(here: Lab, guest: str, question: tuple[str, ...], answer: list[str]) -> None:
    assert dig(here, guest, *question) == ("NOERROR", answer)


def test_a_strangers_own_name_is_known_where_it_is_and_takes_nobodys(here: Lab, udhcpc_script: Path) -> None:
    with stranger(here, "odd1", "0e:00:00:00:00:88") as nic:
        address = udhcpc(here, udhcpc_script, "odd1", nic, "-x", "hostname:visitor")["ip"]
        assert dig(here, "web1", "@192.168.122.1", "visitor") == ("NOERROR", [address])
    for taken, answer in (("web2", ["192.168.122.11"]), ("wpad", [])):
        with stranger(here, "odd1", "0e:00:00:00:00:89") as nic:
            assert udhcpc(here, udhcpc_script, "odd1", nic, "-x", f"hostname:{taken}").get("ip")
            assert dig(here, "web1", "@192.168.122.1", taken)[1] == answer


def test_an_isolated_segment_knows_its_guests_and_nothing_else(here: Lab) -> None:
    assert dig(here, "web1", "@fd00:9::1", "example.org")[0] == "REFUSED"
    status, answer = dig(here, "web1", "@fd00:9::1", "odd1")
    assert (status in ("NXDOMAIN", "REFUSED", "NOERROR"), answer) == (True, [])


@contextmanager
def resolver(here: Lab, folder: Path) -> Iterator[Path]:
    """What `outside` knows of the world, as a resolver there: the file has every question that was asked."""
    log = folder / "resolver.log"
    words = ("--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--listen-address=203.0.113.1", "--bind-interfaces")
    pid = f"--pid-file={folder}/resolver.pid"
    running = here.start("outside", "dnsmasq", *words, pid, "--address=/example.org/198.51.100.9", "--log-queries", f"--log-facility={log}")
    try:
        until(log.exists, "no resolver outside")
        yield log
    finally:
        running.terminate()
        running.communicate()


def test_a_translated_segment_has_the_rest_asked_of_the_hosts_resolvers(here: Lab, folder: Path) -> None:
    with resolver(here, folder) as log:
        for guest in ("web1", "web2"):
            assert dig(here, guest, "@192.168.122.1", f"{guest}.example.org") == ("NOERROR", ["198.51.100.9"])
        assert dig(here, "wide1", "@192.168.2.1", "wide1.example.org") == ("NOERROR", ["198.51.100.9"])
        asked = log.read_text()
    assert "from 203.0.113.11" in asked
    assert "from 203.0.113.12" in asked
    assert "nobody-here" not in asked


# ---- what is killed, what floods


def dnsmasq(here: Lab, host: str, segment: str) -> int:
    try:
        return here.pid(f"{host}/dnsmasq/{segment}")
    except (OSError, ValueError):
        return 0


def test_killed_it_is_back_with_its_leases(here: Lab, udhcpc_script: Path) -> None:
    with stranger(here, "odd1", "0e:00:00:00:00:44") as nic:
        before = udhcpc(here, udhcpc_script, "odd1", nic)["ip"]
        old = dnsmasq(here, "kvm1", "office")
        os.kill(old, signal.SIGKILL)
        until(lambda: dnsmasq(here, "kvm1", "office") not in (0, old), "it does not come back")
        assert udhcpc(here, udhcpc_script, "odd1", nic)["ip"] == before
        assert before in Path(f"/run/weft/{here.fabric}/kvm1/dnsmasq/office.leases").read_text()


def test_an_agent_that_was_killed_finds_it_again(here: Lab) -> None:
    before = dnsmasq(here, "kvm1", "office")
    here.run("lab", "fail", "agent", "kvm1", "--fabric", here.fabric)
    here.run("lab", "heal", "agent", "kvm1", "--fabric", here.fabric)
    os.kill(dnsmasq(here, "kvm1", "six"), signal.SIGKILL)
    until(lambda: dig(here, "web1", "@fd00:9::1", "web2", "AAAA")[0] == "NOERROR", "the agent does not start what was killed")
    assert dnsmasq(here, "kvm1", "office") == before


def test_a_lease_is_shown_with_its_guest_and_a_strangers_on_a_line_of_its_own(here: Lab, udhcpc_script: Path) -> None:
    udhcpc(here, udhcpc_script, "web2", "eth0")
    with stranger(here, "odd2", "0e:00:00:00:00:55") as nic:
        address = udhcpc(here, udhcpc_script, "odd2", nic)["ip"]
    until(lambda: [row for row in here.show("guests") if row["ips"] == [address]], "the lease is not shown")
    rows = here.show("guests")
    row = next(row for row in rows if row["ips"] == [address])
    assert (row["endpoint"], row["host"], row["segment"], row["mac"], row["state"]) == ("", "kvm2", "office", "0e:00:00:00:00:55", "leased")
    until(lambda: next(row for row in here.show("guests") if row["endpoint"] == "web2.eth0")["lease"], "the guest's lease is not shown")
    assert next(row for row in here.show("guests") if row["endpoint"] == "web2.eth0")["lease"][0].startswith("192.168.122.11 until 20")


def dropped(here: Lab, walked: World, endpoint: str) -> int:
    """Packets that the meter of an endpoint's requests has dropped."""
    fabric = walked.fabric
    one = fabric.endpoints[endpoint]
    host = fabric.hosts[one.host]
    meters = Compiler().compile(fabric, facts({}))[host.dpid].meters
    number = next(meter.number for meter in meters if one.path in meter.why and meter.rate == REQUESTS)
    said = here.ovs(host.name, "ovs-ofctl", "-OOpenFlow14", "meter-stats", host.bridge, f"meter={number}")
    found = re.search(r"0: packet_count:(\d+)", said)
    assert found, said
    return int(found[1])


FLOOD = """
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
frame = bytearray(bytes.fromhex(sys.argv[1]))
print("flooding", flush=True)
number = 0
while True:
    number += 1
    frame[46:50] = number.to_bytes(4, "big")
    try:
        s.send(frame)
    except OSError:
        time.sleep(0.001)
    if not number % 20:
        time.sleep(0.005)
"""


def test_a_storm_from_one_guest_starves_nobody(here: Lab, walked: World, udhcpc_script: Path) -> None:
    """Four thousand requests a second of a guest, each a new one; others are served at once, its own are few."""
    mac = mac_number(walked.stations["web3.eth0"].mac)
    body = bytes((1, 1, 6, 0)) + bytes(24) + mac.to_bytes(6, "big") + bytes(202) + bytes.fromhex("63825363 350101 ff")
    before = dropped(here, walked, "web3.eth0")
    frame = to_bytes(discover(walked, "web3.eth0"), body)
    storm = here.start("web3", "python3", "-c", FLOOD, frame.hex())
    try:
        assert storm.stdout is not None
        assert storm.stdout.readline() == "flooding\n"
        until(lambda: dropped(here, walked, "web3.eth0") > before + 2000, "the meter drops nothing")
        assert udhcpc(here, udhcpc_script, "web1", "eth0", tries=4).get("ip") == "192.168.122.10"
        with stranger(here, "odd1", "0e:00:00:00:00:66") as nic:
            assert udhcpc(here, udhcpc_script, "odd1", nic, tries=4).get("ip", "").startswith("192.168.122.10")
        assert dig(here, "web1", "@192.168.122.1", "web2") == ("NOERROR", ["192.168.122.11"])
    finally:
        storm.kill()
        storm.communicate()
    assert dropped(here, walked, "web1.eth0") == 0
    until(lambda: udhcpc(here, udhcpc_script, "web3", "eth0", tries=2).get("ip") == "192.168.122.12", "the guest itself is served no more")


# ---- what changes


def test_a_guest_more_is_known_at_once_by_the_processes_that_run(here: Lab, folder: Path) -> None:
    before = dnsmasq(here, "kvm1", "office"), dnsmasq(here, "kvm2", "office")
    more = folder / "more.yaml"
    more.write_text(here.file.read_text().replace("guests:", "guests:\n  new1: {host: kvm2, nics: [{segment: office, ip: 192.168.122.77}]}"))
    here.run("apply", more)
    for guest in ("web1", "web2"):
        until(lambda guest=guest: dig(here, guest, "@192.168.122.1", "new1") == ("NOERROR", ["192.168.122.77"]), "nobody knows it")
    assert (dnsmasq(here, "kvm1", "office"), dnsmasq(here, "kvm2", "office")) == before
    silent = folder / "silent.yaml"
    silent.write_text(here.file.read_text().replace("auto: {mode", "auto: {ra: false, mode"))
    here.run("apply", silent)
    until(lambda: dnsmasq(here, "kvm1", "auto") == 0, "who has nothing to say any more does not end")
    here.run("apply", here.file)
    until(lambda: dnsmasq(here, "kvm1", "auto") != 0, "it does not come back")


def test_every_process_carries_the_labs_mark(here: Lab) -> None:
    for host in ("kvm1", "kvm2"):
        for segment in ("office", "six", "auto"):
            settings = Path(f"/proc/{dnsmasq(here, host, segment)}/environ").read_bytes().split(b"\0")
            assert f"WEFT_LAB={here.fabric}".encode() in settings


def test_doctor_knows_of_dnsmasq() -> None:
    found = json.loads(weft("doctor", "--json").stdout)
    assert [finding for finding in found if finding["about"] == "dnsmasq" and finding["verdict"] == "ok"]
