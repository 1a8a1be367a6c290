"""From the fabric to what each host should have: the contents of the hosts' rows in the store (`weft.topology.hostrow`)."""

from collections.abc import Iterator, Mapping

from weft.topology import names
from weft.topology.dhcp_rows import dhcp_rows
from weft.topology.direct_rows import direct_rows, pool_rows
from weft.topology.hostrow import (
    BridgeSpec,
    EndpointSpec,
    HostWaySpec,
    LibvirtSpec,
    MemberSpec,
    MonitorSpec,
    NetworkSpec,
    ServiceSpec,
    Spec,
    TunnelSpec,
    UplinkSpec,
)
from weft.topology.libvirt_xml import bridge_network, network_name
from weft.topology.model import HOST_UPLINK, Endpoint, Fabric, Host, Segment, Uplink, underlay_uplink
from weft.topology.overlay import joined, mirrored_vlans

Row = tuple[str, Spec]


def host_rows(fabric: Fabric) -> dict[str, dict[str, Spec]]:
    """Every host's objects by key (``endpoint/web1.eth0``)."""
    local: dict[str, list[Endpoint]] = {name: [] for name in fabric.hosts}
    for endpoint in fabric.endpoints.values():
        local[endpoint.host].append(endpoint)
    tunnels = joined(fabric)
    mpids = names.allot(f"mpid/{fabric.name}", fabric.hosts, 13) if fabric.watch == "cfm" else dict.fromkeys(fabric.hosts, 0)
    leaving = {segment.uplink for segment in fabric.segments.values() if _leaves(segment)}
    rows = {}
    for name, host in fabric.hosts.items():
        inside = (fabric.segments[endpoint.segment] for endpoint in local[name])
        vlans = 2 if any(segment.qinq for segment in (*inside, *published(fabric, host).values())) else 1
        row: dict[str, Spec] = {f"bridge/{host.bridge}": BridgeSpec(host.bridge, host.dpid, vlans)}
        row |= (_uplink(fabric, host, uplink, uplink.name in leaving) for uplink in host.uplinks.values())
        if tunnels:
            row |= _tunnels(fabric, host, mpids)
        here = {endpoint.segment for endpoint in local[name]}
        here |= {segment.name for segment in fabric.segments.values() if segment.routed_on(host)}
        row |= _services(fabric, host, here)
        row |= _host_way(fabric, host)
        row |= dhcp_rows(fabric, host, row)
        row |= _endpoints(fabric, host, [endpoint for endpoint in local[name] if not endpoint.direct])
        row |= direct_rows(fabric, host)
        row |= _members(fabric, host)
        row |= _monitors(fabric, host)
        row |= _libvirt(fabric, host)
        row |= pool_rows(fabric, host)
        rows[name] = row
    return rows


def published(fabric: Fabric, host: Host) -> dict[str, Segment]:
    """The segments that a host's libvirt has as networks, by the names of those."""
    wired = [segment for segment in fabric.segments.values() if host.libvirt is not None and host.wired_to(segment)]
    return {network_name(fabric.name, segment.name): segment for segment in wired}


def network_keys(fabric: Fabric, host: Host) -> list[str]:
    """In its row, all networks that a host's libvirt should have, and what macvtaps of its pools are on."""
    return [*(f"network/{name}" for name in published(fabric, host)), *(key for key, _ in pool_rows(fabric, host))]


def _libvirt(fabric: Fabric, host: Host) -> Iterator[Row]:
    if host.libvirt is not None:
        yield f"libvirt/{host.name}", LibvirtSpec(host.libvirt, fabric.name)
    for name, segment in published(fabric, host).items():
        yield f"network/{name}", NetworkSpec(name, segment.name, bridge_network(fabric.name, segment.name, host.bridge))


def _leaves(segment: Segment) -> bool:
    """By the service namespace; what is bridged leaves by itself."""
    return segment.uplink is not None and segment.mode in ("nat", "routed")


def _uplink(fabric: Fabric, host: Host, uplink: Uplink, leaves: bool) -> Row:
    return f"uplink/{uplink.name}", UplinkSpec(
        name=uplink.name,
        bridge=uplink.bridge,
        dpid=uplink.dpid,
        integration=host.bridge,
        nics=uplink.nics,
        bond=uplink.bond,
        port=uplink.nics[0] if uplink.bond == "none" else names.bond_port(uplink.name),
        address=uplink.address,
        gateway=str(uplink.gateway) if uplink.gateway else None,
        mtu=uplink.mtu,
        patch=names.patch_port(uplink.name),
        patch_peer=names.patch_peer(uplink.name),
        exit=names.exit_port(uplink.name) if leaves else None,
        unlearned=mirrored_vlans(fabric, host.name, uplink.name),
        joins=uplink.joins,
    )


