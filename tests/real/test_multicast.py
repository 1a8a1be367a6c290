"""Multicast snooping with real kernels: who joined gets it, across hosts, who left or never asked does not, whatever dies meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.real.labs import Lab, lab
from tests.real.test_services import wait_for
from tests.real.test_trace import once, within
from tests.real.trace import packet_text
from weft.agents import lab as labs
from weft.agents import processes
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.facts import facts
from weft.apps.fields import UDP
from weft.apps.packet import Packet
from weft.apps.world import World
from weft.cli.stores import look
from weft.topology.server import default_target

pytestmark = pytest.mark.real

TEXT = """
fabric: grpcast
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [ens224]}}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [ens224]}}}
segments:
  club: {mode: isolated, subnets: [10.0.9.0/24, "fd00:9::/64"], ra: false, multicast: snoop}
  lan: {mode: bridged, uplink: physnet, vlan: 5, multicast: snoop}
guests:
  l1: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.1/24}]}
  l2: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.2/24}]}
  l3: {host: kvm2, nics: [{segment: lan, ip: 10.5.0.3/24}]}
  a1: {host: kvm1, nics: [{segment: club}]}
  a2: {host: kvm1, nics: [{segment: club}]}
  a3: {host: kvm1, nics: [{segment: club}]}
  b1: {host: kvm2, nics: [{segment: club}]}
  b2: {host: kvm2, nics: [{segment: club}]}
"""
CLUB = ("a1", "a2", "a3", "b1", "b2")
LAN = ("l1", "l2", "l3")
G4, G6 = "239.1.2.3", "ff15::123"
HOLD = """
import ipaddress, socket, struct, sys
for text in sys.argv[1:]:
    group = ipaddress.ip_address(text)
    if group.version == 4:
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        held.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4xi", group.packed, socket.if_nametoindex("eth0")))
    else:
        held = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("16si", group.packed, socket.if_nametoindex("eth0")))
    globals()[text] = held
print("joined", flush=True)
sys.stdin.read()
"""
LISTEN = """
import socket, sys
hearing = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
hearing.bind(("eth0", 0))
print("listening", flush=True)
while True:
    frame = hearing.recv(2048)
    at = frame.find(b"word:")
    if at >= 0:
        print(frame[at:].split()[0].decode().removeprefix("word:"), flush=True)
"""
"""Hears what comes out of the wire, whether its kernel wants it or not."""
SEND = """
import ipaddress, socket, sys
group = ipaddress.ip_address(sys.argv[1])
by = socket.socket(socket.AF_INET if group.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
if group.version == 4:
    by.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
    by.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    by.sendto(f"word:{sys.argv[2]} ".encode(), (str(group), 5000))
else:
    by.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 4)
    by.sendto(f"word:{sys.argv[2]} ".encode(), (str(group), 5000, 0, socket.if_nametoindex("eth0")))
