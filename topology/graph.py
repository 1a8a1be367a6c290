"""The fabric as one networkx graph: what is meant, and beside it what hosts and switches report.

Nodes go by kind and name (``guest:web1``); the attributes of each are its ``kind``, ``name``, what the fabric says of it, and
``observed``, what was reported of it ({} where nothing was). Edges have a ``kind`` of their own:

==============================  ================================================================================
``plug``                        endpoint - integration bridge, by the port in ``port``; or NIC, by its virtual function or macvtap
``patch``                       integration bridge - uplink bridge
``port``                        uplink bridge - NIC, or the bond that several are, or a neighbour: a Linux bridge of the host's
``bonded``                      bond - NIC
``wire``                        NIC, or neighbour - physical network
``tunnel``                      integration bridge - integration bridge of another host
``owns``                        host - bridge, bond, neighbour or NIC, guest - endpoint
``runs``                        host - guest
``member``                      endpoint - segment
``leaves``                      segment - physical network
==============================  ================================================================================

Packets travel over the first six. Questions about them are functions here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx

from weft.topology import names
from weft.topology.errors import WeftError
from weft.topology.model import Endpoint, Fabric, Host, Segment, Uplink, underlay_uplink
from weft.topology.overlay import joined

Graph = nx.Graph
State = Mapping[str, Any]
Reports = Mapping[str, Mapping[str, State]]
"""By host, what its row in the store reports: ``endpoint/web1.eth0`` -> {"state", "reason"} and so on."""
OUTWARD = ("plug", "patch", "port", "bonded", "wire")
"""Edges from an endpoint to a physical network."""


def build(fabric: Fabric, reports: Reports | None = None, switches: Mapping[int, State] | None = None) -> "Graph[str]":
    """`switches`: what is known of each datapath id ({"connected", "flows", ...})."""
    graph: Graph[str] = nx.Graph(name=fabric.name)
    seen, known = reports or {}, switches or {}
    for segment in fabric.segments.values():
        _segment(graph, segment)
    for host in fabric.hosts.values():
        _host(graph, host, seen.get(host.name, {}), known)
    _tunnels(graph, fabric, seen)
    for guest in fabric.guests.values():
        _add(graph, "guest", guest.name, host=guest.host, labels=dict(guest.labels), source=str(guest.source))
        graph.add_edge(f"host:{guest.host}", f"guest:{guest.name}", kind="runs")
        for endpoint in guest.endpoints:
            _endpoint(graph, fabric, endpoint, seen.get(guest.host, {}))
    return graph


def _add(graph: "Graph[str]", kind: str, name: str, observed: State | None = None, **intended: Any) -> str:
    node = f"{kind}:{name}"
    graph.add_node(node, kind=kind, name=name, **intended, observed=dict(observed or {}))
    return node


def _segment(graph: "Graph[str]", segment: Segment) -> None:
    node = _add(
        graph,
        "segment",
        segment.name,
        mode=segment.mode,
        network_id=segment.id,  # `id` is the node itself in node-link JSON
        vlan=segment.vlan,
        mtu=segment.mtu,
        subnets=[str(subnet.network) for subnet in segment.subnets],
        gateways=[str(subnet.gateway) for subnet in segment.subnets],
        source=str(segment.source),
    )
    if segment.uplink:
        graph.add_edge(node, _physnet(graph, segment.uplink), kind="leaves")


def _physnet(graph: "Graph[str]", name: str) -> str:
    return f"physnet:{name}" if f"physnet:{name}" in graph else _add(graph, "physnet", name)


def _host(graph: "Graph[str]", host: Host, report: Mapping[str, State], switches: Mapping[int, State]) -> None:
    address = str(host.address) if host.address else None
    node = _add(graph, "host", host.name, report.get("host"), address=address, source=str(host.source))
    bridge = _bridge(graph, host, None, host.dpid, switches)
    for uplink in host.uplinks.values():
        _uplink(graph, host, uplink, bridge, report.get(f"uplink/{uplink.name}", {}), switches)
    for name, wire in {**{card.nic: card.uplink for card in host.cards.values()}, **host.macvtap}.items():
        _own_nic(graph, host, name, wire, report.get(f"card/{name}", {}))
    for owned in [other for other in graph if other.partition(":")[2].startswith(f"{host.name}/")]:
        graph.add_edge(node, owned, kind="owns")


def _bridge(graph: "Graph[str]", host: Host, uplink: Uplink | None, dpid: int, switches: Mapping[int, State]) -> str:
    """An uplink's, or without one the integration bridge."""
    name, wire = (uplink.bridge, uplink.name) if uplink else (host.bridge, None)
    return _add(graph, "bridge", f"{host.name}/{name}", switches.get(dpid), host=host.name, dpid=f"{dpid:016x}", uplink=wire)


