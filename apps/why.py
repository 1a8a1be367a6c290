"""Which line of the fabric file a flow comes from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from weft.apps.flow import Flow, Program
from weft.apps.pipeline import INTEGRATION, UPLINK, Table
from weft.topology.model import Fabric
from weft.topology.model_rules import Mirror, Policy, Qos, VirtualService
from weft.topology.terms import Source


@dataclass(frozen=True, slots=True)
class Origin:
    """A flow on a switch (``kvm1/br-weft``), and the objects it serves with the line of each; None: the pipeline itself."""

    switch: str
    table: Table
    flow: Flow
    serves: tuple[tuple[str, Source | None], ...]


def switches(fabric: Fabric) -> dict[int, tuple[str, str, tuple[Table, ...]]]:
    """Every switch of the fabric by datapath id: host, bridge and its tables."""
    known: dict[int, tuple[str, str, tuple[Table, ...]]] = {}
    for host in fabric.hosts.values():
        known[host.dpid] = (host.name, host.bridge, INTEGRATION)
        known |= {uplink.dpid: (host.name, uplink.bridge, UPLINK) for uplink in host.uplinks.values()}
    return known


def source(fabric: Fabric, path: str) -> Source | None:
    """The line of an object, by its path (``guests/web1/nics/eth0``); None where it has none."""
    match path.split("/"):
        case ["segments", name] if name in fabric.segments:
            return fabric.segments[name].source
        case ["hosts", name] if name in fabric.hosts:
            return fabric.hosts[name].source
        case ["hosts", name, "uplinks", uplink] if name in fabric.hosts and uplink in fabric.hosts[name].uplinks:
            return fabric.hosts[name].uplinks[uplink].source
        case ["hosts", name, "segments", segment] if f"{name}.{segment}" in fabric.endpoints:
            return fabric.endpoints[f"{name}.{segment}"].source
        case ["guests", name, "nics", nic] if f"{name}.{nic}" in fabric.endpoints:
            return fabric.endpoints[f"{name}.{nic}"].source
        case [("policies" | "services" | "mirrors" | "qos") as section, _]:
            items: Iterable[Policy | VirtualService | Mirror | Qos] = getattr(fabric, section)
            return next((item.source for item in items if item.path == path), None)
    return None


def origins(fabric: Fabric, programs: Mapping[int, Program]) -> Iterator[Origin]:
    """Every flow of every switch of the fabric, in the order of a packet, with the lines it comes from."""
    for dpid, (host, bridge, tables) in switches(fabric).items():
        for flow in sorted(programs[dpid].flows(), key=lambda flow: (flow.table, -flow.priority)):
            serves = tuple((path, source(fabric, path)) for path in flow.why)
            yield Origin(f"{host}/{bridge}", tables[flow.table], flow, serves)
