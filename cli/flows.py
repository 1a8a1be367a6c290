"""Flows for people: what is matched, what is done, and the lines of the fabric file behind it."""

import json
from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from weft.apps.pipeline import TABLES, Table
from weft.apps.text import action_text, flow_text, term_text
from weft.apps.why import Origin
from weft.cli.tables import Row, paper

PIPELINE = "the pipeline itself"


def show_flows(found: Iterable[Origin], as_json: bool) -> None:
    """Prints flows in the order given; a heading for each switch and table."""
    if as_json:
        print(json.dumps([row(origin) for origin in found], indent=2))
        return
    console, heading = paper(), ("", -1)
    for origin in found:
        if heading != (origin.switch, origin.flow.table):
            heading = origin.switch, origin.flow.table
            console.print(Text(f"{origin.switch} {origin.table.name}", "bold"), Text(origin.table.decides, "dim"))
        _show(console, origin)


def _show(console: Console, origin: Origin) -> None:
    flow, words = origin.flow, _words(origin.table)
    matched = ", ".join(map(term_text, flow.match)) or "everything"
    done = ", ".join(action_text(action, words) for action in flow.actions) or "drop"
    console.print(_indented(2, Text(f"{flow.cookie:#x} priority {flow.priority}", "cyan")))
    for line in (matched, f"-> {done}"):
        console.print(_indented(4, Text(line)))
    for path, source in origin.serves:
        console.print(_indented(4, Text.assemble((str(source) if source else PIPELINE, "green"), " ", path if source else "")))


def _indented(by: int, text: Text) -> Padding:
    return Padding(text, (0, 0, 0, by), expand=False)


def _words(table: Table) -> dict[int, str]:
    return {each.number: each.name for each in TABLES[table.bridge]}


def row(origin: Origin) -> Row:
    return {
        "switch": origin.switch,
        "table": origin.table.name,
        "cookie": f"{origin.flow.cookie:#x}",
        "flow": flow_text(origin.flow, _words(origin.table)),
        "why": [path for path, _ in origin.serves],
        "source": [str(source) for _, source in origin.serves if source],
    }