def _uplink(graph: "Graph[str]", host: Host, uplink: Uplink, to: str, report: State, switches: Mapping[int, State]) -> None:
    bridge = _bridge(graph, host, uplink, uplink.dpid, switches)
    port = names.patch_port(uplink.name)
    graph.add_edge(to, bridge, kind="patch", port=port, uplink=uplink.name, observed=dict(report))
    meant = {"host": host.name, "address": uplink.address, "mtu": uplink.mtu, "source": str(uplink.source)}
    if uplink.joins:
        neighbour = _add(graph, "neighbour", f"{host.name}/{uplink.joins}", report, **meant)
        graph.add_edge(bridge, neighbour, kind="port", port=uplink.nics[0], uplink=uplink.name)
        graph.add_edge(neighbour, _physnet(graph, uplink.name), kind="wire")
        return
    mode = None if uplink.bond == "none" else uplink.bond
    bond = _bond(graph, host, uplink, bridge, report) if mode else None
    for name in uplink.nics:
        observed = {**report, **report.get("nics", {}).get(name, {})}
        nic = _add(graph, "nic", f"{host.name}/{name}", observed, bond=mode, **meant)
        if bond:
            graph.add_edge(bond, nic, kind="bonded")
        else:
            graph.add_edge(bridge, nic, kind="port", port=name, uplink=uplink.name)
        graph.add_edge(nic, _physnet(graph, uplink.name), kind="wire")


def _bond(graph: "Graph[str]", host: Host, uplink: Uplink, bridge: str, report: State) -> str:
    """Several NICs as one port of their bridge."""
    port = names.bond_port(uplink.name)
    observed = {word: report[word] for word in ("state", "reason") if word in report}
    bond = _add(graph, "bond", f"{host.name}/{port}", observed, host=host.name, mode=uplink.bond, source=str(uplink.source))
    graph.add_edge(bridge, bond, kind="port", port=port, uplink=uplink.name)
    return bond


def _own_nic(graph: "Graph[str]", host: Host, name: str, wire: str, report: State) -> None:
    """A NIC with virtual functions or macvtaps, which may be an uplink's too."""
    if f"nic:{host.name}/{name}" not in graph:
        _add(graph, "nic", f"{host.name}/{name}", report, host=host.name)
    vfs = host.cards[name].vfs if name in host.cards else 0
    graph.nodes[f"nic:{host.name}/{name}"].update(vfs=vfs, functions=report.get("functions", []))
    graph.add_edge(f"nic:{host.name}/{name}", _physnet(graph, wire), kind="wire")


def _tunnels(graph: "Graph[str]", fabric: Fabric, reports: Reports) -> None:
    """An edge for both directions; `observed` has what each host says of its end."""
    if not joined(fabric):
        return
    ends = [host for host in fabric.hosts.values() if host.address]
    for place, one in enumerate(ends):
        for other in ends[place + 1 :]:
            told = {end.name: reports.get(end.name, {}).get(f"tunnel/{far.name}") for end, far in ((one, other), (other, one))}
            observed = {host: dict(state) for host, state in told.items() if state}
            over = [*_underlay(one), *_underlay(other)]
            graph.add_edge(bridge_of(one), bridge_of(other), kind="tunnel", type=fabric.overlay, over=over, observed=observed)


