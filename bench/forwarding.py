"""Forwarding between two segments, and under 100 policies, against two guests of one segment without any: one lab, one host."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.lab import weft
from bench.spaces import Way
from bench.table import Figure, alternate

NAME = "benchfwd"
POLICIES = 100
GUESTS = {"plain1": "10.0.1.11", "plain2": "10.0.1.12", "one1": "10.0.2.11", "two1": "10.0.3.11", "kept1": "10.0.4.11", "kept2": "10.0.4.12"}


def fabric() -> str:
    """Of the policies of `kept`, only the last lets anything in."""
    segments = {"plain": ("isolated", 1), "one": ("routed", 2), "two": ("routed", 3), "kept": ("isolated", 4)}
    lines = [f"fabric: {NAME}", "segments:"]
    for name, (mode, number) in segments.items():
        more = ", uplink: physnet" if mode == "routed" else ", policy: closed" if name == "kept" else ""
        lines.append(f"  {name}: {{mode: {mode}, subnets: [10.0.{number}.0/24]{more}}}")
    lines += ["hosts:", "  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [ens224]}}}", "guests:"]
    lines += [f"  {guest}: {{host: kvm1, nics: [{{segment: {guest[:-1]}, ip: {ip}}}]}}" for guest, ip in GUESTS.items()]
    lines.append("policies:")
    lines += [f"  - {{name: no-{n}, deny: tcp/{20000 + n}, from: kept, to: kept}}" for n in range(POLICIES - 1)]
    return "\n".join([*lines, "  - {name: the-rest, allow: any, from: kept, to: kept}", ""])


def way(one: str, other: str) -> Way:
    return Way(f"weft.{NAME}.{one}", f"weft.{NAME}.{other}", GUESTS[other])


def figures() -> Iterable[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{NAME}.yaml"
        file.write_text(fabric())
        weft("lab", "down", NAME)
        weft("lab", "up", file)
    try:
        plain = way("plain1", "plain2")
        for what, ours in (("routed between two segments", way("one1", "two1")), (f"under {POLICIES} policies", way("kept1", "kept2"))):
            for each in (plain, ours):
                each.ready()
            peer, wanted = "one segment, no policies", (">=", 0.9)
            yield Figure(f"TCP {what}", "Mbit/s", *alternate(ours.tcp, plain.tcp), peer, wanted)
            yield Figure(f"small packets {what}", "packets/s", *alternate(ours.packets, plain.packets), peer, wanted)
    finally:
        weft("lab", "down", NAME)
