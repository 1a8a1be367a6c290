"""Packet-ins answered a second by the reactive learning app, against ovs-testcontroller, with emulated switches."""

import json
import subprocess
import sys
from collections.abc import Iterator

from bench.controllers import free_port, testcontroller, weft
from bench.table import REPETITIONS, Figure, alternate

SWITCHES = (1, 8, 64, 400)
WINDOW = 32
SECONDS = 1.5
COPES = 16
"""Most switches that ovs-testcontroller takes (MAX_SWITCHES in its source)."""


def measure(port: int, switches: int) -> tuple[float, int]:
    """Replies a second and packet-ins without a reply, from a load generator in a process of its own."""
    command = (sys.executable, "-m", "bench.load", str(port), str(switches), str(SECONDS), "--window", str(WINDOW))
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    result = json.loads(done.stdout)
    return result["replies"] / result["seconds"], result["lost"]


def figures() -> Iterator[Figure]:
    ours, theirs = free_port(), free_port()
    with weft(f"tcp:127.0.0.1:{ours}", "--bare", "reactive"), testcontroller(f"tcp:127.0.0.1:{theirs}"):
        for switches in SWITCHES:
            lost = 0

            def rate(port: int, switches: int = switches) -> float:
                nonlocal lost
                replies, missing = measure(port, switches)
                lost += missing if port == ours else 0
                return replies

            name = f"packet-ins answered, {switches} switch{'es' * (switches > 1)}, window {WINDOW}"
            if switches <= COPES:
                mine, peer = alternate(lambda: rate(ours), lambda: rate(theirs))
                yield Figure(name, "1/s", mine, peer, "ovs-testcontroller", (">=", 1.0), f"lost {lost}")
            else:
                mine = tuple(rate(ours) for _ in range(REPETITIONS))
                yield Figure(name, "1/s", mine, None, f"ovs-testcontroller takes {COPES} at most", None, f"lost {lost}")
