"""Addresses by DHCP: offers a second to guests that all ask at once, and the slowest offer while another guest floods the server.

The peer of the first is dnsmasq alone on a Linux bridge, which is what libvirt runs; of the second the same guest without the flood.
"""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.lab import weft
from bench.spaces import cable, python, run
from bench.table import Figure, alternate

NAME, GUESTS = "benchdhcp", 6
MAC = "0e:0e:00:00:01:{:02x}"
FLOOD, SECONDS, PAUSE = 5000, 3.0, 0.25
FABRIC = f"""
fabric: {NAME}
segments:
  db: {{mode: isolated, subnets: [10.0.9.0/24], dhcp: {{range: 10.0.9.100-10.0.9.199}}}}
hosts:
  kvm1: {{address: 10.10.10.1/24}}
guests:
"""


def fabric() -> str:
    return FABRIC + "".join(f"  g{n}: {{host: kvm1, nics: [{{segment: db, ip: 10.0.9.{10 + n}}}]}}\n" for n in range(GUESTS))


def figures() -> Iterable[Figure]:
    with lab() as ours, beside() as peer:
        rates = alternate(lambda: together(ours), lambda: together(peer), 3)
        peer_name, note = "dnsmasq on a Linux bridge", "weft meters each guest's questions"
        yield Figure(f"DHCP offers to {GUESTS} guests that ask at once", "1/s", *rates, peer_name, note=note)
        slow, quiet = alternate(lambda: slowest(ours, flooded=True), lambda: slowest(ours, flooded=False), 3)
        yield Figure(f"slowest DHCP offer while a guest sends {FLOOD:,}/s", "ms", slow, quiet, "the same without the flood")
        there = tuple(slowest(peer, flooded=True) for _ in range(3))
        yield Figure(f"the same with {peer_name}", "ms", there, None, "")


def together(spaces: list[str]) -> float:
    """Offers a second, of all of them."""
    asking = [python(space, "bench.leases", "ask", "eth0", "--seconds", SECONDS) for space in spaces]
    return sum(float(one.communicate(timeout=60)[0].split()[0]) for one in asking)


def slowest(spaces: list[str], flooded: bool) -> float:
    """Milliseconds that the slowest of some questions took, in a guest that asks now and then."""
    flooding = python(spaces[1], "bench.leases", "flood", "eth0", "--rate", FLOOD, "--seconds", SECONDS + 2) if flooded else None
    asking = python(spaces[0], "bench.leases", "ask", "eth0", "--seconds", SECONDS, "--pause", PAUSE)
    taken = float(asking.communicate(timeout=60)[0].split()[1])
    if flooding is not None:
        flooding.communicate(timeout=60)
    return taken


@contextmanager
def lab() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{NAME}.yaml"
        file.write_text(fabric())
        weft("lab", "down", NAME)
        weft("lab", "up", file)
    try:
        yield [f"weft.{NAME}.g{n}" for n in range(GUESTS)]
    finally:
        weft("lab", "down", NAME)


@contextmanager
def beside() -> Iterator[list[str]]:
    """Namespaces with the lab's name, which go with it."""
    host, guests = f"weft.{NAME}.linux", [f"weft.{NAME}.l{n}" for n in range(GUESTS)]
    run("ip", "netns", "add", host)
    run("ip", "-n", host, "link", "set", "lo", "up")
    run("ip", "-n", host, "link", "add", "virbr0", "type", "bridge", "forward_delay", "0")
    run("ip", "-n", host, "link", "set", "virbr0", "up")
    run("ip", "-n", host, "addr", "add", "10.0.9.1/24", "dev", "virbr0")
    for number, guest in enumerate(guests):
        run("ip", "netns", "add", guest)
        cable(host, f"g{number}", guest, "eth0", mac=MAC.format(number))
        run("ip", "-n", host, "link", "set", f"g{number}", "master", "virbr0")
    with tempfile.TemporaryDirectory() as folder:
        words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--log-facility=/dev/null"]
        words += ["--bind-interfaces", "--interface=virbr0", "--dhcp-range=10.0.9.100,10.0.9.199"]
        words += [f"--dhcp-leasefile={folder}/leases", f"--pid-file={folder}/pid"]
        words += [f"--dhcp-host={MAC.format(number)},10.0.9.{10 + number}" for number in range(GUESTS)]
        command = ("ip", "netns", "exec", host, *words)
        with subprocess.Popen(command) as serving:
            try:
                yield guests
            finally:
                serving.terminate()
