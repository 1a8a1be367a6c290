"""The NICs of a host: into their bridges, alone or as bonds, with the host's addresses, and out again. Pure.

How the host is reached changes only with the object in its row. A bridge remembers the one that it was last found good with, so that
a change can be told from a repair, and what was before from what is wanted (`weft.agents.deadman` puts it back).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from weft.agents import steps as s
from weft.agents.asking import given, unanswered
from weft.agents.joints import MARK, unjoinable
from weft.agents.observed import HERE, Link, Observed, Port
from weft.agents.steps import Action
from weft.topology.hostrow import Spec, UplinkSpec, from_json, to_json
from weft.topology.names import exit_port, uplink_bridge

Specs = Mapping[str, Spec]
WAS_PUT_BACK = "put back: "
"""How the reason of an uplink begins that the dead-man timer put back, and that is not tried again by itself."""
SYSTEM = "ovs-system"
"""The master of every device of the kernel datapath."""


def uplinks(specs: Specs) -> dict[str, UplinkSpec]:
    return {key: spec for key, spec in specs.items() if isinstance(spec, UplinkSpec)}


# ---- what cannot be


def unable(spec: UplinkSpec, seen: Observed) -> str:
    """Why an uplink cannot be had as things are; empty: it can, of a bond with those NICs that are there."""
    here = seen.links.get(HERE, {})
    if spec.joins:
        return unjoinable(spec, seen)
    if not present(spec, seen):
        return missing(spec, seen)
    for nic in spec.nics:
        port, link = seen.port_of(nic), here.get(nic)
        if port and port.bridge != spec.bridge:
            return f"NIC {nic} is in bridge {port.bridge}: take it out first"
        if link and link.master and link.master != SYSTEM:
            kind = here[link.master].kind if link.master in here else ""
            what = "kernel bond" if kind in ("bond", "team") else "Linux bridge" if kind == "bridge" else kind or "device"
            return f"NIC {nic} is in {what} {link.master}: take it out first: ip link set {nic} nomaster"
        if link and (lower := _down_below(link, here)):
            return f"NIC {nic} is a VLAN of {lower}, which is down: ip link set {lower} up"
    return ""


def _down_below(nic: Link, here: Mapping[str, Link]) -> str:
    """What a VLAN device is on that is down, so that it cannot come up; empty: nothing is in its way."""
    below = (link.name for link in here.values() if link.index == nic.over and not link.up)
    return next(below, "") if nic.kind == "vlan" and not nic.up else ""


def present(spec: UplinkSpec, seen: Observed) -> tuple[str, ...]:
    """Those of its NICs that exist, or are a cable that the same plan makes."""
    return tuple(nic for nic in spec.nics if spec.joins or nic in seen.links.get(HERE, {}))


def missing(spec: UplinkSpec, seen: Observed) -> str:
    """Which of its NICs do not exist, in the user's words; empty: all do."""
    there = present(spec, seen)
    gone = [nic for nic in spec.nics if nic not in there]
    if not gone:
        return ""
    return f"NIC {gone[0]} does not exist" if len(gone) == 1 else f"NICs {', '.join(gone)} do not exist"


# ---- its bridge and links


def mac(spec: UplinkSpec, seen: Observed) -> str | None:
    """What the host is on this network: its first NIC when the bridge was made. It stays with the host when NICs change, as a kernel
    bond's does: neighbours know it, and the userspace datapath loses the routes of a bridge whose MAC changes. None: the host is elsewhere,
    on its own Linux bridge."""
    found = seen.bridges.get(spec.bridge)
    if spec.joins:
        return found.mac if found else None
    return (found.mac if found else None) or seen.links[HERE][present(spec, seen)[0]].mac


def raised(able: Specs, seen: Observed) -> Iterator[Action]:
    """NICs that are up, with their MTU."""
    here = seen.links.get(HERE, {})
    for key, spec in uplinks(able).items():
        for nic in present(spec, seen):
            if nic in here and (not here[nic].up or here[nic].mtu != spec.mtu):
                yield Action("change", nic, f"up, mtu {spec.mtu}", s.SetUp(nic, spec.mtu), key)


def wire_ports(bridge: str, seen: Observed) -> list[Port]:
    """The ports of an uplink's bridge that lead to its wire: NICs and bonds, and not the host's and the services' own."""
    own = exit_port(bridge.removeprefix(uplink_bridge("")))
    found = [port for port in seen.ports.values() if port.bridge == bridge and port.ours and port.kind == ""]
    return [port for port in found if port.name not in (bridge, own) and not _is_made(port.name, seen)]


