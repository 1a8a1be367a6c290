"""Flows on a host as policies and the members of their labels grow, compiled in memory: each policy lets one tier into another.

Beside it what the same would take with a flow for each pair of members.
"""

from collections.abc import Iterable

from bench.table import Figure
from tests.fabrics import fabric, facts
from weft.apps.compile import Compiler

SIZES = ((10, 1), (10, 10), (40, 10), (40, 40), (160, 10))
"""Members of either tier, and policies between the two."""


def text(members: int, policies: int) -> str:
    """All members on one host, on a segment that lets in only what a policy says."""
    lines = ["fabric: grow", "segments: {db: {mode: isolated, subnets: [10.0.0.0/16], policy: closed}}"]
    lines += ["hosts: {kvm1: {address: 10.10.10.1/24}}", "guests:"]
    for tier in ("web", "db"):
        lines += [f"  {tier}{n}: {{host: kvm1, labels: {{tier: {tier}}}, nics: [{{segment: db}}]}}" for n in range(members)]
    lines.append("policies:")
    lines += [f"  - {{name: p{n}, allow: tcp/{3000 + n}, from: {{tier: web}}, to: {{tier: db}}}}" for n in range(policies)]
    return "\n".join([*lines, ""])


def flows(members: int, policies: int) -> int:
    made = fabric(text(members, policies))
    return sum(1 for program in Compiler().compile(made, facts(made)).values() for _ in program.flows())


def figures() -> Iterable[Figure]:
    for members, policies in SIZES:
        before, ours = flows(members, 0), flows(members, policies)
        each = f"{2 * members} guests, {policies} polic{'y' if policies == 1 else 'ies'} of {members} members to {members}"
        pairs = before + members * members * policies
        note = f"{(ours - before) / (2 * members):.1f} a guest for the policies"
        yield Figure(f"flows on a host, {each}", "flows", (ours,), (pairs,), "a flow for each pair", ("<=", 1.0), note)
