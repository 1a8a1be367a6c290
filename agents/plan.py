"""From what a host should have and what it has to what is to be done, in order. Pure: it prints before it runs.

Every action is safe to do again, and a plan made after a kill at any point goes on from what it sees. Nothing without our mark is
touched; a link or a bridge that has a name of ours and not our mark is a failure of the object that wants it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from weft.agents import steps as s
from weft.agents.answers import answers
from weft.agents.asking import asking
from weft.agents.direct import direct_actions, direct_failures, direct_links
from weft.agents.joints import joint_links, joints, kept
from weft.agents.networks import left_over, networks, refused_networks
from weft.agents.observed import HERE, Observed, Port
from weft.agents.service_steps import SetServices
from weft.agents.steps import Action
from weft.agents.strangers import strangers
from weft.agents.uplinks import (
    Change,
    addressed,
    changes,
    give_back,
    is_uplink,
    mac,
    moving,
    present,
    raised,
    released,
    settling,
    unable,
    uplinks,
    wire_ports,
    wired,
)
from weft.agents.watching import foreign, monitors, watches
from weft.agents.ways import host_way, in_use, serving
from weft.topology.hostrow import (
    BridgeSpec,
    EndpointSpec,
    HostWaySpec,
    MonitorSpec,
    ServiceSpec,
    Spec,
    TunnelSpec,
    UplinkSpec,
)
from weft.topology.names import namespace, service_namespace

WAY_MTU = 1500
"""Of the link between the service namespace and its host."""
Wanted = Mapping[str, Spec]
Failures = dict[str, tuple[str, str]]
"""By object: state (``waiting`` or ``failed``) and reason."""


@dataclass(frozen=True, slots=True)
class Plan:
    actions: list[Action]
    failures: Failures = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    """Of how the host itself is reached."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A veth or tap that should be: host side `name`, for object `key`."""

    key: str
    name: str
    make: s.MakeVeth | s.MakeTap


def plan(fabric: str, host: str, wanted: Wanted, seen: Observed, controller: str | None) -> Plan:
    """What brings this host to `wanted`, and what of it cannot be had now."""
    failures = refused(wanted, seen) | direct_failures(wanted, seen) | refused_networks(fabric, wanted, seen)
    able = {key: spec for key, spec in wanted.items() if key not in failures}
    services = service_namespace(fabric, host)
    pairs = {pair.name: pair for pair in _pairs(fabric, able, seen, services)}
    here = seen.links.get(HERE, {})
    cables = joints(fabric, able, seen)
    made = {pair.name for pair in pairs.values() if not _is_made(pair, seen)} | cables.keys()
    held = {name for port in seen.ports.values() if port.kind == "" for name in _devices(port)}
    anew = made | {name for name in held if name not in here or name in seen.renewed}
    ports = [*wired(able, seen, anew), *_ports(able, seen, anew)]
    actions = [
        *_remove(fabric, wanted, able, seen, anew),
        *left_over(_bridge_names(wanted), seen),
        *_bridges(able, seen, controller),
        *cables.values(),
        *kept(able, seen),
        *_links(pairs, made, able, seen),
        *direct_actions(able, seen),
        *_insides(fabric, able, seen, services),
        *ports,
        *watches(able, {action.object for action in ports if action.action == "add"}, seen),
        *monitors(wanted, able, _bridge_names(able), seen),
        *addressed(able, seen),
        *asking(able, wanted, seen),
    ]
    actions += host_way(able, seen)
    actions += networks(fabric, wanted, able, seen)
    if not moving(able, seen):
        actions += serving(able, seen, services)
        if not any(isinstance(action.step, SetServices) for action in actions):  # guests' ways first: a look later is soon enough
            actions += answers(wanted, able, seen, services)
    actions += settling(able, seen, actions)
    return Plan(actions, failures, tuple(changes(able, wanted, seen, actions)))


def refused(wanted: Wanted, seen: Observed) -> Failures:
    """What cannot be had as things are, in the user's words."""
    failures: Failures = {}
    here = seen.links.get(HERE, {})
    for key, spec in wanted.items():
        if isinstance(spec, UplinkSpec) and (why := unable(spec, seen)):
            failures[key] = "failed", why
        elif isinstance(spec, EndpointSpec) and spec.attach == "port":
            if spec.port not in here and spec.port not in seen.ports:
                failures[key] = "waiting", f"there is no port {spec.port} yet"
            elif spec.port in seen.ports and seen.ports[spec.port].bridge != spec.bridge:
                failures[key] = "failed", f"port {spec.port} is in bridge {seen.ports[spec.port].bridge}: take it out first"
        elif isinstance(spec, HostWaySpec) and (taken := in_use(spec, here)):
            failures[key] = "failed", taken
        elif isinstance(spec, MonitorSpec) and (why := foreign(spec, seen)):
            failures[key] = "failed", why
        name = spec.name if isinstance(spec, BridgeSpec) else spec.bridge if isinstance(spec, UplinkSpec) else ""
        if name in seen.bridges and not seen.bridges[name].ours:
            failures[key] = "failed", f"a bridge {name} is there that is not weft's: rename or remove it"
    return failures


