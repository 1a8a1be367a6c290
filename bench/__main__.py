"""``python -m bench [NAME …]``: all benchmarks, or those named. Needs root and Open vSwitch; no test fails on what it says."""

import sys
from importlib import import_module

from bench.table import Figure, show

BENCHES = ("packet_in", "flows", "strangers", "datapath", "nat", "forwarding", "growth", "dhcp", "lab")
"""Modules, each with ``figures() -> Iterable[Figure]``."""


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"{', '.join(unknown)}: no such benchmark; {', '.join(BENCHES)}")
    figures: list[Figure] = []
    for name in names or BENCHES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures += import_module(f"bench.{name}").figures()
    show(figures)


if __name__ == "__main__":
    main(sys.argv[1:])
