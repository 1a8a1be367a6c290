"""`weft plan`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from weft.cli.changes import Changes, compare, propose
from weft.cli.stores import JsonOption, StoreOption, ask, target
from weft.cli.tables import show

app = typer.Typer(add_completion=False)


@app.command()
def plan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The fabric file.")],
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """What `apply` would change: intent, flows per switch, actions per host. Exits with 2 where there is something."""
    proposal = propose(file)
    changes = ask(target(store, proposal.fabric.name), lambda client: compare(client, proposal))
    if as_json:
        print(json.dumps(asdict(changes), indent=2))
    else:
        print_changes(changes)
    if changes:
        raise typer.Exit(2)


def print_changes(changes: Changes) -> None:
    """For people: objects, then switches, then hosts."""
    if not changes:
        print("nothing to change")
    if changes.intent:
        show(changes.intent, False)
    if changes.flows:
        print()
        rows = [{"switch": switch, **{f"flows {what}": n for what, n in counts.items()}} for switch, counts in changes.flows.items()]
        show(rows, False)
    if changes.host:
        print()
        show([{"host": host, **action} for host, actions in changes.host.items() for action in actions], False)
