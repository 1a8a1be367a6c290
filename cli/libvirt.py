"""`weft libvirt`: what libvirt gets of a fabric file."""

from typing import Annotated

import typer

from weft.topology.errors import WeftError
from weft.topology.hostrow import NetworkSpec
from weft.topology.load import load_fabric
from weft.topology.rows import host_rows

app = typer.Typer(add_completion=False)


@app.callback()
def libvirt() -> None:
    """What libvirt gets of a fabric file."""


@app.command()
def xml(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The fabric file.")],
    host: Annotated[str, typer.Option(help="Of this host alone.")] = "",
) -> None:
    """Prints the networks that the agents define in libvirt, each behind a comment with its host."""
    fabric = load_fabric(file)
    if host and host not in fabric.hosts:
        raise WeftError(f'{file}: there is no host "{host}": there are {", ".join(fabric.hosts)}')
    having = [each for each in fabric.hosts.values() if each.libvirt is not None and host in ("", each.name)]
    if not having:
        raise WeftError(f"{file}: {f'host {host} has' if host else 'no host has'} libvirt: give it libvirt: qemu:///system")
    rows = host_rows(fabric)
    for each in having:
        for spec in rows[each.name].values():
            if isinstance(spec, NetworkSpec):
                print(f"<!-- {each.name} -->\n{spec.xml}")
