"""`weft show nics`: what hangs on NICs themselves, virtual functions and macvtaps, and who has it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from weft.cli.tables import Row
from weft.topology.model import Endpoint, Fabric, Host

Reports = Mapping[str, Mapping[str, str]]
"""By host and object, what its agent says, as JSON."""


def nics(fabric: Fabric, reports: Reports) -> Iterator[Row]:
    """Every function of every card of the file, with a guest or without, then every macvtap."""
    for host in fabric.hosts.values():
        own = [endpoint for endpoint in fabric.endpoints.values() if endpoint.direct and endpoint.host == host.name]
        said = {key: json.loads(text) for key, text in reports.get(host.name, {}).items()}
        yield from _functions(host, {(e.via, e.number): e for e in own if e.attach == "vf"}, said)
        for endpoint in own:
            if endpoint.attach == "macvtap":
                row = {"nic": endpoint.via, "kind": "macvtap", "number": None, "mode": endpoint.mode, "interface": endpoint.port}
                yield _row(host, endpoint, said, row | {"mac": endpoint.mac, "vlan": fabric.segments[endpoint.segment].vlan})


def _functions(host: Host, users: Mapping[tuple[str, int], Endpoint], said: Mapping[str, Any]) -> Iterator[Row]:
    for card in host.cards.values():
        there = {function["number"]: function for function in said.get(f"card/{card.nic}", {}).get("functions", ())}
        meant = {number: {"mac": endpoint.mac} for (nic, number), endpoint in users.items() if nic == card.nic}
        for number, function in sorted((meant | there).items()):
            row = {"nic": card.nic, "kind": "vf", "number": number, "pci": function.get("pci", ""), "group": function.get("group", "")}
            row |= {"driver": function.get("driver", ""), "interface": function.get("netdev", ""), "mac": function["mac"]}
            row |= {"vlan": function.get("vlan") or None, "used": function.get("busy", "")}
            row |= {"link": "" if (link := function.get("link", "auto")) == "auto" else link}
            yield _row(host, users.get((card.nic, number)), said, row)


def _row(host: Host, endpoint: Endpoint | None, said: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    """The same keys for all. Device: what a virtual machine opens; of a function its PCI address says it."""
    state = said.get(endpoint.row, {"state": "waiting", "reason": "the agent has not reported it"}) if endpoint else {}
    empty = {"host": host.name, "nic": "", "kind": "", "number": None, "mode": "", "pci": "", "group": "", "driver": "", "interface": ""}
    device = state.get("device", "") if row["kind"] == "macvtap" else ""
    about = {"endpoint": endpoint.name if endpoint else "", "state": state.get("state", ""), "reason": state.get("reason", "")}
    return {**empty, "device": device, "mac": "", "vlan": None, "link": "", "used": "", **row, **about}
