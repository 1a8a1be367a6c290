"""Translation on the way out: weft against OVN on the same datapath, and against a Linux bridge with masquerading, as libvirt does it.

All leave by one wire, the lab's, to one server, its `outside`. The Linux peer keeps its offloads, as anybody's would; weft is measured
with Open vSwitch's ``userspace-tso-enable`` off, which is the default, and on. Connections are few, and forgotten before
each measurement: with tens of thousands under OVN, ovs-vswitchd 3.1.0 ends itself (``conn_update_state`` in its log; docs/development.md).
"""

import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.lab import weft
from bench.ovn import Ovn, ovn
from bench.spaces import Way, cable, deaf, guest, inside, offloads, run
from bench.table import Figure, alternate

NAME = "benchnat"
FABRIC = f"""
fabric: {NAME}
segments:
  office: {{mode: nat, subnets: [192.168.122.0/24], uplink: physnet}}
hosts:
  kvm1: {{address: 10.10.10.1/24, uplinks: {{physnet: {{nics: [ens224]}}}}}}
guests:
  web1: {{host: kvm1, nics: [{{segment: office, ip: 192.168.122.10}}]}}
"""
OUTSIDE, MTU = "203.0.113.1", 1442
HOST, WIRES = f"weft.{NAME}.kvm1", f"weft.{NAME}.wires"
MAC, ADDRESS, GATEWAY = "0e:0e:00:00:00:11", "192.168.122.10", "192.168.122.1"
LINUX = """
table ip nat {
  chain post { type nat hook postrouting priority srcnat; ip saddr 192.168.122.0/24 oifname "w0" masquerade; }
}
"""


def figures() -> Iterable[Figure]:
    with lab() as ours, ovn() as peer:
        theirs, linux = beside_ovn(peer), beside_linux()
        for way in (ours, theirs, linux):
            way.ready()
        yield from compared(ours, theirs, "OVN on the same datapath", (">=", 1.0))
        yield from compared(ours, linux, "Linux bridge + masquerade", None)
        with_segments()
        ours.ready()
        rates = alternate(ours.tcp, linux.tcp, 1)
        note = "" if rates[0][0] else "this Open vSwitch translates no segments: no TCP passes, nor does it with OVN"
        yield Figure("TCP through NAT, userspace-tso on", "Mbit/s", *rates, "Linux bridge + masquerade", note=note)


def compared(ours: Way, peer: Way, against: str, wanted: tuple[str, float] | None) -> Iterator[Figure]:
    yield Figure("TCP through NAT", "Mbit/s", *alternate(ours.tcp, peer.tcp), against, wanted)
    yield Figure("new connections through NAT", "1/s", *alternate(ours.connections, peer.connections), against, wanted)


@contextmanager
def lab() -> Iterator[Way]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{NAME}.yaml"
        file.write_text(FABRIC)
        weft("lab", "down", NAME)
        weft("lab", "up", file)
    try:
        flush = ("ovs-appctl", "-t", f"/run/weft/{NAME}/kvm1/ovs-vswitchd.{pid()}.ctl", "dpctl/flush-conntrack")
        yield Way(f"weft.{NAME}.web1", f"weft.{NAME}.outside", OUTSIDE, lambda: run(*flush))
    finally:
        weft("lab", "down", NAME)


def pid() -> str:
    return Path(f"/run/weft/{NAME}/kvm1/ovs-vswitchd.pid").read_text().strip()


def plug(space: str, name: str) -> None:
    """Another host on the lab's wire: a port ``w0`` of its namespace."""
    cable(WIRES, name, space, "w0")
    run("ip", "-n", WIRES, "link", "set", name, "master", "b.physnet")
    offloads(WIRES, name, on=False)


def beside_ovn(peer: Ovn) -> Way:
    space, name = peer.ovs.namespace, f"weft.{NAME}.ovn"
    guest(space, "g0", name, MAC, f"{ADDRESS}/24", GATEWAY, MTU)
    plug(space, "ovn")
    for where, device in ((space, "g0"), (space, "w0"), (name, "eth0")):
        offloads(where, device, on=False)
    deaf(space, "g0", "w0")
    peer.ovs.vsctl("add-port", "br-phys", "w0")
    peer.translate("203.0.113.50", 24, ADDRESS, MAC, "g0")
    return Way(name, f"weft.{NAME}.outside", OUTSIDE, lambda: peer.ovs.appctl("dpctl/flush-conntrack"))


def beside_linux() -> Way:
    """Its namespaces have the lab's name and go with it."""
    space, name = f"weft.{NAME}.linux", f"weft.{NAME}.linuxguest"
    run("ip", "netns", "add", space)
    guest(space, "g0", name, MAC, f"{ADDRESS}/24", GATEWAY, MTU)
    plug(space, "linux")
    run("ip", "-n", space, "link", "add", "virbr0", "type", "bridge", "forward_delay", "0")
    run("ip", "-n", space, "link", "set", "g0", "master", "virbr0")
    run("ip", "-n", space, "link", "set", "virbr0", "up")
    run("ip", "-n", space, "addr", "add", f"{GATEWAY}/24", "dev", "virbr0")
    run("ip", "-n", space, "addr", "add", "203.0.113.60/24", "dev", "w0")
    inside(space, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    run("ip", "netns", "exec", space, "nft", "-f", "-", given=LINUX)
    return Way(name, f"weft.{NAME}.outside", OUTSIDE)


def with_segments() -> None:
    """Open vSwitch's userspace-tso-enable, which is read when ovs-vswitchd starts, and the offloads of every device on the way."""
    run("ovs-vsctl", f"--db=unix:/run/weft/{NAME}/kvm1/db.sock", "--no-wait", "set", "Open_vSwitch", ".",
        "other_config:userspace-tso-enable=true")  # fmt: skip
    weft("lab", "fail", "host", "kvm1", "--fabric", NAME)
    weft("lab", "heal", "host", "kvm1", "--fabric", NAME)
    end = time.monotonic() + 30
    while subprocess.run(["ip", "netns", "exec", f"weft.{NAME}.web1", "ping", "-c1", "-W1", OUTSIDE], capture_output=True).returncode:
        if time.monotonic() > end:
            raise RuntimeError("the lab does not come back")
    for space in (f"weft.{NAME}.web1", HOST, f"{HOST}.svc", f"weft.{NAME}.outside"):
        for line in run("ip", "-n", space, "-o", "link", "show", "type", "veth").splitlines():
            offloads(space, line.split()[1].partition("@")[0].rstrip(":"), on=True)
