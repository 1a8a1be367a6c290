"""Uplinks beside a Linux bridge of the host's: a cable from the uplink's bridge into it, a port there like a guest's. Pure.

The Linux bridge stays as it is: its NICs, the host's address, its MTU, which is the least of its ports', and its MAC, which is the lowest.
"""

from collections.abc import Iterator, Mapping

from weft.agents import steps as s
from weft.agents.observed import HERE, Link, Observed
from weft.agents.steps import Action
from weft.topology.hostrow import Spec, UplinkSpec
from weft.topology.names import joint, mac

MARK = "joint/"
"""How the object that such a cable's ends are marked with begins."""

Specs = Mapping[str, Spec]


def joined(specs: Specs) -> dict[str, UplinkSpec]:
    return {key: spec for key, spec in specs.items() if isinstance(spec, UplinkSpec) and spec.joins}


def joint_links(wanted: Specs) -> set[str]:
    """Names of the links that should be there."""
    return {name for spec in joined(wanted).values() for name in joint(spec.name)}


def unjoinable(spec: UplinkSpec, seen: Observed) -> str:
    """Why its Linux bridge cannot be a neighbour as things are; empty: it can, or none is asked for."""
    if not spec.joins:
        return ""
    found = seen.links.get(HERE, {}).get(spec.joins)
    if found is None:
        return f"there is no Linux bridge {spec.joins}: ip link add {spec.joins} type bridge"
    if spec.joins in seen.bridges:
        return f"{spec.joins} is a bridge of Open vSwitch: name its NIC, or a Linux bridge"
    if found.kind != "bridge":
        return f"{spec.joins} is no Linux bridge: name it under nics"
    if found.mtu < spec.mtu:
        return f"Linux bridge {spec.joins} has mtu {found.mtu} and the uplink {spec.mtu}: mtu: {found.mtu} for it"
    return ""


def joints(fabric: str, able: Specs, seen: Observed) -> dict[str, Action]:
    """Cables to be made, by the name of the end that is in the uplink's bridge."""
    here = seen.links.get(HERE, {})
    missing = {}
    for key, spec in joined(able).items():
        ours, theirs = joint(spec.name)
        if not _is_made(spec, here):
            step = s.MakeJoint(ours, spec.mtu, spec.joins, theirs, _high_mac(fabric, spec.name), here[spec.joins].mtu)
            missing[ours] = Action("add", theirs, f"port of Linux bridge {spec.joins}", step, key)
    return missing


def _high_mac(fabric: str, physnet: str) -> str:
    """Above those of cards, as libvirt's taps have them: a Linux bridge takes the lowest of its ports' for its own."""
    return f"fe:{mac(fabric, f'{MARK}{physnet}')[3:]}"


def _is_made(spec: UplinkSpec, here: Mapping[str, Link]) -> bool:
    ends = [here[name] for name in joint(spec.name) if name in here]
    return [(end.ours, end.up) for end in ends] == [(f"{MARK}{spec.name}", True)] * 2


def kept(able: Specs, seen: Observed) -> Iterator[Action]:
    """The port is in the Linux bridge, whoever took it out, and as large as that: a smaller one would make it smaller."""
    here = seen.links.get(HERE, {})
    for key, spec in joined(able).items():
        _, theirs = joint(spec.name)
        if not _is_made(spec, here):
            continue
        if here[theirs].master != spec.joins:
            yield Action("change", theirs, f"port of Linux bridge {spec.joins}", s.Enslave(theirs, spec.joins), key)
        if here[theirs].mtu < here[spec.joins].mtu:
            mtu = here[spec.joins].mtu
            yield Action("change", theirs, f"mtu {mtu}", s.SetUp(theirs, mtu), key)
