"""The ways out of a host's service namespace, as they should be: by its uplinks, as the host is seen there, and by the host itself. Pure."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface, ip_network

from weft.agents.observed import HERE, Link, Observed
from weft.agents.service_steps import LeaveHostWay, Served, SetHostWay, SetServices, Way
from weft.agents.steps import Action
from weft.topology.hostrow import EndpointSpec, HostWaySpec, ServiceSpec, Spec, TunnelSpec, UplinkSpec
from weft.topology.model import HOST_UPLINK

Specs = Mapping[str, Spec]


def in_use(spec: HostWaySpec, here: Mapping[str, Link]) -> str:
    """A network that the host itself has elsewhere, as libvirt's own `default` on virbr0."""
    for network in map(ip_network, spec.networks):
        for link in here.values():
            for route, _ in link.routes if link.name != spec.port else ():
                if route != "default" and (other := ip_network(route)).version == network.version and network.overlaps(other):
                    return f"{network} is in use on {link.name} of this host: give the segment another subnet, or take {link.name} down"
    return ""


def serving(able: Specs, seen: Observed, namespace: str) -> Iterator[Action]:
    """Of the service namespace, once a segment has a port there."""
    segments = tuple(_served(spec, able) for spec in able.values() if isinstance(spec, ServiceSpec))
    if not segments:
        return
    uplinks = [spec for spec in able.values() if isinstance(spec, UplinkSpec)]
    ways = tuple(way for spec in uplinks if (way := way_out(spec, able, seen)))
    through = any(segment.uplink == HOST_UPLINK for segment in segments)
    host_way = next((spec.port for spec in able.values() if through and isinstance(spec, HostWaySpec)), "")
    step = SetServices(namespace, segments, ways, host_way)
    if seen.services != step.digest:
        yield Action("change", namespace, "routing and addresses of the services", step)


def host_way(able: Specs, seen: Observed) -> Iterator[Action]:
    """Of the host's side, where segments leave by the way the host itself goes."""
    spec = next((spec for spec in able.values() if isinstance(spec, HostWaySpec)), None)
    if spec is None and seen.host_way:
        yield Action("remove", "way out", "through the host", LeaveHostWay())
    step = SetHostWay(spec.port, spec.networks) if spec else None
    if step and seen.host_way != step.digest:
        yield Action("change", step.port, f"way out through the host for {', '.join(step.networks)}", step, f"way/{HOST_UPLINK}")


def _served(spec: ServiceSpec, able: Specs) -> Served:
    routed = (e for e in able.values() if spec.mode == "routed" and isinstance(e, EndpointSpec) and e.segment == spec.segment)
    guests = tuple(sorted(address.partition("/")[0] for endpoint in routed for address in endpoint.addresses))
    routes = tuple((to, via) for to, _, via in (route.split(" ") for route in spec.routes))
    return Served(spec.inside, spec.uplink, spec.mode, spec.addresses, routes, guests)


def way_out(spec: UplinkSpec, able: Specs, seen: Observed) -> Way | None:
    """How the host itself is on an uplink; None: nothing leaves there, or it has no IPv4 address there yet."""
    local = seen.links.get(HERE, {}).get(spec.bridge)
    address = translated(spec, able, seen)
    if spec.exit is None or local is None or address is None:
        return None
    six = translated6(spec, able, seen) or ""
    routes = tuple(sorted(route for route in local.routes if six or ":" not in route[0] + route[1]))
    return Way(spec.name, spec.exit, local.mac, address, routes, six)


def home(spec: UplinkSpec, seen: Observed) -> Link | None:
    """Where the host itself is on this network: on the uplink's bridge, or on its own that the uplink is beside."""
    return seen.links.get(HERE, {}).get(spec.joins or spec.bridge)


def translated(spec: UplinkSpec, able: Specs, seen: Observed) -> str | None:
    """The address guests leave by, in CIDR: in the default gateway's network, else the first that is not the tunnels' end."""
    return _leaving(spec, able, seen, 4)


def translated6(spec: UplinkSpec, able: Specs, seen: Observed) -> str | None:
    """The same for IPv6; a unique local address (RFC 4193) only where there is no other."""
    return _leaving(spec, able, seen, 6)


def _leaving(spec: UplinkSpec, able: Specs, seen: Observed, version: int) -> str | None:
    local = home(spec, seen)
    own = [known for address in (local.addresses if local else ()) if (known := ip_interface(address)).version == version]
    gateways = [ip_address(gateway) for network, gateway in (local.routes if local else ()) if network == "default" and gateway]
    tunnels = {tunnel.local for tunnel in able.values() if isinstance(tunnel, TunnelSpec)}
    ranked = sorted(own, key=lambda a: (not any(g in a.network for g in gateways), str(a.ip) in tunnels, a.is_private and version == 6))
    return str(ranked[0]) if ranked else None
