"""`weft plan`."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from weft.cli.changes import Changes, Proposal, compare, in_steps, propose
from weft.cli.stores import JsonOption, StoreOption, ask, target
from weft.cli.tables import show
from weft.topology.ovsdb import Client

app = typer.Typer(add_completion=False)


@app.command()
def plan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The fabric file.")],
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """What `apply` would change: intent, flows per switch, and the steps of each host's agent, in order. Exits with 2 where there is something.

    An uplink that was put back, since the host was cut off, is listed with the reason (`retry`): `apply` tries it again.
    An agent plans from what it sees: what only can be planned once a step is done (an address moves when its NIC is in the bridge) is not told.
    """
    proposal = propose(file)
    changes, silent = ask(target(store, proposal.fabric.name), lambda client: _planned(client, proposal))
    for host in silent:
        print(f"host {host}: its agent does not answer: objects that differ, not the steps that it would take", file=sys.stderr)
    if as_json:
        print(json.dumps(asdict(changes), indent=2))
    else:
        print_changes(changes)
    if changes:
        raise typer.Exit(2)


async def _planned(client: Client, proposal: Proposal) -> tuple[Changes, list[str]]:
    return await in_steps(client, proposal, await compare(client, proposal))


def print_changes(changes: Changes) -> None:
    """For people: objects, then switches, then hosts, as far as there are any."""
    if not changes:
        print("nothing to change")
    flows = [{"switch": switch, **{f"flows {what}": n for what, n in counts.items()}} for switch, counts in changes.flows.items()]
    hosts = [{"host": host, **action} for host, actions in changes.host.items() for action in actions]
    for number, rows in enumerate(rows for rows in (changes.intent, flows, hosts) if rows):
        if number:
            print()
        show(rows, False)
