"""`weft topology`."""

from collections.abc import Mapping
from json import loads
from typing import Annotated

import typer

from weft.cli.stores import FabricOption, StoreOption, look, target
from weft.cli.tables import paper
from weft.topology.dot import as_dot, as_svg
from weft.topology.draw import as_json, as_tree
from weft.topology.errors import WeftError
from weft.topology.graph import Reports, State, build
from weft.topology.load import load_fabric
from weft.topology.model import Fabric

app = typer.Typer(add_completion=False)


FORMS = ("text", "json", "dot", "svg")
LATER = ("graphml", "mermaid")


@app.command()
def topology(
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="The fabric file; without it, what the store holds.")] = None,
    form: Annotated[str, typer.Option("--format", metavar="|".join(FORMS), help="How to draw it.")] = "text",
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    store: StoreOption = "",
    fabric: FabricOption = "",
) -> None:
    """The fabric as a graph: hosts, bridges, NICs, tunnels, guests and segments; without FILE the one that runs, and how it is."""
    form = "json" if json else form
    if form in LATER:
        raise WeftError(f"weft topology --format {form}: not supported yet")
    if form not in FORMS:
        raise WeftError(f'weft topology --format "{form}": not known; there are {", ".join(FORMS)}')
    if file is not None:
        draw(load_fabric(file), form)
        return
    seen = look(target(store, fabric))
    reports = {host: {key: loads(text) for key, text in objects.items()} for host, objects in seen.states.items()}
    draw(seen.fabric, form, reports, {int(dpid, 16): row for dpid, row in seen.switches.items()})


def draw(fabric: Fabric, form: str, reports: Reports | None = None, switches: Mapping[int, State] | None = None) -> None:
    """Prints a fabric, with what is known of its hosts and switches."""
    graph = build(fabric, reports, switches)
    if form == "text":
        paper().print(as_tree(graph))
        return
    print({"json": as_json, "dot": as_dot, "svg": as_svg}[form](graph))
