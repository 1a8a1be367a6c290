"""The graph of a fabric as a picture: hosts as boxes, guests in them, one colour for each segment. Drawn by graphviz."""

import subprocess
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from typing import Any

from weft.topology.errors import WeftError
from weft.topology.graph import Graph, of_kind

COLOURS = (
    ("#2563eb", "#dbeafe"),
    ("#d97706", "#fef3c7"),
    ("#059669", "#d1fae5"),
    ("#db2777", "#fce7f3"),
    ("#7c3aed", "#ede9fe"),
    ("#0891b2", "#cffafe"),
    ("#ca8a04", "#fef9c3"),
    ("#dc2626", "#fee2e2"),
    ("#4d7c0f", "#ecfccb"),
    ("#64748b", "#e2e8f0"),
)
"""Line and fill, given to segments in the order of the file and then again."""

BAD = "#dc2626"
FONT = 'fontname="Helvetica,Arial,sans-serif"'
HEAD = f"""\
  graph [{FONT} fontsize=12 fontcolor="#334155" bgcolor="white" compound=true nodesep=0.35 ranksep=0.55 pad=0.3 splines=spline newrank=true]
  node [{FONT} fontsize=11 shape=plain fontcolor="#0f172a"]
  edge [{FONT} fontsize=9 fontcolor="#475569" color="#64748b" dir=none penwidth=1.4]"""


def as_dot(graph: "Graph[str]") -> str:
    lines = [f"digraph {_quoted(graph.name)} {{", HEAD]
    colours = {attributes["name"]: COLOURS[place % len(COLOURS)] for place, (_, attributes) in enumerate(of_kind(graph, "segment"))}
    lines.append(f"  graph [label=<{_legend(graph, colours)}> labelloc=t labeljust=l]")
    # Before the hosts: graphviz puts those in the order of the file only when what joins them is known.
    wire_style = 'shape=box style=filled color="#334155" fillcolor="#334155" fontcolor=white width=3 height=0.3'
    lines += (f'  {_quoted(node)} [label="{wire["name"]}" {wire_style}]' for node, wire in of_kind(graph, "physnet"))
    for node, host in of_kind(graph, "host"):
        lines += _host(graph, node, host, colours)
    lines += _edges(graph, colours)
    lines += _side_by_side(graph)
    return "\n".join((*lines, "}")) + "\n"


def as_svg(graph: "Graph[str]") -> str:
    return render(graph, "svg").decode()