"""


class Club:
    """A lab in which every guest listens to its wire."""

    def __init__(self, here: Lab) -> None:
        self.lab = here
        self.listening = {name: self._start(name, LISTEN) for name in (*CLUB, *LAN)}
        self._words = 0
        self._said = dict.fromkeys(self.listening, b"")

    def _start(self, name: str, code: str, *args: str) -> subprocess.Popen[str]:
        space = ("ip", "netns", "exec", f"weft.{self.lab.fabric}.{name}")
        command = [*space, sys.executable, "-c", code, *args]
        started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert started.stdout
        started.stdout.readline()  # all there is until it hears something
        os.set_blocking(started.stdout.fileno(), False)
        return started

    @contextmanager
    def joined(self, *names: str, groups: tuple[str, ...] = (G4, G6)) -> Iterator[None]:
        """These guests are members for as long as the block runs, and leave as a kernel does."""
        held = [self._start(name, HOLD, *groups) for name in names]
        try:
            yield
        finally:
            for one in held:
                one.communicate("")

    def hear(self, sender: str, group: str) -> set[str]:
        """Who got one datagram to a group. One to everybody on the link comes behind it: when that was heard, so would the first have been."""
        self._words += 1
        word, last = f"{self._words}", f"last{self._words}"
        everybody = "224.0.0.251" if "." in group else "ff02::fb"
        for where, what in ((group, word), (everybody, last)):
            done = self.lab.exec(sender, sys.executable, "-c", SEND, where, what)
            assert done.returncode == 0, done.stderr
        heard: dict[str, set[str]] = {name: set() for name in (CLUB if sender in CLUB else LAN) if name != sender}
        wait_for(lambda: all([last in self._more(name, words) for name, words in heard.items()]), 10)  # noqa: C419  all are read
        return {name for name, words in heard.items() if word in words}

    def _more(self, name: str, words: set[str]) -> set[str]:
        out = self.listening[name].stdout
        assert out
        with suppress(BlockingIOError):
            self._said[name] += os.read(out.fileno(), 1 << 16)
        *lines, self._said[name] = self._said[name].split(b"\n")
        words |= {line.decode() for line in lines}
        return words

    def until(self, sender: str, group: str, names: set[str]) -> None:
        """Waits until exactly these get what is sent to a group."""
        wait_for(lambda: self.hear(sender, group) == names)

    def stop(self) -> None:
        for one in self.listening.values():
            one.kill()
            one.communicate()


@pytest.fixture(scope="module")
def club(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Club]:
    file: Path = tmp_path_factory.mktemp("grpcast") / "grpcast.yaml"
    file.write_text(TEXT)
    with lab(file, "grpcast") as here:
        while any("tentative" in here.exec(name, "ip", "-6", "address").stdout for name in (*CLUB, *LAN)):
            time.sleep(0.1)  # a guest sends no multicast before its own address is known to be nobody else's (RFC 4862, 5.4)
        made = Club(here)
        try:
            yield made
        finally:
            made.stop()


@pytest.mark.parametrize("group", [G4, G6])
def test_a_group_that_nobody_ever_joined_is_flooded(club: Club, group: str) -> None:
    other = str(ip_address(group) + 77)
    assert club.hear("a1", other) == {*CLUB} - {"a1"}


@pytest.mark.parametrize("group", [G4, G6])
def test_who_joined_gets_it_and_who_left_does_not(club: Club, group: str) -> None:
    with club.joined("a2", "b1"):
        club.until("a1", group, {"a2", "b1"})
        club.until("b2", group, {"a2", "b1"})
        with club.joined("a3", groups=(group,)):
            club.until("a1", group, {"a2", "a3", "b1"})
        club.until("a1", group, {"a2", "b1"})
    club.until("a1", group, set())


@pytest.mark.parametrize(("group", "setting"), [(G4, "ipv4/conf/eth0/force_igmp_version=2"), (G6, "ipv6/conf/eth0/force_mld_version=1")])
def test_older_kernels_are_understood(club: Club, group: str, setting: str) -> None:
    key, _, value = setting.partition("=")
    for version in (value, "0"):
        done = club.lab.exec("a3", "sh", "-c", f"echo {version} > /proc/sys/net/{key}")
        assert done.returncode == 0, done.stderr
        with club.joined("a3", "b2"):
            club.until("a1", group, {"a3", "b2"})
        club.until("a1", group, set())


def test_guests_on_the_wire_get_what_they_joined_wherever_they_are(club: Club) -> None:
    with club.joined("l3", groups=(G4,)):
        club.until("l1", G4, {"l3"})
        with club.joined("l2", groups=(G4,)):
            club.until("l1", G4, {"l2", "l3"})
            club.until("l3", G4, {"l2"})
        club.until("l1", G4, {"l3"})


def test_what_nobody_on_a_host_joined_does_not_cross_the_tunnel(club: Club) -> None:
    with club.joined("a2"):
        club.until("a1", G4, {"a2"})
        before = received(club)
        for _ in range(10):
            club.lab.exec("a1", sys.executable, "-c", SEND, G4, "kept")
        assert received(club) - before < 10


def received(club: Club) -> int:
    """Packets that kvm2 got by its tunnel."""
    ports = club.lab.ovs("kvm2", "ovs-ofctl", "-OOpenFlow14", "dump-ports", "br-weft", "t.kvm1")
    return int(ports.split("rx pkts=")[1].split(",")[0])


def test_switches_keep_what_they_know_while_the_controller_is_away_and_it_asks_when_it_is_back(club: Club) -> None:
    with club.joined("a2", "b1"):
        club.until("a1", G4, {"a2", "b1"})
        os.kill(club.lab.pid("controller"), signal.SIGKILL)
        for _ in range(3):
            assert club.hear("a1", G4) == {"a2", "b1"}
            assert club.hear("b2", G6) == {"a2", "b1"}
        restart(club)
        wait_for(lambda: all(row["state"] == "in sync" for row in club.lab.show("switches")))
        heard = club.hear("a1", G4)
        assert heard >= {"a2", "b1"}, "nothing is lost meanwhile"
        club.until("a1", G4, {"a2", "b1"})
        club.until("a1", G6, {"a2", "b1"})


def restart(club: Club) -> None:
    """Its controller again, as `weft lab` starts it."""
    here = labs.read(club.lab.fabric)
    assert here
    process = next(process for process in here.processes if process.name == "controller")
    processes.start(process, here.fabric, here.folder)


# ---- the same in memory and asked of the switch


def multicast(here: World, sender: str, group: str, **fields: int) -> Packet:
    me, to = here.stations[f"{sender}.eth0"], ip_address(group)
    own = next(own for own in me.own if own.version == to.version)
    mac = 0x01005E000000 | int(to) & 0x7FFFFF if to.version == 4 else 0x3333 << 32 | int(to) & 0xFFFFFFFF
    return {**p.datagram(me.mac, mac, own, to, UDP, udp_src=5000, udp_dst=5000), **fields}


def igmp(here: World, sender: str, group: str) -> Packet:
    return {name: value for name, value in multicast(here, sender, group).items() if not name.startswith("udp")} | {"ip_proto": 2}


def mld(here: World, sender: str, kind: int) -> Packet:
    plain = multicast(here, sender, "ff02::16")
    return {name: value for name, value in plain.items() if not name.startswith("udp")} | {"ip_proto": 58, "icmpv6_type": kind}


CASES: dict[str, Callable[[World], tuple[str, Packet]]] = {
    "a group that some joined": lambda w: ("a1", multicast(w, "a1", G4)),
    "and from another host": lambda w: ("b2", multicast(w, "b2", G4)),
    "an IPv6 group": lambda w: ("a1", multicast(w, "a1", G6)),
    "a group that nobody joined": lambda w: ("a1", multicast(w, "a1", "239.9.9.9")),
    "what is for the link": lambda w: ("a1", multicast(w, "a1", "224.0.0.251")),
    "a report": lambda w: ("a1", igmp(w, "a1", "224.0.0.22")),
    "a query": lambda w: ("a1", igmp(w, "a1", "224.0.0.1")),
    "an MLD report": lambda w: ("b1", mld(w, "b1", 143)),
    "an MLD query": lambda w: ("b1", mld(w, "b1", 130)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_real_switch_meets_the_flows_that_the_walk_met(club: Club, case: str) -> None:
    seen = look(default_target(club.lab.fabric))
    with club.joined("a2", "b1"):
        for group in (G4, G6):
            club.until("a1", group, {"a2", "b1"})
        groups = {("club", ip_address(group)): ("a2.eth0", "b1.eth0") for group in (G4, G6)}
        known = replace(facts(seen.states), joined=groups)
        here = World(seen.fabric, Compiler().compile(seen.fabric, known), known)
        name, packet = CASES[case](here)
        endpoint = seen.fabric.endpoints[f"{name}.eth0"]
        host = seen.fabric.hosts[endpoint.host]
        traced = club.lab.ovs(host.name, "ovs-appctl", "ofproto/trace", host.bridge, packet_text(packet, endpoint.port))
        assert within(traced, host.bridge) == once(here.send(endpoint.name, packet), f"{host.name}/{host.bridge}")