def _pairs(fabric: str, able: Wanted, seen: Observed, services: str) -> Iterator[Pair]:
    for key, spec in able.items():
        if isinstance(spec, EndpointSpec) and spec.attach == "netns":
            yield Pair(key, spec.port, s.MakeVeth(spec.port, namespace(fabric, spec.guest), spec.inside, spec.mac, spec.mtu))
        elif isinstance(spec, EndpointSpec) and spec.attach == "tap":
            yield Pair(key, spec.port, s.MakeTap(spec.port, spec.mtu, spec.tap))
        elif isinstance(spec, ServiceSpec):
            yield Pair(key, spec.port, s.MakeVeth(spec.port, services, spec.inside, spec.mac, spec.mtu))
        elif isinstance(spec, HostWaySpec):
            yield Pair(key, spec.port, s.MakeVeth(spec.port, services, spec.port, spec.mac, WAY_MTU))
        elif isinstance(spec, UplinkSpec) and spec.exit is not None:
            yield Pair(key, spec.exit, s.MakeVeth(spec.exit, services, spec.exit, mac(spec, seen) or "", spec.mtu))


def _is_made(pair: Pair, seen: Observed) -> bool:
    found = seen.links.get(HERE, {}).get(pair.name)
    opener = pair.make.opener if isinstance(pair.make, s.MakeTap) else ""
    return found is not None and found.up and (found.ours, found.opener) == (pair.key, opener)


def _remove(fabric: str, wanted: Wanted, able: Wanted, seen: Observed, anew: set[str]) -> Iterator[Action]:
    """What is ours and not wanted any more. The bridge of a NIC that is gone for a moment stays, with the host's addresses.

    A port whose device is gone or made `anew` goes too, and comes back behind it: the userspace datapath goes on reading the old one.
    """
    bridges = _bridge_names(wanted)
    ports = {port.name for port in _wanted_ports(wanted)}
    ports |= {port.name for spec in uplinks(wanted).values() for port in wire_ports(spec.bridge, seen)}  # what is there carries the host
    links = ports | {spec.exit for spec in wanted.values() if isinstance(spec, UplinkSpec)}
    links |= {spec.port for spec in wanted.values() if isinstance(spec, HostWaySpec)} | direct_links(wanted, seen) | joint_links(wanted)
    for bridge in seen.bridges.values():
        if bridge.ours and bridge.name not in bridges:
            key = released(bridge.name, seen) if is_uplink(bridge.name) else ""
            back = list(give_back(bridge.name, seen)) if is_uplink(bridge.name) else []
            yield from back or [Action("remove", bridge.name, "bridge", s.RemoveBridge(bridge.name), key)]
    wires = {port.name for spec in uplinks(able).values() for port in wire_ports(spec.bridge, seen)}
    for port in seen.ports.values():
        stale = port.name not in ports or anew.issuperset(_devices(port)) or port.error
        if port.name not in wires and port.ours and port.bridge in bridges and port.name != port.bridge and stale:
            yield Action("remove", port.name, f"port of {port.bridge}", s.RemovePort(port.bridge, port.name))
    for link in seen.links.get(HERE, {}).values():
        if link.ours and link.name not in links:
            yield Action("remove", link.name, link.kind, s.RemoveLink(link.name, _guest_space(fabric, link.ours)))


def _bridge_names(specs: Wanted) -> set[str]:
    named = (spec for spec in specs.values() if isinstance(spec, BridgeSpec | UplinkSpec))
    return {spec.name if isinstance(spec, BridgeSpec) else spec.bridge for spec in named}


def _guest_space(fabric: str, ours: str) -> str | None:
    """The namespace that a link of ours leads to, where it is a guest's and may go with its last link."""
    kind, _, name = ours.partition("/")
    return namespace(fabric, name.partition(".")[0]) if kind == "endpoint" else None


def _bridges(able: Wanted, seen: Observed, controller: str | None) -> Iterator[Action]:
    for key, spec in able.items():
        if not isinstance(spec, BridgeSpec | UplinkSpec):
            continue
        uplink = spec if isinstance(spec, UplinkSpec) else None
        name = uplink.bridge if uplink else spec.name
        own = mac(uplink, seen) if uplink else None
        unlearned = uplink.unlearned if uplink else ()
        found = seen.bridges.get(name)
        if isinstance(spec, BridgeSpec) and seen.vlans and spec.vlans > seen.vlans:
            yield Action("change", "Open vSwitch", "vlan-limit 0: guests have tags of their own", s.SeeTags(), key)
        if found is None:
            yield Action("add", name, "bridge", s.AddBridge(name, spec.dpid, seen.datapath, controller, own, unlearned), key)
        meant = (spec.dpid, controller, own, unlearned)
        changed = found and (not found.settings or (found.dpid, found.controller, found.mac, found.unlearned) != meant)
        if changed:
            yield Action("change", name, "bridge", s.SetBridge(name, *meant), key)
        if uplink and (changed or name not in seen.based):  # the first controller of a bridge, and its loss, flush its flows
            way_out = uplink.exit if uplink.exit in seen.ports else None
            yield Action("add", name, "base flow", s.BaseFlows(name, way_out), key)


