"""Namespaces, cables and what is measured between them, the same for weft and for its peers."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SECONDS = 2.0
CONNECTIONS = 5_000
OFFLOADS = ("tx", "tso", "gso", "gro")


def run(*words: object, given: str | None = None) -> str:
    done = subprocess.run([str(word) for word in words], input=given, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def inside(space: str, *words: object) -> str:
    return run("ip", "netns", "exec", space, *words)


def python(space: str, module: str, *words: object) -> "subprocess.Popen[str]":
    """A module of the bench that runs in a namespace; its output is the caller's."""
    command = ("ip", "netns", "exec", space, sys.executable, "-m", module, *map(str, words))
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def offloads(space: str, device: str, on: bool) -> None:
    """Checksums and segments by the device, or finished before: Open vSwitch's userspace datapath wants them finished."""
    inside(space, "ethtool", "-K", device, *(word for one in OFFLOADS for word in (one, "on" if on else "off")))


def cable(space: str, port: str, other: str, device: str, mtu: int = 1500, mac: str = "") -> None:
    """A veth pair between two namespaces, up at both ends; `mac` is that of the other end."""
    address = ("address", mac) if mac else ()
    run("ip", "-n", space, "link", "add", port, "mtu", mtu, "type", "veth", "peer", "name", device, "mtu", mtu, *address, "netns", other)
    run("ip", "-n", space, "link", "set", port, "up")
    run("ip", "-n", other, "link", "set", device, "up")


def guest(space: str, port: str, name: str, mac: str, address: str, gateway: str, mtu: int) -> None:
    """A namespace with one interface ``eth0``, whose other end is `port` in `space`."""
    run("ip", "netns", "add", name)
    cable(space, port, name, "eth0", mtu, mac)
    run("ip", "-n", name, "addr", "add", address, "dev", "eth0")
    run("ip", "-n", name, "route", "add", "default", "via", gateway)


def deaf(space: str, *devices: str) -> None:
    """What Open vSwitch's userspace datapath reads from a device, the kernel hears too: here it does not."""
    for device in devices:
        rule = f'table netdev deaf-{device} {{ chain d {{ type filter hook ingress device "{device}" priority 0; policy drop; }}\n}}\n'
        run("ip", "netns", "exec", space, "nft", "-f", "-", given=rule)


@dataclass(frozen=True, slots=True)
class Way:
    """From a client's namespace to an address in a server's."""

    client: str
    server: str
    address: str
    forget: Callable[[], object] = lambda: None
    """Empties what is remembered of connections: each measurement begins afresh."""

    def ready(self) -> None:
        """Waits until a ping comes back."""
        end = time.monotonic() + 20
        while subprocess.run(["ip", "netns", "exec", self.client, "ping", "-c1", "-W1", self.address], capture_output=True).returncode:
            if time.monotonic() > end:
                raise RuntimeError(f"{self.client} does not reach {self.address}")

    def tcp(self) -> float:
        """Megabits a second that one iperf3 stream gets through; 0: none."""
        server = subprocess.Popen(["ip", "netns", "exec", self.server, "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.3)
            words = ("iperf3", "-J", "-t", str(SECONDS), "-c", self.address)
            done = subprocess.run(["ip", "netns", "exec", self.client, *words], capture_output=True, text=True, timeout=SECONDS + 8)
            return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e6
        except subprocess.TimeoutExpired:
            return 0.0
        finally:
            server.kill()
            server.wait()

    def connections(self) -> float:
        """New connections a second, each with a question and an answer: so many that no port comes again."""
        self.forget()
        with serving(self.server, self.address):
            asking = python(self.client, "bench.connections", "ask", self.address, "--most", CONNECTIONS)
            return float(asking.communicate(timeout=60)[0].split()[0])

    def packets(self) -> float:
        """Small packets of one conversation received a second, by way of kernels that route: UDP from socket to socket."""
        sink = python(self.server, "bench.datagrams", "count", self.address)
        assert sink.stdout is not None
        sink.stdout.readline()
        python(self.client, "bench.datagrams", "send", self.address, "--seconds", SECONDS).wait(60)
        return int(sink.communicate(timeout=60)[0]) / SECONDS


@contextmanager
def serving(space: str, address: str) -> Iterator[None]:
    server = python(space, "bench.connections", "serve", address)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        yield
    finally:
        server.kill()
        server.communicate()