def render(graph: "Graph[str]", form: str) -> bytes:
    """The picture in one of graphviz's forms. Raises WeftError where `dot` is missing or fails."""
    try:
        return subprocess.run(["dot", f"-T{form}"], input=as_dot(graph).encode(), capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise WeftError("no `dot` here to draw with: apt-get install graphviz, or take --format dot") from None
    except subprocess.CalledProcessError as error:
        raise WeftError(f"dot failed: {error.stderr.decode(errors='replace').strip()}") from None


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _host(graph: "Graph[str]", node: str, host: dict[str, Any], colours: dict[str, tuple[str, str]]) -> Iterator[str]:
    address = f'<br align="left"/><font point-size="9" color="#64748b">{host["address"]}</font>' if host["address"] else ""
    yield f"  subgraph {_quoted('cluster ' + node)} {{"
    style = 'labeljust=l style="rounded,filled" color="#cbd5e1" fillcolor="#f8fafc" margin=14'
    yield f'    graph [label=<<b>{host["name"]}</b>{address}<br align="left"/>> {style}]'
    for other, edge in graph[node].items():
        attributes = graph.nodes[other]
        if edge["kind"] == "runs":
            yield f"    {_quoted(other)} [label=<{_guest(graph, other, colours)}>]"
        elif attributes["kind"] == "bridge":
            yield f"    {_quoted(other)} [{_bridge(attributes)}]"
        elif attributes["kind"] in ("bond", "neighbour", "nic"):
            yield f'    {_quoted(other)} [label="{_port(attributes)}" {_box("#94a3b8", "white", attributes)}]'
    yield "  }"


def _guest(graph: "Graph[str]", node: str, colours: dict[str, tuple[str, str]]) -> str:
    """A small table: the guest, and a cell in the segment's colour for each NIC."""
    guest = graph.nodes[node]
    nics = [other for other, edge in graph[node].items() if edge["kind"] == "owns"]
    labels = ", ".join(f"{key}={value}" for key, value in guest["labels"].items())
    said = f'<br/><font point-size="8" color="#64748b">{escape(labels)}</font>' if labels else ""
    cells = "".join(_nic(graph.nodes[nic], *colours[graph.nodes[nic]["segment"]]) for nic in nics)
    head = f'<tr><td colspan="{len(nics)}" border="0" cellpadding="4"><b>{guest["name"]}</b>{said}</td></tr>'
    table = '<table border="1" cellborder="0" cellspacing="3" cellpadding="3" style="rounded" bgcolor="white" color="#94a3b8">'
    return f"{table}{head}<tr>{cells}</tr></table>"


def _nic(endpoint: dict[str, Any], line: str, fill: str) -> str:
    state = endpoint["observed"].get("state", "wired")
    nic = endpoint["name"].partition(".")[2]
    addresses = "".join(f'<br/><font point-size="8">{address.partition("/")[0]}</font>' for address in endpoint["addresses"])
    mark = "" if state == "wired" else f'<br/><font point-size="8" color="{BAD}"><b>{escape(state)}</b></font>'
    cell = f'port="{nic}" border="1" color="{BAD if state == "failed" else line}" bgcolor="{fill}" style="rounded"'
    return f'<td {cell}><font color="{line}">{nic}</font>{addresses}{mark}</td>'


def _bridge(attributes: dict[str, Any]) -> str:
    observed = attributes["observed"]
    flows = f"\\n{observed['flows']} flows" if "flows" in observed else ""
    lost = "\\nnot connected" if observed.get("connected") is False else ""
    fill = "#e2e8f0" if attributes["uplink"] else "#c7d2fe"
    colour = BAD if lost else "#475569"
    label = attributes["name"].partition("/")[2] + flows + lost
    return f'label="{label}" shape=box style="rounded,filled" color="{colour}" fillcolor="{fill}" height=0.3 margin="0.18,0.06"'


def _port(attributes: dict[str, Any]) -> str:
    """A NIC, with its link where that is down; a bond with its mode; a Linux bridge of the host's."""
    name, observed = attributes["name"].partition("/")[2], attributes["observed"]
    more = "link down" if observed.get("link") == "down" else ""
    more = attributes["mode"] if attributes["kind"] == "bond" else "Linux bridge" if attributes["kind"] == "neighbour" else more
    return f"{name}\\n{more}" if more else name


def _box(line: str, fill: str, attributes: dict[str, Any]) -> str:
    bad = attributes["observed"].get("state") == "failed" or attributes["observed"].get("link") == "down"
    line = BAD if bad else line
    return f'shape=box style="filled" color="{line}" fillcolor="{fill}" height=0.24 margin="0.1,0.03" fontsize=9'


def _edges(graph: "Graph[str]", colours: dict[str, tuple[str, str]]) -> Iterator[str]:
    for one, other, edge in graph.edges(data=True):
        if edge["kind"] == "plug":
            endpoint, bridge = (one, other) if one.startswith("endpoint:") else (other, one)
            at = graph.nodes[endpoint]
            port = f"{_quoted('guest:' + at['guest'])}:{at['name'].partition('.')[2]}:s"
            yield f'  {port} -> {_quoted(bridge)} [color="{colours[at["segment"]][0]}" penwidth=1.8]'
        elif edge["kind"] in ("patch", "port", "bonded"):
            yield f"  {_quoted(one)} -> {_quoted(other)}"
        elif edge["kind"] == "wire":
            nic, wire = (one, other) if other.startswith("physnet:") else (other, one)
            yield f'  {_quoted(nic)} -> {_quoted(wire)} [penwidth=2.2 color="#334155"]'
        elif edge["kind"] == "tunnel":
            yield f'  {_quoted(one)} -> {_quoted(other)} [tooltip="{edge["type"]}" style=dashed color="#6366f1"]'


def _side_by_side(graph: "Graph[str]") -> Iterator[str]:
    """From left to right in the order of the file: guests on one level, integration bridges on another.

    Tunnels order the bridges that they join; a second edge there would fail an assertion of graphviz (2.43).
    """
    hosts = [graph[node] for node, _ in of_kind(graph, "host")]
    guests = [other for host in hosts for other, edge in host.items() if edge["kind"] == "runs"]
    bridges = [other for host in hosts for other in host if _is_integration(graph, other)]
    for level in (guests, bridges):
        yield f"  {{ rank=same; {'; '.join(map(_quoted, level))} }}"
        pairs = [pair for pair in pairwise(level) if not graph.has_edge(*pair)]
        yield from (f"  {_quoted(one)} -> {_quoted(other)} [style=invis]" for one, other in pairs)


def _is_integration(graph: "Graph[str]", node: str) -> bool:
    return graph.nodes[node]["kind"] == "bridge" and not graph.nodes[node]["uplink"]


def _legend(graph: "Graph[str]", colours: dict[str, tuple[str, str]]) -> str:
    rows = "".join(_legend_row(graph, segment, *colours[segment["name"]]) for _, segment in of_kind(graph, "segment"))
    title = f'<tr><td colspan="2" align="left"><font point-size="16"><b>{graph.name}</b></font></td></tr>'
    return f'<table border="0" cellborder="0" cellspacing="4" cellpadding="3">{title}{rows}</table>'


def _legend_row(graph: "Graph[str]", segment: dict[str, Any], line: str, fill: str) -> str:
    wires = [graph.nodes[other]["name"] for other, edge in graph[f"segment:{segment['name']}"].items() if edge["kind"] == "leaves"]
    tag = [f"vlan {segment['vlan']}"] if segment["vlan"] else []
    what = ", ".join((" ".join((segment["mode"], *wires, *tag)), *segment["subnets"]))
    name = f'<td border="1" color="{line}" bgcolor="{fill}" style="rounded"><font color="{line}"><b>{segment["name"]}</b></font></td>'
    return f'<tr>{name}<td align="left"><font point-size="9" color="#475569">{escape(what)}</font></td></tr>'
