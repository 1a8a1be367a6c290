"""`weft store`."""

from pathlib import Path
from typing import Annotated

import typer

from weft.topology.server import RUN, prepare, serve

app = typer.Typer(add_completion=False)


@app.command()
def store(
    db: Annotated[Path, typer.Option(help="The database file; made where it is missing.")] = RUN / "store.db",
    listen: Annotated[list[str] | None, typer.Option(help="unix:PATH or tcp:ADDRESS:PORT; may be given again.")] = None,
) -> None:
    """Run the store: an ovsdb-server over one file, until SIGTERM. Killed and started again it has everything."""
    prepare(db)
    serve(db, listen or [f"unix:{RUN}/store.sock"])
