"""From what should be to what every switch should hold.

The flows of a switch come in units, one for each thing a host has to do with (an endpoint admitted, an endpoint reached, a
segment flooded, an uplink translated). A unit is computed anew only when what it is made from has changed, and an unchanged unit is
the very same tuple as before: the cost of a change follows the change.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from weft.apps import admit, bridging, neighbours, translate
from weft.apps.bridging import Way
from weft.apps.flow import Flow, Identity, Program
from weft.apps.pipeline import GUEST, TUNNEL, WIRE, zones
from weft.apps.text import flow_text
from weft.topology import names
from weft.topology.errors import WeftError
from weft.topology.model import Endpoint, Fabric, Host, Segment, Uplink

Unit = tuple[Flow, ...]


@dataclass(frozen=True, slots=True)
class UplinkFact:
    """What a host reported of one of its uplinks."""

    mac: str
    translate: IPv4Address


Facts = Mapping[tuple[str, str], UplinkFact]
"""By host and physical network; what is not reported yet is not translated yet."""


@dataclass(frozen=True, slots=True)
class Site:
    """One segment as one host sees it."""

    segment: Segment
    local: tuple[Endpoint, ...]
    remote: tuple[tuple[Endpoint, Way], ...]
    beyond: tuple[Way, ...]


def check_program(program: Program) -> None:
    """Raises WeftError where two units want the same flow: which objects, and what."""
    seen: dict[Identity, Flow] = {}
    for flow in program.flows():
        other = seen.setdefault(flow.identity, flow)
        if other is not flow:
            raise WeftError(f"{' and '.join((*other.why, *flow.why))} want the same flow: {flow_text(flow)}")


class Compiler:
    """Compiles a fabric again and again; remembers the units of the last time and nothing older."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, ...], tuple[tuple[Any, ...], Unit]] = {}
        self._now: dict[tuple[str, ...], tuple[tuple[Any, ...], Unit]] = {}

    def compile(self, fabric: Fabric, facts: Facts) -> dict[int, Program]:
        """The programs of all switches of the fabric, by datapath id."""
        self._before, self._now = self._now, {}
        members: dict[str, list[Endpoint]] = {name: [] for name in fabric.segments}
        for endpoint in fabric.endpoints.values():
            members[endpoint.segment].append(endpoint)
        programs: dict[int, Program] = {}
        for host in fabric.hosts.values():
            programs[host.dpid] = Program(units=dict(self._integration(fabric, host, members)))
            for number, name in enumerate(sorted(host.uplinks)):
                uplink = host.uplinks[name]
                programs[uplink.dpid] = Program(units=dict(self._uplink(fabric, host, uplink, number, facts)))
        return programs

    def _unit(self, key: tuple[str, ...], make: Callable[..., Unit], *inputs: Any) -> tuple[tuple[str, ...], Unit]:
        known = self._before.get(key)
        if known is None or known[0] != inputs:
            known = (inputs, make(*inputs))
        self._now[key] = known
        return key, known[1]

    def _integration(self, fabric: Fabric, host: Host, members: Mapping[str, list[Endpoint]]) -> Iterator[tuple[Any, Unit]]:
        yield self._unit((host.name, "defaults"), defaults)
        if any(fabric.segments[name].strangers and any(e.host == host.name for e in members[name]) for name in members):
            yield self._unit((host.name, "learning"), bridging.learning)
        for name, endpoints in members.items():
            site = _site(fabric, host, fabric.segments[name], endpoints)
            if site.local:
                yield from self._segment(host, site)

    def _segment(self, host: Host, site: Site) -> Iterator[tuple[Any, Unit]]:
        segment, at = site.segment, host.name
        here = tuple(endpoint.port for endpoint in site.local)
        yield self._unit((at, "flood", segment.name), bridging.flood, segment, here, site.beyond)
        if segment.tunnelled:
            yield self._unit((at, "tunnel", segment.name), admit.tunnel, segment)
        elif segment.uplink is not None:
            patch = names.patch_port(segment.uplink)
            yield self._unit((at, "wire", segment.name), wire, segment, patch)
            for endpoint in site.local:
                yield self._unit((at, "guard", endpoint.name), admit.wire_guard, endpoint, segment, patch)
        if segment.served:
            yield self._unit((at, "service", segment.name), service, segment, names.service_port(segment.name))
        for endpoint in site.local:
            yield self._unit((at, "admit", endpoint.name), admit.guest, endpoint, segment)
            yield self._unit((at, "reach", endpoint.name), known, endpoint, segment, Way(endpoint.port, GUEST))
        for endpoint, way in site.remote:
            yield self._unit((at, "reach", endpoint.name), known, endpoint, segment, way)

    def _uplink(self, fabric: Fabric, host: Host, uplink: Uplink, number: int, facts: Facts) -> Iterator[tuple[Any, Unit]]:
        fact = facts.get((host.name, uplink.name))
        if fact is None:
            return
        segments = [s for s in fabric.segments.values() if s.uplink == uplink.name]
        why = (f"{host.path}/uplinks/{uplink.name}", *(segment.path for segment in segments))
        ends = {fact.translate, *(h.address.ip for h in fabric.hosts.values() if isinstance(h.address, IPv4Interface))}
        outlet = translate.Outlet(
            nic=uplink.nics[0],
            patch=names.patch_peer(uplink.name),
            exit=names.exit_port(uplink.name),
            mac=fact.mac,
            address=fact.translate,
            zones=zones(number),
            tunnels=tuple(sorted(ends)),
            why=why,
        )
        yield self._unit((host.name, "guard", uplink.name), translate.guard, outlet)
        networks = tuple(
            subnet.network
            for segment in segments
            if segment.mode == "nat"
            for subnet in segment.subnets
            if isinstance(subnet.network, IPv4Network)
        )
        if networks:
            yield self._unit((host.name, "outward", uplink.name), translate.outward, outlet, networks)


def defaults() -> Unit:
    return admit.defaults() + bridging.defaults()


def known(endpoint: Endpoint, segment: Segment, way: Way) -> Unit:
    return bridging.reach(endpoint, segment, way) + neighbours.owner(endpoint, segment)


def service(segment: Segment, port: str) -> Unit:
    return admit.service(segment, port) + neighbours.gateway(segment, port)


def wire(segment: Segment, patch: str) -> Unit:
    return admit.wire(segment, patch) + bridging.tag(segment)


def _site(fabric: Fabric, host: Host, segment: Segment, endpoints: list[Endpoint]) -> Site:
    local = tuple(endpoint for endpoint in endpoints if endpoint.host == host.name)
    ways: dict[str, Way] = {}
    remote = []
    for endpoint in endpoints if local else ():
        if endpoint.host != host.name and (way := _way(segment, endpoint.host, ways)):
            remote.append((endpoint, way))
    if segment.tunnelled:
        return Site(segment, local, tuple(remote), tuple(ways[name] for name in sorted(ways)))
    wire_way = (Way(names.patch_port(segment.uplink), WIRE),) if segment.uplink else ()
    return Site(segment, local, tuple(remote), wire_way)


def _way(segment: Segment, host: str, ways: dict[str, Way]) -> Way | None:
    if host not in ways:
        if segment.tunnelled:
            ways[host] = Way(names.tunnel_port(host), TUNNEL)
        elif segment.uplink is not None:
            ways[host] = Way(names.patch_port(segment.uplink), WIRE)
    return ways.get(host)
