"""`weft check`."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from weft.apps.compile import Compiler, check_program
from weft.apps.facts import supposed
from weft.topology.check_policies import overdue
from weft.topology.errors import WeftError
from weft.topology.load import load_fabric
from weft.topology.model import Fabric
from weft.topology.warnings import warnings

app = typer.Typer(add_completion=False)

Step = Callable[[Fabric], Iterable[str]]


def compiles(fabric: Fabric) -> Iterator[str]:
    """Compiles the fabric as it will be when every host has reported. Raises WeftError where two things want the same flow."""
    for program in Compiler().compile(fabric, supposed(fabric)).values():
        check_program(program)
    yield from ()


def over(fabric: Fabric) -> Iterator[str]:
    return overdue(fabric, datetime.now(UTC))


STEPS: tuple[Step, ...] = (warnings, over, compiles)
"""What is done with a fabric that is sound: each step yields warnings, and raises WeftError for what is wrong."""


@app.command()
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The fabric file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print an object with counts, warnings and errors.")] = False,
) -> None:
    """Read, validate and compile a fabric file; touch nothing. Exits with 1 and one line for each fault where it is bad."""
    try:
        fabric, warned = checked(file)
    except WeftError as error:
        if as_json:
            print(json.dumps(report(file, errors=error.lines), indent=2))
        raise
    if as_json:
        print(json.dumps(report(file, fabric, warned), indent=2))
        return
    for line in warned:
        Console(stderr=True, soft_wrap=True).print(line, style="yellow", markup=False, highlight=False)
    print(f"{file}: {summary(fabric)}, {counted(len(warned), 'warning') if warned else 'nothing wrong'}")


def checked(file: str) -> tuple[Fabric, list[str]]:
    """The fabric and its warnings. Raises WeftError with all that is wrong."""
    fabric = load_fabric(file)
    return fabric, [line for step in STEPS for line in step(fabric)]


def report(file: str, fabric: Fabric | None = None, warned: Iterable[str] = (), errors: Iterable[str] = ()) -> dict[str, object]:
    return {
        "file": file,
        "fabric": fabric.name if fabric else None,
        "hosts": len(fabric.hosts) if fabric else None,
        "segments": len(fabric.segments) if fabric else None,
        "guests": len(fabric.guests) if fabric else None,
        "warnings": list(warned),
        "errors": list(errors),
    }


def summary(fabric: Fabric) -> str:
    counts = ((fabric.hosts, "host"), (fabric.segments, "segment"), (fabric.guests, "guest"))
    return ", ".join(counted(len(things), name) for things, name in counts)


def counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
