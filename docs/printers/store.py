"""docs/store.md: the tables of the store, from `topology/fabric.ovsschema`, with a word for each column."""

import json
from pathlib import Path
from typing import Any

from docs.printers.markdown import printed_from, table
from weft.topology.server import SCHEMA

HEAD = """\
# The store

An OVSDB database (RFC 7047) of weft's own, served by an `ovsdb-server` over one file and a unix socket. It is all that
commands, controller and agents share: they meet here and nowhere else. `ovsdb-client dump` shows it.
"""

TABLES = {
    "Fabric": "The fabric, one row.",
    "Object": "What somebody wants: one row for each object of the fabric file.",
    "Host": "One row for each host: what it should have, and what it reports. Its agent follows this row, and what it is asked.",
    "Switch": "One row for each switch that connected, written by the controller.",
    "Policy": "One row for each policy that a switch counted something for, written by the controller.",
    "Controller": "The controller in charge, one row. What it writes waits for its own epoch: one that was replaced writes nothing any more.",
    "Question": "What an agent would do, asked by `weft plan`, which takes the row away again.",
    "Journal": "Every change of intent: who, when, what.",
}

COLUMNS = {
    "Fabric.name": "name of the fabric",
    "Fabric.file": "the file it was applied from",
    "Fabric.lab": "its hosts are namespaces of one machine",
    "Fabric.serial": "grows by one with every change of intent",
    "Object.path": "such as `segments/office`; unique",
    "Object.spec": "JSON text, as it was written",
    "Object.line": "its line in the file",
    "Host.name": "unique",
    "Host.wanted": "object (`endpoint/web1.eth0`) to JSON text: what the agent makes so",
    "Host.wanted_serial": "serial of the change that touched `wanted` last",
    "Host.state": "object to JSON text: what is, `wired`, `waiting` or `failed`, and why",
    "Host.applied_serial": "serial up to which the agent has made it so",
    "Host.seen": "when the agent reported last, in seconds since 1970",
    "Switch.dpid": "datapath id, 16 hexadecimal digits; unique",
    "Switch.bridge": "its bridge's name",
    "Switch.bare": "in no fabric, a learning switch",
    "Switch.connected": "has a connection to the controller",
    "Switch.flows": "flows of ours that it holds",
    "Switch.synced_serial": "serial up to which its flows are as they should be",
    "Switch.missing": "names of ports that flows wait for",
    "Switch.drift": "what was found changed by another hand, in words",
    "Policy.name": "unique",
    "Policy.packets": "that it decided, of all switches together",
    "Policy.octets": "and how many those were",
    "Controller.epoch": "grows with every new controller; also the `generation_id` of its OpenFlow role",
    "Controller.targets": "where it listens for switches",
    "Controller.pid": "its process",
    "Question.host": "whose agent is asked",
    "Question.wanted": "as `Host.wanted`, if the proposal were applied",
    "Question.asked": "when, in seconds since 1970; a minute later nobody waits for an answer",
    "Question.answer": "JSON text: `steps` in order; empty: not answered yet",
    "Journal.serial": "the serial that the change made",
    "Journal.at": "when, in seconds since 1970",
    "Journal.who": "user and machine",
    "Journal.what": "the change, in words",
}


def text() -> str:
    schema = json.loads(Path(SCHEMA).read_text())
    parts = [printed_from("topology/fabric.ovsschema"), HEAD]
    for name, described in schema["tables"].items():
        rows = [(f"`{column}`", kind(spec["type"]), COLUMNS[f"{name}.{column}"]) for column, spec in described["columns"].items()]
        parts += [f"## {name}\n", TABLES[name] + "\n", table(("column", "type", "says"), rows)]
    return "\n".join(parts)


def kind(given: Any) -> str:
    """An OVSDB type (RFC 7047, 3.2) in words."""
    if isinstance(given, str):
        return given
    key = given["key"] if isinstance(given["key"], str) else given["key"]["type"]
    if "value" in given:
        return f"map of {key} to {given['value'] if isinstance(given['value'], str) else given['value']['type']}"
    many = given.get("max", 1) != 1
    return f"set of {key}" if many else f"{key}, or none" if given.get("min", 1) == 0 else str(key)
