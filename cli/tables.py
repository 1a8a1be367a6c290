"""Rows for people and rows for programs: the same dictionaries, as a table or as JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]

UNFOLDED = 100_000
"""Characters in a line that is longer than any."""

COLOURS = {
    "wired": "green", "ok": "green", "in sync": "green", "yes": "green",
    "waiting": "yellow", "warning": "yellow", "behind": "yellow",
    "failed": "red", "fail": "red", "down": "red", "no": "red",
}  # fmt: skip


def show(rows: Sequence[Row], as_json: bool, empty: str = "nothing") -> None:
    """Prints rows that have the same keys; `empty` where there are none."""
    if as_json:
        print(json.dumps(list(rows), indent=2, default=str))
    elif rows:
        paper().print(table(rows))
    else:
        print(empty)


def paper() -> Console:
    """Standard output. Where it is no terminal nothing is folded: `grep` and `less` want a row to be a line."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNFOLDED)


def table(rows: Sequence[Row]) -> Table:
    """A table without lines: columns that are empty in every row are left out."""
    keys = [key for key in rows[0] if any(row[key] not in ("", None, [], False) for row in rows)]
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for key in keys:
        drawn.add_column(key, overflow="fold")
    for row in rows:
        drawn.add_row(*(cell(row[key]) for key in keys))
    return drawn


def cell(value: Any) -> Text:
    if isinstance(value, bool):
        value = "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
    return Text(text, style=COLOURS.get(text, ""))