def _links(pairs: Mapping[str, Pair], made: set[str], able: Wanted, seen: Observed) -> Iterator[Action]:
    here = seen.links.get(HERE, {})
    for pair in pairs.values():
        mtu = pair.make.mtu
        if pair.name in made:
            kind = "veth" if isinstance(pair.make, s.MakeVeth) else "tap"
            yield Action("add", pair.name, kind, pair.make, pair.key)
        elif here[pair.name].mtu != mtu:
            yield Action("change", pair.name, f"mtu {mtu}", s.SetUp(pair.name, mtu), pair.key)
    yield from raised(able, seen)
    nics = [nic for spec in uplinks(able).values() for nic in present(spec, seen)]
    existing = {spec.port for spec in able.values() if isinstance(spec, EndpointSpec) and spec.attach == "port"}
    existing |= {port.name for port in strangers(able, seen)}
    # What is there already is heard by the kernel until Open vSwitch has it: the host's own traffic goes by such a NIC.
    taken = {name for name in {*nics, *existing} if seen.port_of(name) and name in here}
    spoken = {spec.port for spec in able.values() if isinstance(spec, HostWaySpec)}  # no port of a bridge: the host itself hears it
    deaf = {*pairs, *taken} - spoken if seen.datapath == "netdev" else set()
    if deaf - made != seen.deaf - made or (deaf & made):
        detail = "the kernel leaves these to Open vSwitch"
        yield Action("change", ", ".join(sorted((deaf ^ seen.deaf) | (deaf & made))), detail, s.Deafen(tuple(sorted(deaf))))


def _insides(fabric: str, able: Wanted, seen: Observed, services: str) -> Iterator[Action]:
    for key, spec in able.items():
        if isinstance(spec, EndpointSpec) and spec.attach == "netns":
            inside = s.SetInside(namespace(fabric, spec.guest), spec.inside, spec.mac, spec.mtu, spec.addresses, spec.gateways)
        elif isinstance(spec, EndpointSpec) and spec.attach == "host" and spec.port in seen.links.get(HERE, {}):
            inside = s.SetInside(HERE, spec.port, spec.mac, spec.mtu, spec.addresses, ())
        elif isinstance(spec, ServiceSpec):
            inside = s.SetInside(services, spec.inside, spec.mac, spec.mtu, (*spec.addresses, *spec.shared), ())
        else:
            continue
        if not _is_set(inside, seen):
            detail = " ".join((inside.namespace, *inside.addresses))
            yield Action("change", inside.name, detail, inside, key)


def _is_set(inside: s.SetInside, seen: Observed) -> bool:
    found = seen.links.get(inside.namespace, {}).get(inside.name)
    if found is None or not found.up or (found.mac, found.mtu) != (inside.mac, inside.mtu):
        return False
    ways = {gateway for network, gateway in found.routes if network == "default"}
    return set(found.addresses) == set(inside.addresses) and ways >= set(inside.gateways)


def _devices(port: Port) -> list[str]:
    """What a port reads and writes by: of a bond its members."""
    return [member.name for member in port.members] or [port.name]


class WantedPort(NamedTuple):
    key: str
    name: str
    bridge: str
    kind: str = ""
    options: tuple[tuple[str, str], ...] = ()
    tag: int | None = None


def _wanted_ports(able: Wanted) -> Iterator[WantedPort]:
    for key, spec in able.items():
        match spec:
            case EndpointSpec(attach="libvirt"):
                pass  # libvirt adds it, when the guest starts
            case EndpointSpec(attach="host"):
                yield WantedPort(key, spec.port, spec.bridge, "internal")
            case EndpointSpec() | ServiceSpec():
                yield WantedPort(key, spec.port, spec.bridge)
            case TunnelSpec():
                options = (("remote_ip", spec.remote), ("local_ip", spec.local), ("key", "flow"))
                yield WantedPort(key, spec.port, spec.bridge, spec.type, options)
            case UplinkSpec():
                yield WantedPort(key, spec.patch, spec.integration, "patch", (("peer", spec.patch_peer),))
                yield WantedPort(key, spec.patch_peer, spec.bridge, "patch", (("peer", spec.patch),))
                if spec.exit is not None:  # a VLAN of its own keeps NORMAL from flooding to it; `output:` does not look at tags
                    yield WantedPort(key, spec.exit, spec.bridge, tag=4094)
            case _:
                pass


def _ports(able: Wanted, seen: Observed, anew: set[str]) -> Iterator[Action]:
    for want in _wanted_ports(able):
        found = seen.ports.get(want.name)
        add = s.AddPort(want.bridge, want.name, want.kind, want.options, want.tag)
        there = found is not None and found.bridge == want.bridge and not found.error and want.name not in anew
        if there and found and found.ours and (found.kind, dict(found.options)) != (want.kind, dict(want.options)):
            yield Action("remove", want.name, f"port of {want.bridge}", s.RemovePort(want.bridge, want.name), want.key)
            there = False
        if not there:
            yield Action("add", want.name, f"port of {want.bridge}", add, want.key)