def _is_made(name: str, seen: Observed) -> bool:
    link = seen.links.get(HERE, {}).get(name)
    return link is not None and bool(link.ours) and not link.ours.startswith(MARK)


def wired(able: Specs, seen: Observed, anew: set[str]) -> Iterator[Action]:
    """NICs into their bridges, in one transaction with what is in their way there. `anew`: devices that are not those that were opened."""
    for key, spec in uplinks(able).items():
        for port in wire_ports(spec.bridge, seen):
            if port.name != spec.port:
                yield Action("remove", port.name, f"port of {spec.bridge}", s.RemovePort(spec.bridge, port.name), key)
        found = seen.ports.get(spec.port)
        yield from _bonded(key, spec, found, seen, anew) if spec.bond != "none" else _alone(key, spec, found, anew)


def _alone(key: str, spec: UplinkSpec, found: Port | None, anew: set[str]) -> Iterator[Action]:
    """What is not the device that was opened leaves at once and comes back at the next look: a port that is removed and added in one
    transaction stays open as it was. What could not be opened is tried again."""
    if found is not None and (spec.port in anew or found.error):
        yield Action("remove", spec.port, f"port of {spec.bridge}", s.RemovePort(spec.bridge, spec.port), key)
    if found is None or (found.error and spec.port not in anew):
        yield Action("add", spec.port, f"port of {spec.bridge}", s.AddPort(spec.bridge, spec.port), key)


def _bonded(key: str, spec: UplinkSpec, found: Port | None, seen: Observed, anew: set[str]) -> Iterator[Action]:
    """A member that is not what was opened leaves at once and comes back at the next look."""
    nics = present(spec, seen)
    said = f"bond {spec.bond} of {', '.join(nics)}"
    if found is None:
        yield Action("add", spec.port, f"{said}, port of {spec.bridge}", s.AddBond(spec.bridge, spec.port, spec.bond, nics), key)
        return
    good = [member.name for member in found.members if member.works and member.name in nics and member.name not in anew]
    if not good:
        yield Action("remove", spec.port, f"port of {spec.bridge}", s.RemovePort(spec.bridge, spec.port), key)
        return
    there = {member.name for member in found.members}
    left = tuple(nic for nic in nics if nic in good or nic not in there)
    if (found.bond, there) != (spec.bond, set(left)):
        yield Action("change", spec.port, f"bond {spec.bond} of {', '.join(left)}", s.SetBond(spec.port, spec.bond, left), key)


# ---- the host's addresses


def moving(able: Specs, seen: Observed) -> bool:
    """A NIC with addresses goes into its bridge now: they follow at the next look, and nothing else may delay that."""
    here = seen.links.get(HERE, {})
    kept = [nic for spec in uplinks(able).values() if spec.address == "keep" for nic in present(spec, seen)]
    return any(here[nic].addresses and seen.port_of(nic) is None for nic in kept)


def addressed(able: Specs, seen: Observed) -> Iterator[Action]:
    here = seen.links.get(HERE, {})
    for key, spec in uplinks(able).items():
        local, port = here.get(spec.bridge), seen.ports.get(spec.port)
        if spec.exit is not None and spec.exit not in seen.based.get(spec.bridge, ()):
            yield Action("add", spec.bridge, f"base flow of {spec.exit}", s.BaseFlows(spec.bridge, spec.exit), key)
        carries = port is not None and (port.ofport or -1) > 0 and spec.bridge in seen.based
        owners = [here[nic] for nic in present(spec, seen) if here[nic].addresses] if spec.address == "keep" and carries else []
        for nic in owners:  # not before the NICs carry the bridge's packets
            yield Action("move", ", ".join(nic.addresses), f"from {nic.name} to {spec.bridge}", s.MoveAddresses(nic.name, spec.bridge), key)
        if not owners and local is not None and not local.up and not spec.joins:
            yield Action("change", spec.bridge, f"up, mtu {spec.mtu}", s.SetUp(spec.bridge, spec.mtu), key)
        yield from _given(key, spec, local, seen)


def _given(key: str, spec: UplinkSpec, local: Link | None, seen: Observed) -> Iterator[Action]:
    """The address that the file gives, instead of the one that it gave before."""
    own = (local.addresses, local.routes) if local else ((), ())
    before = settled(spec.bridge, seen)
    if before and before.address != spec.address and before.address in own[0]:
        yield Action("remove", before.address, f"from {spec.bridge}", s.DropAddress(spec.bridge, before.address), key)
    address, gateway = given(spec, seen) or ("", None)
    if address and (address not in own[0] or (gateway and ("default", gateway) not in own[1])):
        yield Action("add", address, f"on {spec.bridge}", s.SetAddress(spec.bridge, address, gateway), key)


