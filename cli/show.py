"""`weft show`."""

from typing import Annotated

import typer

from weft.apps.compile import Compiler
from weft.apps.why import origins
from weft.cli.flows import show_flows
from weft.cli.stores import FabricOption, JsonOption, StoreOption, look, target
from weft.cli.tables import show as show_rows
from weft.cli.views import VIEWS
from weft.topology.errors import WeftError

app = typer.Typer(add_completion=False)

WORDS = (*VIEWS, "flows")


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="WHAT", help=" | ".join(WORDS))] = "guests",
    store: StoreOption = "",
    fabric: FabricOption = "",
    as_json: JsonOption = False,
) -> None:
    """What is, beside what should be."""
    if what == "flows":
        seen = look(target(store, fabric))
        show_flows(origins(seen.fabric, Compiler().compile(seen.fabric, seen.facts)), as_json)
        return
    if what not in VIEWS:
        raise WeftError(f'weft show "{what}": not known; there are {", ".join(WORDS)}')
    rows = list(VIEWS[what](look(target(store, fabric))))
    show_rows(rows, as_json, f"no {what}")