def _underlay(host: Host) -> list[str]:
    """The NIC, bond or neighbour that carries a host's tunnels."""
    uplink = underlay_uplink(host)
    if uplink and uplink.joins:
        return [f"neighbour:{host.name}/{uplink.joins}"]
    if uplink and uplink.bond != "none":
        return [f"bond:{host.name}/{names.bond_port(uplink.name)}"]
    return [f"nic:{host.name}/{nic}" for nic in uplink.nics] if uplink else []


def bridge_of(host: Host) -> str:
    return f"bridge:{host.name}/{host.bridge}"


def _endpoint(graph: "Graph[str]", fabric: Fabric, endpoint: Endpoint, report: Mapping[str, State]) -> None:
    node = _add(
        graph,
        "endpoint",
        endpoint.name,
        report.get(endpoint.row),
        guest=endpoint.guest,
        host=endpoint.host,
        segment=endpoint.segment,
        mac=endpoint.mac,
        addresses=[str(address) for address in endpoint.addresses],
        attach=endpoint.attach,
        source=str(endpoint.source),
    )
    owner = "host" if endpoint.attach == "host" else "guest"
    graph.add_edge(f"{owner}:{endpoint.guest}", node, kind="owns")
    if endpoint.direct:
        graph.add_edge(node, f"nic:{endpoint.host}/{endpoint.via}", kind="plug", port=endpoint.port, number=endpoint.number, mode=endpoint.mode)
    else:
        graph.add_edge(node, bridge_of(fabric.hosts[endpoint.host]), kind="plug", port=endpoint.port)
    graph.add_edge(node, f"segment:{endpoint.segment}", kind="member")


# ---- questions


def members_of(graph: "Graph[str]", segment: str) -> tuple[str, ...]:
    """The endpoints of a segment, in the order of the file."""
    node = _known(graph, f"segment:{segment}")
    return tuple(other.partition(":")[2] for other in graph if other in graph[node] and graph[node][other]["kind"] == "member")


def path(graph: "Graph[str]", source: str, target: str) -> tuple[str, ...] | None:
    """The nodes from one endpoint to another of its segment, or from an endpoint to a physical network; None: no way."""
    start = _known(graph, f"endpoint:{source}")
    end = f"endpoint:{target}" if f"endpoint:{target}" in graph else _known(graph, f"physnet:{target}")
    carrying = outward(graph, source) if end.startswith("physnet:") else carrier(graph, graph.nodes[start]["segment"])
    if end not in carrying or not nx.has_path(carrying, start, end):
        return None
    return tuple(nx.shortest_path(carrying, start, end))


def flood_tree(graph: "Graph[str]", segment: str, source: str | None = None) -> "nx.DiGraph[str]":
    """The way of a broadcast from an endpoint (default: the segment's first) to everyone who hears it."""
    members = members_of(graph, segment)
    tree: nx.DiGraph[str] = nx.DiGraph()
    if not members:
        return tree
    carrying = carrier(graph, segment)
    ways = nx.single_source_shortest_path(carrying, _known(graph, f"endpoint:{source or members[0]}"))
    for end, steps in ways.items():
        if graph.nodes[end]["kind"] in ("endpoint", "physnet"):
            nx.add_path(tree, steps)
    return tree


def blast_radius(graph: "Graph[str]", *lost: str) -> dict[str, tuple[str, ...]]:
    """Whom the loss of nodes (``host:kvm1``, ``nic:kvm1/ens224``) touches, by segment.

    An endpoint is touched that is lost itself, or reaches less of its segment, or of the world, than before.
    """
    gone = {follower for node in lost for follower in _with_it(graph, _known(graph, node))}
    left = graph.subgraph(node for node in graph if node not in gone)
    touched = {}
    for node, segment in of_kind(graph, "segment"):
        before, after = _reach(graph, segment["name"]), {} if node in gone else _reach(left, segment["name"])
        hit = tuple(name for name in members_of(graph, segment["name"]) if before[name] != after.get(name))
        if hit:
            touched[segment["name"]] = hit
    return touched