# ---- what changes


@dataclass(frozen=True, slots=True)
class Change:
    """An uplink becomes other than it was last found good, where the host has addresses to lose or gets a way that may be no way."""

    key: str
    bridge: str
    nics: tuple[str, ...]
    """Those before and those after."""
    spec: UplinkSpec | None
    """What it becomes; None: it is released."""

    @property
    def way(self) -> str:
        return way(self.spec)


def way(spec: UplinkSpec | None) -> str:
    """What of an uplink decides how its host is reached."""
    return json.dumps([spec.nics, spec.bond, spec.address, spec.gateway, spec.mtu]) if spec else ""


def settled(bridge: str, seen: Observed) -> UplinkSpec | None:
    """What an uplink's bridge was last found good with; None: nothing, or another version of weft wrote it."""
    found = seen.bridges.get(bridge)
    try:
        spec = from_json("uplink/", found.settled) if found and found.settled else None
    except (KeyError, TypeError, ValueError):
        return None
    return spec if isinstance(spec, UplinkSpec) else None


def changes(able: Specs, wanted: Specs, seen: Observed, actions: Iterable[Action]) -> Iterator[Change]:
    """Those that `actions` are about to make."""
    touched = {action.key for action in actions if not isinstance(action.step, s.Settle)}
    here = seen.links.get(HERE, {})
    named = {spec.bridge for spec in uplinks(wanted).values()}
    pairs = [(key, spec.bridge, spec) for key, spec in uplinks(able).items()]
    pairs += [(released(name, seen), name, None) for name in _gone(named, seen)]  # type: ignore[misc]
    for key, bridge, spec in pairs:
        before = settled(bridge, seen)
        nics = tuple(dict.fromkeys((*(before.nics if before else ()), *(spec.nics if spec else ()), *_nics(bridge, seen))))
        given_one = spec is not None and spec.address not in ("keep", "none")
        loses = given_one or any(here[name].addresses for name in (bridge, *nics) if name in here)
        if key in touched and loses and (spec is None or way(before) != way(spec)):
            yield Change(key, bridge, nics, spec)


def settling(able: Specs, seen: Observed, actions: Iterable[Action]) -> Iterator[Action]:
    """An uplink for which nothing is left to do is as it should be."""
    touched = {action.key for action in actions}
    for key, spec in uplinks(able).items():
        port, text = seen.ports.get(spec.port), to_json(spec)
        carries = port is not None and not port.error and (port.ofport or -1) > 0 and not unanswered(spec, seen)
        if key not in touched and carries and spec.bridge in seen.bridges and seen.bridges[spec.bridge].settled != text:
            yield Action("keep", spec.bridge, "as it is now", s.Settle(spec.bridge, text), key)


# ---- release


def released(bridge: str, seen: Observed) -> str:
    """The object that a bridge was for."""
    before = settled(bridge, seen)
    return f"uplink/{before.name if before else bridge.removeprefix(uplink_bridge(''))}"


def is_uplink(bridge: str) -> bool:
    return bridge.startswith(uplink_bridge(""))


def _gone(named: set[str], seen: Observed) -> list[str]:
    return [bridge.name for bridge in seen.bridges.values() if bridge.ours and bridge.name not in named and is_uplink(bridge.name)]


def _nics(bridge: str, seen: Observed) -> list[str]:
    return [nic for port in wire_ports(bridge, seen) for nic in ([m.name for m in port.members] or [port.name])]


def give_back(bridge: str, seen: Observed) -> Iterator[Action]:
    """An uplink bridge that goes returns its addresses to its NIC, then its NICs; the bridge itself goes when that was found good."""
    here, key, before = seen.links.get(HERE, {}), released(bridge, seen), settled(bridge, seen)
    nics = [nic for nic in (*_nics(bridge, seen), *(before.nics if before else ())) if nic in here and not here[nic].ours]
    local = here.get(bridge)
    if local and local.addresses and nics:
        step = s.MoveAddresses(bridge, nics[0])
        yield Action("move", ", ".join(local.addresses), f"from {bridge} back to {nics[0]}", step, key)
    for port in wire_ports(bridge, seen):
        yield Action("remove", port.name, f"port of {bridge}", s.RemovePort(bridge, port.name), key)
