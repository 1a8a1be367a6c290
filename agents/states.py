"""What an agent reports: the state of each object its host should have, from what it sees after all is done."""

import json
from collections.abc import Iterator, Mapping
from ipaddress import ip_interface

from weft.agents.answers import needed
from weft.agents.asking import unanswered
from weft.agents.direct import direct_said, direct_state
from weft.agents.networks import libvirt_state
from weft.agents.observed import HERE, Observed
from weft.agents.plan import Failures, Wanted
from weft.agents.service_steps import SetHostWay
from weft.agents.strangers import plugged_state, stranger_states
from weft.agents.uplinks import missing
from weft.agents.watching import link_state, monitor_state
from weft.agents.ways import home, translated, translated6, way_out
from weft.topology.hostrow import (
    BridgeSpec,
    DhcpSpec,
    DirectSpec,
    EndpointSpec,
    HostWaySpec,
    LibvirtObject,
    MemberSpec,
    MonitorSpec,
    ServiceSpec,
    TunnelSpec,
    UplinkSpec,
)

Served = ServiceSpec | HostWaySpec | MemberSpec | MonitorSpec
Wired = BridgeSpec | UplinkSpec | TunnelSpec | EndpointSpec | DirectSpec | LibvirtObject | Served


def states(wanted: Wanted, seen: Observed, failures: Failures) -> dict[str, str]:
    """By object: JSON with ``state`` (wired, waiting, failed) and ``reason``, and for uplinks what flows depend on."""
    found = dict(_leases(wanted, seen))
    for key, spec in wanted.items():
        if isinstance(spec, DhcpSpec):
            continue  # said with the service's own
        state, reason = failures.get(key) or _state_of(spec, wanted, seen)
        said: dict[str, object] = {"state": state, "reason": reason}
        if isinstance(spec, UplinkSpec):
            said |= _uplink(spec, wanted, seen)
            if state == "wired" and (lacks := missing(spec, seen)):
                said |= {"state": "failed", "reason": f"{lacks}: the bond goes on without it"}
            said["reason"] = said["reason"] or unanswered(spec, seen) or _inside_only(spec, wanted, seen)
        elif isinstance(spec, TunnelSpec) and state == "wired":
            link, why = link_state(spec, seen.ports[spec.port].health)
            said |= {"link": link, "link_reason": why} if link else {}
        elif isinstance(spec, DirectSpec):
            said |= direct_said(spec, seen)
        dhcp = wanted.get(f"dhcp/{spec.segment}") if isinstance(spec, ServiceSpec) and state == "wired" else None
        if isinstance(dhcp, DhcpSpec) and needed(dhcp, wanted, seen):
            said |= _answers(dhcp, seen)
        found[key] = json.dumps(said, separators=(",", ":"))
    return found | dict(stranger_states(wanted, seen))


def _state_of(spec: Wired, wanted: Wanted, seen: Observed) -> tuple[str, str]:
    if isinstance(spec, EndpointSpec) and spec.attach == "libvirt":
        return plugged_state(spec, wanted, seen)
    if isinstance(spec, LibvirtObject):
        return libvirt_state(spec, wanted, seen)
    if isinstance(spec, BridgeSpec):
        return ("wired", "") if spec.name in seen.bridges else ("waiting", f"bridge {spec.name} is not there yet")
    if isinstance(spec, HostWaySpec):
        made = spec.port in seen.links.get(HERE, {}) and seen.host_way == SetHostWay(spec.port, spec.networks).digest
        return ("wired", "") if made else ("waiting", "the host's side of it is not set yet")
    if isinstance(spec, DirectSpec):
        return direct_state(spec, seen)
    if isinstance(spec, MemberSpec):
        return "waiting", "it was not asked yet whether it lives"
    if isinstance(spec, MonitorSpec):
        return monitor_state(spec, seen)
    name, port = spec.port, seen.ports.get(spec.port)
    if port is None or port.ofport is None:
        return "waiting", f"port {name} is not there yet"
    if port.ofport < 0 or port.error:
        return "failed", port.error or f"Open vSwitch cannot open {name}"
    if isinstance(spec, ServiceSpec) and not seen.services:
        return "waiting", "the namespace behind it is not set yet"
    return "wired", ""