def _with_it(graph: "Graph[str]", node: str) -> Iterator[str]:
    """A host takes its bridges, NICs and guests along, a guest its endpoints."""
    yield node
    kind = graph.nodes[node]["kind"]
    for other, edge in graph[node].items() if kind in ("host", "guest") else ():
        if edge["kind"] == "owns":
            yield other
        elif edge["kind"] == "runs" and kind == "host":
            yield from _with_it(graph, other)


def _reach(graph: "Graph[str]", segment: str) -> dict[str, set[str]]:
    """The endpoints and physical networks that each member of a segment gets to."""
    reached: dict[str, set[str]] = {}
    for component in nx.connected_components(carrier(graph, segment)):
        ends = {node for node in component if graph.nodes[node]["kind"] in ("endpoint", "physnet")}
        for node in component:
            if graph.nodes[node]["kind"] == "endpoint":
                name = graph.nodes[node]["name"]
                world = {other for other in nx.node_connected_component(outward(graph, name), node) if other.startswith("physnet:")}
                reached[name] = ends | world
    return reached


def carrier(graph: "Graph[str]", segment: str) -> "Graph[str]":
    """What carries frames of one segment: its endpoints and bridges, and tunnels or wires between them."""
    node = _known(graph, f"segment:{segment}")
    kinds = OUTWARD if graph.nodes[node]["mode"] == "bridged" else ("plug", "tunnel")
    endpoints = {f"endpoint:{name}" for name in members_of(graph, segment)}
    return _view(graph, endpoints | _ways_out(graph, node), {graph.nodes[name]["host"] for name in endpoints}, kinds)


def outward(graph: "Graph[str]", endpoint: str) -> "Graph[str]":
    """An endpoint and its own host's way to the physical network that its segment leaves by."""
    node = _known(graph, f"endpoint:{endpoint}")
    at = graph.nodes[node]
    return _view(graph, {node} | _ways_out(graph, f"segment:{at['segment']}"), {at["host"]}, OUTWARD)


def _ways_out(graph: "Graph[str]", segment: str) -> set[str]:
    return {other for other, edge in graph[segment].items() if edge["kind"] == "leaves"}


def _view(graph: "Graph[str]", ends: set[str], hosts: set[str], kinds: tuple[str, ...]) -> "Graph[str]":
    """`ends`, and the bridges, bonds, neighbours and NICs of `hosts`, joined by edges of these kinds; a tunnel needs what it runs over."""

    def node_counts(node: str) -> bool:
        at = graph.nodes[node]
        return node in ends or (at["kind"] in ("bridge", "bond", "neighbour", "nic") and at["host"] in hosts)

    def edge_counts(one: str, other: str) -> bool:
        edge = graph[one][other]
        return edge["kind"] in kinds and all(_carries(graph, port) for port in edge.get("over", ()))

    return nx.subgraph_view(graph, filter_node=node_counts, filter_edge=edge_counts)


def _carries(graph: "Graph[str]", port: str) -> bool:
    """A NIC that is there, or a bond with one of its NICs."""
    if port not in graph or graph.nodes[port]["kind"] != "bond":
        return port in graph
    return any(edge["kind"] == "bonded" for edge in graph[port].values())


def _known(graph: "Graph[str]", node: str) -> str:
    if node not in graph:
        kind, _, name = node.partition(":")
        raise WeftError(f'there is no {kind} "{name}"')
    return node


def of_kind(graph: "Graph[str]", kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [(node, attributes) for node, attributes in graph.nodes(data=True) if attributes["kind"] == kind]
