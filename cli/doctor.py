"""`weft doctor`."""

from dataclasses import asdict
from typing import Annotated

import typer

from weft.agents.doctor import findings
from weft.cli.tables import show

app = typer.Typer(add_completion=False)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print a list of findings.")] = False) -> None:
    """What this host can and cannot do, each failure with its mend. Exits with 1 where weft cannot work here."""
    found = findings()
    show([asdict(finding) for finding in found], as_json)
    if any(finding.verdict == "fail" for finding in found):
        raise typer.Exit(1)