def _tunnels(fabric: Fabric, host: Host, mpids: Mapping[str, int]) -> Iterator[Row]:
    """To every other host that has an underlay address."""
    for name, peer in fabric.hosts.items():
        if host.address and peer.address and name != host.name:
            port, local, remote = names.tunnel_port(name), str(host.address.ip), str(peer.address.ip)
            watched = (fabric.watch, mpids[host.name], mpids[name])
            yield f"tunnel/{name}", TunnelSpec(port, host.bridge, fabric.overlay, local, remote, *watched)


def _monitors(fabric: Fabric, host: Host) -> Iterator[Row]:
    """On every bridge: a packet is sampled by the first that it comes to."""
    underlay = underlay_uplink(host)
    bridges = (host.bridge, *(uplink.bridge for uplink in host.uplinks.values()))
    for kind in ("sflow", "netflow", "ipfix"):
        if fabric.monitor and (target := getattr(fabric.monitor, kind)):
            agent = (underlay.joins or underlay.bridge) if underlay else ""
            yield f"monitor/{kind}", MonitorSpec(kind, target, fabric.monitor.sampling, agent, bridges)


def _services(fabric: Fabric, host: Host, here: set[str]) -> Iterator[Row]:
    for name, segment in fabric.segments.items():
        if segment.served and name in here:
            addresses = tuple(f"{subnet.gateway}/{subnet.network.prefixlen}" for subnet in segment.subnets)
            uplink = segment.uplink if _leaves(segment) else None
            # The port's name inside as well: a segment may be called `default`, which no interface may (it is a sysctl).
            port = names.service_port(name)
            mac = segment.gateway_mac
            shared = tuple(dict.fromkeys(f"{s.address}/{s.address.max_prefixlen}" for s in fabric.services if s.segment == name))
            routes = tuple(f"{route.to} via {route.via}" for route in segment.routes)
            said = (name, port, host.bridge, port, mac, addresses, segment.mtu, uplink, shared, segment.mode, routes)
            yield f"service/{name}", ServiceSpec(*said)


def _members(fabric: Fabric, host: Host) -> Iterator[Row]:
    for service in fabric.services:
        gateway = fabric.segments[service.segment].gateway_beside(service.address)
        for name in service.members:
            endpoint = fabric.endpoints[name]
            address = endpoint.beside(service.address)
            if endpoint.host == host.name and gateway and address:
                port, tcp = names.service_port(service.segment), service.to_port if service.protocol == "tcp" else None
                yield f"member/{service.name}/{name}", MemberSpec(service.name, name, port, str(gateway), str(address), tcp)


def _host_way(fabric: Fabric, host: Host) -> Iterator[Row]:
    segments = [segment for segment in fabric.segments.values() if segment.uplink == HOST_UPLINK]
    if segments:
        networks = tuple(str(subnet.network) for segment in segments for subnet in segment.subnets)
        mac = names.mac(fabric.name, f"way/{host.name}")
        yield f"way/{HOST_UPLINK}", HostWaySpec(names.exit_port(HOST_UPLINK), mac, networks)


def _endpoints(fabric: Fabric, host: Host, local: list[Endpoint]) -> Iterator[Row]:
    routed: set[tuple[str, int]] = set()
    cables: dict[str, list[Endpoint]] = {}
    for endpoint in local:
        cables.setdefault(endpoint.cable, []).append(endpoint)
    for endpoint, *others in cables.values():
        segment = fabric.segments[endpoint.segment]
        bare = endpoint.tag is not None
        yield f"endpoint/{endpoint.cable}", EndpointSpec(
            name=endpoint.cable,
            guest=endpoint.guest,
            port=endpoint.port,
            bridge=host.bridge,
            attach=endpoint.attach,
            inside=endpoint.nic,
            mac=endpoint.mac,
            addresses=() if bare else tuple(str(address) for address in endpoint.addresses),
            gateways=() if bare or endpoint.attach == "host" else tuple(_gateways(endpoint, segment, routed)),
            mtu=min(fabric.segments[each.segment].mtu for each in (endpoint, *others)),
            segment=segment.name,
            tap=endpoint.tap,
            pin=endpoint.pin,
        )


def _gateways(endpoint: Endpoint, segment: Segment, routed: set[tuple[str, int]]) -> Iterator[str]:
    """A guest's default routes: one for each IP version, by the first NIC that has a way out of its segment."""
    own = {address.ip for address in endpoint.addresses}
    for subnet in segment.subnets if segment.mode != "isolated" else ():
        key = (endpoint.guest, subnet.network.version)
        reaches = any(address.ip in subnet.network for address in endpoint.addresses)
        if reaches and subnet.gateway not in own and key not in routed:
            routed.add(key)
            yield str(subnet.gateway)
