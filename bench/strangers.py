"""New senders that a bare bridge learns in a second, on a real Open vSwitch, against ovs-testcontroller.

Every frame goes from a MAC that nobody has seen to one receiver that is known. Counted are the flows that stand afterwards: weft's switch
writes them itself, one for each sender; the peer sends one for each sender, too.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.controllers import testcontroller, weft
from bench.table import Figure, alternate
from tests.real.ovs import Ovs
from weft.apps.pipeline import SEEN

SECONDS = 0.6
RATE = 20_000
KNOWN = "0a:00:00:00:00:99"


def send(ovs: Ovs, port: str, *frames: str) -> None:
    command = (sys.executable, "-m", "bench.traffic", "send", port, *frames)
    subprocess.run(("ip", "netns", "exec", ovs.namespace, *command), check=True, capture_output=True, timeout=60)


def flood(ovs: Ovs) -> None:
    """New MACs into port p1, after the receiver spoke at p2."""
    ips = ("10.0.0.1", "10.0.0.2")
    send(ovs, "p2", KNOWN, "ff:ff:ff:ff:ff:ff", *ips, "--rate", "10", "--seconds", "0.5")
    send(ovs, "p1", "0e:00:00:00:00:01", KNOWN, *ips, "--vary", "mac", "--rate", str(RATE), "--seconds", str(SECONDS))


def prepared(ovs: Ovs, target: str) -> None:
    ovs.add_bridge("br0", "p1", "p2")
    for port in ("p1", "p2"):
        ovs.inside("ip", "link", "set", "dev", port, "up")
    ovs.vsctl("set-controller", "br0", target)
    end = time.monotonic() + 15
    while not ovs.flows("br0") and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)


def learned(ovs: Ovs) -> float:
    target = f"unix:{ovs.rundir}/weft.sock"
    with weft(target, "--ovsdb", f"unix:{ovs.rundir}/db.sock"):
        return measured(ovs, target, SEEN.number)


def told(ovs: Ovs) -> float:
    target = f"unix:{ovs.rundir}/peer.sock"
    with testcontroller(target):
        return measured(ovs, target, 0)


def measured(ovs: Ovs, target: str, table: int) -> float:
    """Flows of `table` a second, at the end of the burst."""
    prepared(ovs, target)
    flood(ovs)
    reply = ovs.ofctl("dump-aggregate", "br0", f"table={table}")
    ovs.vsctl("del-br", "br0")
    return int(re.findall(r"flow_count=(\d+)", reply)[0]) / SECONDS


def figures() -> Iterator[Figure]:
    with Ovs() as ovs:
        mine, peer = alternate(lambda: learned(ovs), lambda: told(ovs))
    yield Figure("strangers' MACs learned, bare bridge, 20,000/s offered", "1/s", mine, peer, "ovs-testcontroller", (">=", 1.0))
