"""`weft show`."""

from typing import Annotated

import typer

from weft.cli.stores import FabricOption, JsonOption, StoreOption, look, target
from weft.cli.tables import show as show_rows
from weft.cli.views import VIEWS
from weft.topology.errors import WeftError

app = typer.Typer()

LATER = {"policies"}


@app.command()
def show(
    what: Annotated[str, typer.Argument(help=" | ".join(VIEWS))] = "guests",
    store: StoreOption = "",
    fabric: FabricOption = "",
    as_json: JsonOption = False,
) -> None:
    """What is, beside what should be."""
    if what in LATER:
        raise WeftError(f"weft show {what}: not supported yet")
    if what not in VIEWS:
        raise WeftError(f'weft show "{what}": not known; there are {", ".join(VIEWS)}')
    rows = list(VIEWS[what](look(target(store, fabric))))
    show_rows(rows, as_json, f"no {what}")
