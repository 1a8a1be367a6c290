"""The graph of a fabric for people at a terminal and for programs; the picture is in `weft.topology.dot`."""

import json
from typing import Any

import networkx as nx
from rich.markup import escape
from rich.tree import Tree

from weft.topology.graph import Graph, members_of, of_kind

STATES = {"wired": "green", "waiting": "yellow", "failed": "red"}


def as_json(graph: "Graph[str]") -> str:
    """networkx's node-link form (`networkx.node_link_graph(data, edges="edges")` reads it), everything in a fixed order."""
    data = nx.node_link_data(graph, edges="edges")
    data["nodes"].sort(key=lambda node: node["id"])
    data["edges"] = sorted((_ordered(edge) for edge in data["edges"]), key=lambda edge: (edge["source"], edge["target"]))
    return json.dumps(data, indent=2, sort_keys=True)


def _ordered(edge: dict[str, Any]) -> dict[str, Any]:
    source, target = sorted((edge["source"], edge["target"]))
    return {**edge, "source": source, "target": target}


def as_tree(graph: "Graph[str]") -> Tree:
    """For a terminal of 80 columns."""
    root = Tree(f"[bold]{graph.name}[/bold]", guide_style="dim")
    segments = root.add("[dim]segments[/dim]")
    for _, segment in of_kind(graph, "segment"):
        branch = segments.add(f"[bold]{segment['name']}[/bold] {escape(_segment(graph, segment))}")
        members = members_of(graph, segment["name"])
        branch.add(escape(" ".join(members)) if members else "[dim]nobody[/dim]")
    hosts = root.add("[dim]hosts[/dim]")
    for node, host in of_kind(graph, "host"):
        _host(graph, hosts.add(f"[bold]{host['name']}[/bold] {escape(host['address'] or '')}".rstrip()), node)
    return root


def _segment(graph: "Graph[str]", segment: dict[str, Any]) -> str:
    words = [segment["mode"]]
    wires = [graph.nodes[other]["name"] for other, edge in graph[f"segment:{segment['name']}"].items() if edge["kind"] == "leaves"]
    words += [("on " if segment["mode"] == "bridged" else "by ") + wire for wire in wires]
    words += [f"vlan {segment['vlan']}"] if segment["vlan"] else []
    return ", ".join((" ".join(words), *segment["subnets"], f"mtu {segment['mtu']}"))


def _host(graph: "Graph[str]", branch: Tree, node: str) -> None:
    for other, edge in graph[node].items():
        attributes = graph.nodes[other]
        if attributes["kind"] == "bridge":
            _bonded(graph, branch.add(f"[cyan]{escape(_bridge(graph, other))}[/cyan]{_switch(attributes['observed'])}"), other)
        if edge["kind"] == "runs":
            labels = " ".join(f"{key}={value}" for key, value in attributes["labels"].items())
            _guest(graph, branch.add(f"{attributes['name']} [dim]{escape(labels)}[/dim]" if labels else attributes["name"]), other)


def _bridge(graph: "Graph[str]", node: str) -> str:
    name = graph.nodes[node]["name"].partition("/")[2]
    ends = [f"{edge['uplink']} by {edge['port']}{_mode(graph, end)}" for end, edge in graph[node].items() if edge["kind"] == "port"]
    peers = [graph.nodes[other]["host"] for other, edge in graph[node].items() if edge["kind"] == "tunnel"]
    ends += [f"tunnels to {', '.join(peers)}"] if peers else []
    return f"{name}: {', '.join(ends)}" if ends else name


def _mode(graph: "Graph[str]", node: str) -> str:
    """What kind of a port, where it is no NIC."""
    at = graph.nodes[node]
    return f" ({at['mode']})" if at["kind"] == "bond" else f" (into {at['name'].partition('/')[2]})" if at["kind"] == "neighbour" else ""


def _bonded(graph: "Graph[str]", branch: Tree, bridge: str) -> None:
    """The NICs of a bridge's bonds; a NIC alone is on the bridge's own line."""
    for bond in (end for end, edge in graph[bridge].items() if edge["kind"] == "port"):
        for nic, edge in graph[bond].items():
            if edge["kind"] == "bonded":
                branch.add(f"{escape(graph.nodes[nic]['name'].partition('/')[2])}{_link(graph.nodes[nic]['observed'])}")


def _link(observed: dict[str, Any]) -> str:
    """A NIC's link and whether it is the active one of its bond, as far as that is known."""
    link = observed.get("link")
    if not link:
        return ""
    partner = f", partner {observed['partner']}" if observed.get("partner") else ""
    return f" [{'green' if link == 'up' else 'red'}]link {link}[/]{', active' if observed.get('active') else ''}{partner}"


def _switch(observed: dict[str, Any]) -> str:
    if "connected" not in observed:
        return ""
    return f" [green]connected[/green], {observed.get('flows', 0)} flows" if observed["connected"] else " [red]not connected[/red]"


def _guest(graph: "Graph[str]", branch: Tree, node: str) -> None:
    for other, edge in graph[node].items():
        if edge["kind"] == "owns":
            endpoint = graph.nodes[other]
            nic, addresses = endpoint["name"].partition(".")[2], " ".join(endpoint["addresses"]) or "any address"
            branch.add(f"{nic} [dim]in[/dim] {endpoint['segment']} {escape(addresses)}{_state(endpoint['observed'])}")


def _state(observed: dict[str, Any]) -> str:
    state = observed.get("state")
    if state is None:
        return ""
    reason = f": {escape(observed['reason'])}" if observed.get("reason") else ""
    return f" [{STATES.get(state, 'red')}]{escape(state)}[/]{reason}"
