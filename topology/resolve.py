"""From a document to the `Fabric`: everything checked, everything derived, every fault said at once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from weft.topology import names
from weft.topology.addresses import allot
from weft.topology.check_direct import Around, check_direct, check_held
from weft.topology.check_hosts import check_hosts, check_interfaces
from weft.topology.check_joined import check_joined
from weft.topology.check_kinds import check_kinds
from weft.topology.check_libvirt import check_libvirt
from weft.topology.check_names import check_names
from weft.topology.check_outward import check_outward
from weft.topology.check_policies import check_policies
from weft.topology.check_pools import check_pools
from weft.topology.check_segments import check_segments
from weft.topology.check_services import check_services
from weft.topology.check_traffic import check_traffic
from weft.topology.direct import pools
from weft.topology.document import Document, Faults
from weft.topology.model import Card, Endpoint, Fabric, Guest, Host, Lab, Pool, Segment, Uplink
from weft.topology.overlay import WIRE_MTU
from weft.topology.plugs import endpoint, libvirt_of, plugs, same_macs
from weft.topology.resolve_rules import (
    resolve_mirrors,
    resolve_monitor,
    resolve_policies,
    resolve_qos,
    resolve_services,
)
from weft.topology.resolve_segments import resolve_segments
from weft.topology.schema import Lab as LabSpec
from weft.topology.shared import Shared, share
from weft.topology.unsupported import refuse_unsupported

LAB_UPLINK, LAB_NIC = "underlay", "under0"
"""What a lab gives a host without uplinks, so that its tunnels have a bridge that owns the underlay address."""


def resolve(document: Document, lab: bool = False) -> Fabric:
    """The fabric that a document describes; `lab`: as `weft lab` builds it. Raises WeftError with a line for each fault."""
    if lab and document.spec.lab is None:
        document = replace(document, spec=document.spec.model_copy(update={"lab": LabSpec()}))
    faults = Faults(document)
    check_names(document, faults)
    check_segments(document, faults)
    check_services(document, faults)
    check_hosts(document, faults)
    check_joined(document, faults)
    check_traffic(document, faults)
    check_kinds(document, faults)
    check_libvirt(document, faults)
    check_direct(document, lab, faults)
    check_pools(document, faults)
    refuse_unsupported(document, faults)
    hosts = _hosts(document, lab)
    segments = resolve_segments(document, hosts, faults)
    shared = share(document, faults)
    endpoints = _endpoints(document, segments, shared, lab, faults)
    check_interfaces(hosts, endpoints.values(), faults)
    check_outward(document, endpoints, faults)
    faults.throw()
    policies = resolve_policies(document, endpoints)
    check_policies(document, policies, segments, endpoints, faults)
    check_held(document, policies, Around(segments, endpoints, hosts), faults)
    faults.throw()
    return Fabric(
        name=document.spec.fabric,
        overlay=document.spec.overlay.type,  # type: ignore[arg-type]  # stt is refused
        segments=segments,
        hosts=hosts,
        guests=_guests(document, endpoints.values()),
        endpoints=endpoints,
        lab=Lab(document.spec.lab.outside) if document.spec.lab else None,
        policies=policies,
        services=tuple(resolve_services(document, shared, endpoints)),
        mirrors=resolve_mirrors(document, segments),
        qos=tuple(resolve_qos(document)),
        monitor=resolve_monitor(document),
        watch=document.spec.overlay.watch,
    )


# ---- hosts


def _hosts(document: Document, lab: bool) -> dict[str, Host]:
    fabric = document.spec.fabric
    made = {}
    for name, spec in document.spec.hosts.items():
        uplinks = {uplink: _uplink(document, name, uplink, lab) for uplink in spec.uplinks}
        if lab and not uplinks:
            uplinks[LAB_UPLINK] = _lab_uplink(document, name)
        dpid = names.dpid(fabric, name, spec.bridge)
        libvirt = libvirt_of(spec, lab)
        cards = {nic: Card(nic, pf.vfs, pf.uplink) for nic, pf in spec.sriov.items()}
        macvtap = {nic: given.uplink for nic, given in spec.macvtap.items()}
        source = document.source("hosts", name)
        made[name] = Host(name, spec.address, spec.bridge, dpid, uplinks, source, libvirt, cards, macvtap, tuple(_pools(document, name)))
    return made


def _pools(document: Document, host: str) -> Iterator[Pool]:
    for pool in pools(document, host):
        yield Pool(pool.kind, pool.nic, pool.segments, document.source(*pool.path))


def _uplink(document: Document, host: str, name: str, lab: bool) -> Uplink:
    """In a lab there is nobody outside to give addresses: it gives a host its own."""
    spec, bridge = document.spec.hosts[host].uplinks[name], names.uplink_bridge(name)
    source = document.source("hosts", host, "uplinks", name)
    dpid = names.dpid(document.spec.fabric, host, bridge)
    if spec.bridge is not None:
        return Uplink(name, bridge, dpid, names.joint(name)[:1], "none", None, spec.mtu, source, joins=spec.bridge)
    address = "keep" if lab and spec.address == "dhcp" else str(spec.address)
    return Uplink(name, bridge, dpid, spec.nics, address, spec.gateway, spec.mtu, source, spec.bond)


def _lab_uplink(document: Document, host: str) -> Uplink:
    bridge = names.uplink_bridge(LAB_UPLINK)
    dpid = names.dpid(document.spec.fabric, host, bridge)
    return Uplink(LAB_UPLINK, bridge, dpid, (LAB_NIC,), "keep", None, WIRE_MTU, document.source("hosts", host))


# ---- guests


def _endpoints(document: Document, segments: Mapping[str, Segment], shared: Shared, lab: bool, faults: Faults) -> dict[str, Endpoint]:
    plugged = list(plugs(document, segments, lab))
    same_macs(plugged, segments, faults)
    addresses = allot(plugged, document, faults, shared.taken)
    return {plug.name: endpoint(document, plug, addresses[plug.name]) for plug in plugged}


def _guests(document: Document, endpoints: Iterable[Endpoint]) -> dict[str, Guest]:
    owned: dict[str, list[Endpoint]] = {name: [] for name in document.spec.guests}
    for each in endpoints:
        if each.guest in owned:
            owned[each.guest].append(each)
    return {
        name: Guest(name, spec.host, spec.labels, tuple(owned[name]), document.source("guests", name))
        for name, spec in document.spec.guests.items()
    }
