"""One list of questions to put to a machine with a NAT, a routed and an isolated network, whoever made them, and how to put them.

Both machines have the same stations and addresses: two guests on each network, the host, and `outside` on the wire behind it.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network

from tests.real.labs import ROOT

KINDS = ("nat", "routed", "isolated")
NETWORKS = dict(zip(KINDS, map(IPv4Network, ("192.168.122.0/24", "192.168.2.0/24", "10.0.9.0/24")), strict=True))
OUTSIDE, HOST = "203.0.113.1", "203.0.113.11"
PORT = 7000
ASK = (sys.executable, "-m", "tests.real.ask")
AT_ONCE = 6


def address(guest: str) -> str:
    """``nat1`` is at .11 of its network."""
    return str(NETWORKS[guest[:-1]][10 + int(guest[-1])])


def gateway(kind: str) -> str:
    return str(NETWORKS[kind][1])


GUESTS = tuple(f"{kind}{number}" for kind in KINDS for number in (1, 2))
STATIONS = (*GUESTS, "host", "outside")


@dataclass(frozen=True, slots=True)
class Probe:
    """A question: who asks, how (``tcp``, ``udp``, ``ping``, ``hop``, ``dhcp``, ``dns``) and whom."""

    name: str
    station: str
    how: str
    target: str


def _probes() -> Iterator[Probe]:
    for kind in KINDS:
        one, two = f"{kind}1", f"{kind}2"
        yield Probe(f"{kind} guest to its neighbour, tcp", one, "tcp", address(two))
        yield Probe(f"{kind} guest to its gateway, ping", one, "ping", gateway(kind))
        for how in ("tcp", "udp", "ping"):
            yield Probe(f"{kind} guest to outside, {how}", one, how, OUTSIDE)
        yield Probe(f"{kind} guest's first hop to outside", one, "hop", OUTSIDE)
        yield Probe(f"outside to {kind} guest, tcp", "outside", "tcp", address(one))
        yield Probe(f"{kind} guest to the host by its gateway's address, tcp", one, "tcp", gateway(kind))
        yield Probe(f"{kind} guest to the host by its own address, tcp", one, "tcp", HOST)
        yield Probe(f"the host to {kind} guest, tcp", "host", "tcp", address(one))
        yield Probe(f"{kind} guest gets its address by DHCP", one, "dhcp", address(one))
        yield Probe(f"{kind} guest resolves its neighbour's name", one, "dns", two)
        for other in KINDS:
            if other != kind:
                yield Probe(f"{kind} guest to {other} guest, tcp", one, "tcp", address(f"{other}1"))


PROBES = tuple(_probes())


class Machine:
    """Where the questions are put: `space` gives a station's namespace."""

    def __init__(self, space: Callable[[str], str]) -> None:
        self.space = space

    def run(self, station: str, *command: str) -> subprocess.CompletedProcess[str]:
        inside = ("ip", "netns", "exec", self.space(station))
        return subprocess.run([*inside, *command], cwd=ROOT, capture_output=True, text=True, timeout=60)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Every station answers."""
        servers = [self._serve(station) for station in STATIONS]
        try:
            yield
        finally:
            for server in servers:
                server.kill()
                server.communicate()

    def _serve(self, station: str) -> "subprocess.Popen[str]":
        command = ("ip", "netns", "exec", self.space(station), *ASK, "serve", station, str(PORT))
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        return server

    def answers(self) -> dict[str, str]:
        """What comes of each question, by its name."""
        with self.serving(), ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip((probe.name for probe in PROBES), pool.map(self.answer, PROBES), strict=True))

    def answer(self, probe: Probe) -> str:
        return getattr(self, f"_{probe.how}")(probe)  # type: ignore[no-any-return]

    def _tcp(self, probe: Probe) -> str:
        return self._asked(probe, "tcp", probe.target, str(PORT))

    def _udp(self, probe: Probe) -> str:
        return self._asked(probe, "udp", probe.target, str(PORT))

    def _asked(self, probe: Probe, *words: str) -> str:
        """``yes``, with whom the other one saw; or ``no``, whether refused or unanswered."""
        said = self.run(probe.station, *ASK, *words).stdout.strip()
        name, _, seen = said.partition(" saw ")
        if not seen:
            return "no"
        own = HOST if probe.station == "host" else OUTSIDE if probe.station == "outside" else address(probe.station)
        who = {own: "as itself", HOST: "as the host"} | {gateway(kind): "as the gateway" for kind in KINDS}
        return f"yes, {who.get(seen, f'as {seen}')}" + ("" if self._is(name, probe.target) else f", by {name}")

    def _is(self, name: str, target: str) -> bool:
        if name == "host":
            return target in (HOST, *map(gateway, KINDS))
        return target == (OUTSIDE if name == "outside" else address(name))

    def _ping(self, probe: Probe) -> str:
        done = self.run(probe.station, "ping", "-c", "2", "-i", "0.2", "-W", "1", probe.target)
        return "no" if done.returncode else "yes"

    def _hop(self, probe: Probe) -> str:
        """Who says that a packet's time is over (RFC 792), as traceroute asks."""
        said = self.run(probe.station, "ping", "-n", "-c", "2", "-i", "0.3", "-W", "1", "-t", "1", probe.target).stdout
        line = next((line for line in said.splitlines() if line.startswith("From ")), "")
        who = line.split()[1] if line else "nobody"
        named = "its gateway" if who == gateway(probe.station[:-1]) else who
        return named if "exceeded" in line or not line else f"{named}, that it is forbidden" if "filtered" in line else line

    def _dhcp(self, probe: Probe) -> str:
        return "yes" if self._leased(probe.station) == probe.target else "no"

    def _leased(self, station: str) -> str:
        words = ("udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "4", "-T", "1", "-s", "/bin/true")
        done = self.run(station, *words)
        _, _, said = (done.stdout + done.stderr).partition("lease of ")
        return said.partition(" ")[0]

    def _dns(self, probe: Probe) -> str:
        """Of a neighbour that has asked for its address: libvirt knows no name before."""
        self._leased(probe.target)
        said = self.run(probe.station, *ASK, "dns", gateway(probe.station[:-1]), probe.target).stdout.strip()
        return "yes" if said == address(probe.target) else "no"
