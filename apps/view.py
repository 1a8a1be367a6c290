"""One host of a fabric, as its flows are made from it: which segments it has to do with, and how it reaches their members."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from weft.apps.facts import Facts
from weft.apps.flow import Flow, Group, Meter
from weft.apps.parties import Law
from weft.apps.pipeline import TUNNEL, WIRE
from weft.topology import names
from weft.topology.model import Endpoint, Fabric, Host, Segment, Uplink

Unit = tuple[Flow | Group | Meter, ...]
"""What is made from one thing, and made anew only when that changes."""


class Part(NamedTuple):
    """A unit to be: its name on the host, and what makes it from which inputs."""

    key: tuple[str, ...]
    make: Callable[..., Unit]
    inputs: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """How one host reaches something: the port, and what kind of place is behind it."""

    port: str
    place: int


@dataclass(frozen=True, slots=True)
class Site:
    """One segment as one host sees it."""

    segment: Segment
    local: tuple[Endpoint, ...]
    remote: tuple[tuple[Endpoint, Way], ...]
    beyond: tuple[Way, ...]
    """To the other hosts with members, or to the wire: where group traffic goes too."""
    here: bool
    """It has members here, or its router."""
    coming: tuple[Endpoint, ...] = ()
    """Members on other hosts that are about to be here."""


@dataclass(frozen=True, slots=True)
class View:
    fabric: Fabric
    host: Host
    facts: Facts
    sites: Mapping[str, Site]
    """By segment: those with members here, and those that are routed to from here."""
    law: Law

    @property
    def inhabited(self) -> Iterator[Site]:
        """The segments with members or a router here."""
        return (site for site in self.sites.values() if site.here)

    def uplink(self, number: int) -> Uplink:
        """In the order of names, which numbers the conntrack zones."""
        return self.host.uplinks[sorted(self.host.uplinks)[number]]


def view(fabric: Fabric, host: Host, facts: Facts, members: Mapping[str, list[Endpoint]], law: Law, coming: Iterable[Endpoint] = ()) -> View:
    """`members`: the endpoints of every segment; `coming`: those that are about to be on another host than they are, as they will be."""
    sites, soon = {}, [endpoint for endpoint in coming if endpoint.host == host.name]
    here = {name for name, found in members.items() if any(endpoint.host == host.name and not endpoint.direct for endpoint in found)}
    here |= {endpoint.segment for endpoint in soon}
    here |= {name for name, segment in fabric.segments.items() if segment.routed_on(host)}
    routing = any(fabric.segments[name].joined for name in here)
    for name, found in members.items():
        segment = fabric.segments[name]
        if (segment.joined and routing) or name in here:
            routers = [other.name for other in fabric.hosts.values() if segment.routed_on(other)]
            sites[name] = _site(host, segment, found, routers, tuple(endpoint for endpoint in soon if endpoint.segment == name))
    return View(fabric, host, facts, sites, law)


def _site(host: Host, segment: Segment, endpoints: list[Endpoint], routers: list[str], coming: tuple[Endpoint, ...]) -> Site:
    """`routers`: hosts that have the segment's router even where they have no guest of it. Who hangs on a NIC itself is beyond the wire,
    also for his own host."""
    local = tuple(endpoint for endpoint in endpoints if endpoint.host == host.name and not endpoint.direct)
    ways: dict[str, Way] = {}
    remote = []
    for endpoint in endpoints:
        if (endpoint.host != host.name or endpoint.direct) and (way := _way(segment, endpoint.host, ways)):
            remote.append((endpoint, way))
    here = bool(local or coming) or host.name in routers
    if segment.tunnelled:
        for other in routers:
            _way(segment, other, ways)
        beyond = tuple(ways[name] for name in sorted(ways) if name != host.name) if here else ()
        return Site(segment, local, tuple(remote), beyond, here, coming)
    wire_way = (Way(names.patch_port(segment.uplink), WIRE),) if segment.mode == "bridged" and segment.uplink else ()
    return Site(segment, local, tuple(remote), wire_way, here, coming)


def _way(segment: Segment, host: str, ways: dict[str, Way]) -> Way | None:
    if host not in ways:
        if segment.tunnelled:
            ways[host] = Way(names.tunnel_port(host), TUNNEL)
        elif segment.mode == "bridged" and segment.uplink is not None:
            ways[host] = Way(names.patch_port(segment.uplink), WIRE)
    return ways.get(host)
