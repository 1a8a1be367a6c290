"""From what should be to what every switch should hold.

The flows of a switch come in units, one for each thing a host has to do with (an endpoint admitted, an endpoint reached, a
segment flooded, an uplink translated). A unit is computed anew only when what it is made from has changed, and an unchanged unit is
the very same tuple as before: the cost of a change follows the change. Apps name their units as parts; the lists of apps are below.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from weft.apps import (
    admit,
    bridging,
    cables,
    claims,
    leases,
    limits,
    mirrors,
    neighbours,
    policies,
    private,
    routing,
    sharing,
    shortway,
    snooping,
    tags,
    translate,
    untranslated,
)  # fmt: skip
from weft.apps.facts import Facts
from weft.apps.flow import Flow, Group, Identity, Meter, Program
from weft.apps.parties import Law
from weft.apps.pipeline import GUEST
from weft.apps.strangers import coming, placed, strangers
from weft.apps.text import flow_text
from weft.apps.view import Part, Site, Unit, View, Way, view
from weft.topology import names
from weft.topology.errors import WeftError
from weft.topology.model import Endpoint, Fabric, Segment


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
        self._before: dict[tuple[str, ...], tuple[tuple[Any, ...], Made]] = {}
        self._now: dict[tuple[str, ...], tuple[tuple[Any, ...], Made]] = {}
        self._law: Law | None = None

    def compile(self, fabric: Fabric, facts: Facts) -> dict[int, Program]:
        """The programs of all switches of the fabric, by datapath id."""
        self._before, self._now = self._now, {}
        fabric = placed(fabric, facts)
        members: dict[str, list[Endpoint]] = {name: [] for name in fabric.segments}
        for endpoint in (*fabric.endpoints.values(), *strangers(fabric, facts)):
            members[endpoint.segment].append(endpoint)
        soon = tuple(coming(members, facts))
        self._law = law = Law(fabric, facts, self._law)
        programs: dict[int, Program] = {}
        for host in fabric.hosts.values():
            here = view(fabric, host, facts, members, law, soon)
            made = chain.from_iterable(parts(here) for parts in INTEGRATION_PARTS)
            programs[host.dpid] = replace(self._program(host.name, made), fragments=True)
            for number, name in enumerate(sorted(host.uplinks)):
                made = chain.from_iterable(parts(here, number) for parts in UPLINK_PARTS)
                programs[host.uplinks[name].dpid] = self._program(host.name, made)
        return programs

    def _program(self, host: str, parts: Iterable[Part]) -> Program:
        units: dict[tuple[str, ...], tuple[Flow, ...]] = {}
        groups: tuple[Group, ...] = ()
        meters: tuple[Meter, ...] = ()
        for part in parts:
            key = (host, *part.key)
            known = self._before.get(key)
            if known is None or known[0] != part.inputs:
                known = (part.inputs, _sorted_out(part.make(*part.inputs)))
            self._now[key] = known
            made = known[1]
            if made[0]:
                units[key] = made[0]
            groups += made[1]
            meters += made[2]
        return Program(units, groups, meters)


Made = tuple[tuple[Flow, ...], tuple[Group, ...], tuple[Meter, ...]]


def _sorted_out(unit: Unit) -> Made:
    flows, groups, meters = (tuple(one for one in unit if isinstance(one, kind)) for kind in (Flow, Group, Meter))
    return flows, groups, meters  # type: ignore[return-value]


def defaults() -> Unit:
    return admit.defaults() + bridging.defaults()


def known(endpoint: Endpoint, segment: Segment, way: Way) -> Unit:
    return bridging.reach(endpoint, segment, way) + neighbours.owner(endpoint, segment)


def service(segment: Segment, port: str) -> Unit:
    return admit.service(segment, port) + neighbours.gateway(segment, port)


def wire(segment: Segment, patch: str) -> Unit:
    return admit.wire(segment, patch) + bridging.tag(segment)


def switching(here: View) -> Iterator[Part]:
    """Segments as layer-2 domains: who is admitted, learned, known, reached and flooded."""
    yield Part(("defaults",), defaults)
    if any(site.segment.strangers for site in here.inhabited):
        yield Part(("learning",), bridging.learning)
    for site in here.inhabited:
        yield from _segment(site)


def _segment(site: Site) -> Iterator[Part]:
    segment = site.segment
    ports = tuple(endpoint.port for endpoint in site.local)
    yield Part(("flood", segment.name), bridging.flood, (segment, ports, site.beyond))
    if segment.tunnelled:
        yield Part(("tunnel", segment.name), admit.tunnel, (segment,))
    elif segment.mode == "bridged" and segment.uplink is not None:
        patch = names.patch_port(segment.uplink)
        yield Part(("wire", segment.name), wire, (segment, patch))
        for endpoint in site.local:
            yield Part(("guard", endpoint.name), admit.wire_guard, (endpoint, segment, patch))
    if segment.served:
        yield Part(("service", segment.name), service, (segment, names.service_port(segment.name)))
    for endpoint in site.coming:
        yield Part(("admit", endpoint.name), admit.guest, (endpoint, segment))
    for endpoint in site.local:
        yield Part(("admit", endpoint.name), admit.guest, (endpoint, segment))
        yield Part(("reach", endpoint.name), known, (endpoint, segment, Way(endpoint.port, GUEST)))
    for endpoint, way in site.remote:
        yield Part(("reach", endpoint.name), known, (endpoint, segment, way))


INTEGRATION_PARTS: tuple[Callable[[View], Iterable[Part]], ...] = (
    switching,
    leases.parts,
    routing.parts,
    shortway.parts,
    private.parts,
    tags.parts,
    claims.parts,
    cables.parts,
    sharing.parts,
    snooping.parts,
    policies.parts,
    mirrors.parts,
    limits.parts,
)
"""What apps want of the integration bridge of a host."""

UPLINK_PARTS: tuple[Callable[[View, int], Iterable[Part]], ...] = (
    translate.parts,
    untranslated.parts,
    shortway.uplink_parts,
    mirrors.uplink_parts,
)
"""What apps want of the bridge of a host's n-th uplink (`View.uplink`)."""
