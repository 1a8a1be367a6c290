"""The pipeline against ``NORMAL``: the same Open vSwitch, the same datapath, a bridge of weft's beside one that only switches.

A lab of one host with two guests, and in that host's Open vSwitch a second bridge with two namespaces and the one flow
``actions=NORMAL``. Every figure is measured on both in turn.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.lab import weft
from bench.table import Figure, alternate
from weft.cli.stores import look
from weft.topology.server import default_target

NAME = "benchdp"
FABRIC = f"""
fabric: {NAME}
segments:
  db: {{mode: isolated, subnets: [10.0.9.0/24]}}
hosts:
  kvm1: {{address: 10.10.10.1/24}}
guests:
  one: {{host: kvm1, nics: [{{segment: db, ip: 10.0.9.11}}]}}
  two: {{host: kvm1, nics: [{{segment: db, ip: 10.0.9.12}}]}}
"""
SECONDS = 2.0
NEW_FLOWS = 20_000
TRAFFIC = Path(__file__).with_name("traffic.py")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two namespaces on one bridge, each with an ``eth0``."""

    spaces: tuple[str, str]
    macs: tuple[str, str]
    addresses: tuple[str, str]

    def tcp(self) -> float:
        """Megabits a second that one iperf3 stream gets through."""
        server = subprocess.Popen(["ip", "netns", "exec", self.spaces[1], "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.3)
            done = _run(*_in(self.spaces[0]), "iperf3", "-J", "-t", str(SECONDS), "-c", self.addresses[1])
            return float(json.loads(done)["end"]["sum_received"]["bits_per_second"]) / 1e6
        finally:
            server.kill()
            server.wait()

    def packets(self) -> float:
        """Small packets of one conversation received a second."""
        return self._send(0, "nothing")[1] / SECONDS

    def new_flows(self) -> float:
        """Share of packets received when each is of a new conversation, 20,000 a second."""
        sent, seen = self._send(NEW_FLOWS, "port")
        return seen / sent

    def _send(self, rate: int, vary: str) -> tuple[int, int]:
        counter = [*_in(self.spaces[1]), sys.executable, TRAFFIC, "count", "eth0", "--force"]
        with subprocess.Popen(counter, stdout=subprocess.PIPE, text=True) as counting:
            assert counting.stdout is not None
            counting.stdout.readline()
            words = ["eth0", *self.macs, *self.addresses, "--rate", str(rate), "--seconds", str(SECONDS), "--vary", vary]
            sent = int(_run(*_in(self.spaces[0]), sys.executable, TRAFFIC, "send", *words))
            return sent, int(counting.stdout.readline())


def figures() -> Iterable[Figure]:
    with pairs() as (ours, normal):
        for pair in (ours, normal):
            pair.packets()
        peer = "NORMAL on the same datapath"
        yield Figure("TCP on one bridge", "Mbit/s", *alternate(ours.tcp, normal.tcp), peer, (">=", 0.95))
        yield Figure("small packets on one bridge", "packets/s", *alternate(ours.packets, normal.packets), peer, (">=", 0.95))
        shares = alternate(ours.new_flows, normal.new_flows)
        yield Figure("20,000 new flows a second between known guests, delivered", "share", *shares, peer, (">=", 0.99))


@contextmanager
def pairs() -> Iterator[tuple[Pair, Pair]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{NAME}.yaml"
        file.write_text(FABRIC)
        weft("lab", "down", NAME)
        weft("lab", "up", file)
    try:
        endpoints = look(default_target(NAME)).fabric.endpoints
        macs = endpoints["one.eth0"].mac, endpoints["two.eth0"].mac
        yield Pair((f"weft.{NAME}.one", f"weft.{NAME}.two"), macs, ("10.0.9.11", "10.0.9.12")), _normal()
    finally:
        weft("lab", "down", NAME)


def _normal() -> Pair:
    """The peer: its namespaces go with the lab, whose names they have."""
    macs, addresses = ("0e:00:00:00:00:01", "0e:00:00:00:00:02"), ("10.0.8.11", "10.0.8.12")
    spaces = (f"weft.{NAME}.n1", f"weft.{NAME}.n2")
    _vsctl("add-br", "normal0", "--", "set", "bridge", "normal0", "datapath_type=netdev", "fail_mode=standalone")
    for number, (space, mac, address) in enumerate(zip(spaces, macs, addresses, strict=True)):
        port, host = f"n{number}", f"weft.{NAME}.kvm1"
        _run("ip", "netns", "add", space)
        _run("ip", "-n", host, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        _run("ip", "-n", space, "link", "set", "eth0", "address", mac, "mtu", "1442", "up")
        _run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        _run("ip", "-n", host, "link", "set", port, "mtu", "1442", "up")
        for where, device in ((space, "eth0"), (host, port)):
            _run(*_in(where), "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        deaf = f'table netdev bench{number} {{ chain d {{ type filter hook ingress device "{port}" priority 0; policy drop; }}\n}}\n'
        _run(*_in(host), "nft", "-f", "-", given=deaf)
        _vsctl("add-port", "normal0", port)
    return Pair(spaces, macs, addresses)


def _in(space: str) -> tuple[str, ...]:
    return "ip", "netns", "exec", space


def _vsctl(*words: str) -> None:
    _run("ovs-vsctl", f"--db=unix:/run/weft/{NAME}/kvm1/db.sock", *words)


def _run(*words: object, given: str | None = None) -> str:
    done = subprocess.run([str(word) for word in words], input=given, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout
