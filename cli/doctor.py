"""`weft doctor`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from weft.agents.doctor import Finding, findings

app = typer.Typer()

COLOURS = {"ok": "green", "warning": "yellow", "fail": "red"}


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print a list of findings.")] = False) -> None:
    """What this host can and cannot do, each failure with its mend. Exits with 1 where weft cannot work here."""
    found = findings()
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        Console().print(table(found))
    if any(finding.verdict == "fail" for finding in found):
        raise typer.Exit(1)


def table(found: list[Finding]) -> Table:
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("about", "", "found", "mend"):
        drawn.add_column(heading, overflow="fold")
    for finding in found:
        colour = COLOURS[finding.verdict]
        drawn.add_row(finding.about, f"[{colour}]{finding.verdict}[/{colour}]", finding.found, finding.mend)
    return drawn