def _answers(spec: DhcpSpec, seen: Observed) -> Mapping[str, str]:
    if spec.segment not in seen.answering:
        return {"state": "waiting", "reason": "dnsmasq does not run yet"}
    if spec.forwards and not seen.resolvers:
        return {"reason": "the host has no IPv4 resolver but on its own loopback: names outside are refused"}
    return {}


def _leases(wanted: Wanted, seen: Observed) -> Iterator[tuple[str, str]]:
    """``lease/SEGMENT/ADDRESS``: who has it, and until when."""
    for segment, answering in seen.answering.items():
        for lease in answering.leases if f"dhcp/{segment}" in wanted else ():
            said = {"state": "leased", "mac": lease.mac, "name": lease.name, "until": lease.until}
            yield f"lease/{segment}/{lease.address}", json.dumps(said, separators=(",", ":"))


def _uplink(spec: UplinkSpec, wanted: Wanted, seen: Observed) -> Mapping[str, object]:
    local = home(spec, seen)
    if local is None:
        return {"nics": _nics(spec, seen)}
    address = translated(spec, wanted, seen)
    gateway = next((gateway for network, gateway in local.routes if network == "default" and ":" not in gateway), "")
    translate = address.partition("/")[0] if address else ""
    six = (translated6(spec, wanted, seen) or "").partition("/")[0]
    own = {"mac": local.mac, "addresses": list(local.addresses), "translate": translate, "translate6": six, "gateway": gateway}
    return {**own, "nics": _nics(spec, seen), **_next_hops(spec, wanted, seen)}


def _nics(spec: UplinkSpec, seen: Observed) -> dict[str, dict[str, object]]:
    """By NIC: its link (``up``, ``down``; empty: not known), MTU, whether the bond's traffic goes by it, its LACP partner's system id."""
    port, here = seen.ports.get(spec.port), seen.links.get(HERE, {})
    members = {member.name: member for member in (port.members if port else ())}
    said: dict[str, dict[str, object]] = {}
    for nic in spec.nics:
        member, link = members.get(nic), here.get(nic)
        said[nic] = {"link": member.link if member else "", "mtu": link.mtu if link else 0}
        if spec.bond != "none" and port and link:
            said[nic]["active"] = link.mac == port.active
        if spec.bond == "lacp":
            said[nic]["partner"] = seen.partners.get(nic, "") if member and member.current else ""
    return said


def _next_hops(spec: UplinkSpec, wanted: Wanted, seen: Observed) -> Mapping[str, object]:
    """Where the default routes lead, with the MAC there, and what is reached on this uplink in any other way."""
    way = way_out(spec, wanted, seen)
    if way is None:
        return {}
    known = seen.nexthops.get(way.inside, {})
    hops = {gateway: known[gateway] for gateway in way.gateways.values() if gateway in known}
    own = [str(ip_interface(address).network) for address in seen.links[HERE][spec.bridge].addresses]
    beside = sorted({*own, *(network for network, _ in way.routes if network != "default")})
    return {"hops": hops, "beside": beside} if hops else {}


def _inside_only(spec: UplinkSpec, wanted: Wanted, seen: Observed) -> str:
    """What of the segments on an uplink stays inside, because the host has no address there that it could leave by."""
    if spec.bridge not in seen.links.get(HERE, {}) or spec.exit is None:
        return ""
    served = [s for s in wanted.values() if isinstance(s, ServiceSpec) and s.uplink == spec.name]
    if served and translated(spec, wanted, seen) is None:
        return f"{spec.bridge} has no IPv4 address: nothing of {', '.join(s.segment for s in served)} leaves"
    wires = [ip_interface(address).network for address in seen.links[HERE][spec.bridge].addresses]
    for segment in served:
        for net in (ip_interface(address).network for address in segment.addresses):
            if any(wire.version == net.version and wire.subnet_of(net) for wire in wires):  # type: ignore[arg-type]
                said = f"{net} of {segment.segment} is the whole network on {spec.bridge}"
                return f"{said}: its guests reach nothing there, give them a part of it"
    sixes = [s.segment for s in served if any(":" in address for address in s.addresses)]
    if sixes and translated6(spec, wanted, seen) is None:
        return f"{spec.bridge} has no global IPv6 address: nothing of {', '.join(sixes)} leaves over IPv6"
    return ""
