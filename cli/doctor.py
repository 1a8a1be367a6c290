"""`weft doctor`."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weft.agents.doctor import findings
from weft.agents.doctor_cards import GRUB, set_iommu
from weft.agents.doctor_fabric import between, of_host, reported
from weft.agents.finding import Finding, Ground
from weft.agents.place import this_host
from weft.cli.changes import propose
from weft.cli.default import host_name
from weft.cli.stores import StoreOption, ask
from weft.cli.tables import show
from weft.topology.store import states

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="A fabric file: whether this host and the others fit it.")] = "",
    host: Annotated[str, typer.Option(help="Which of the file's hosts this machine is.", show_default="its hostname")] = "",
    store: StoreOption = "",
    iommu: Annotated[bool, typer.Option("--set-iommu", help="Have GRUB start the kernel with the IOMMU on.")] = False,
    root: Annotated[Path, typer.Option(metavar="DIR", help="The file system to look at; default: this machine's.")] = Path("/"),
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of findings.")] = False,
) -> None:
    """What this host can and cannot do, each failure with its mend. Exits with 1 where weft cannot work here."""
    ground = Ground(root)
    if iommu:
        done = set_iommu(ground)
        print(f"{ground.at(GRUB)}: {'written' if done else 'as it should be'}: update-grub, then start this host again")
        return
    found = [*findings(ground), *(_fabric(ground, file, host) if file else ()), *(_running(store) if store else ())]
    show([asdict(finding) for finding in found], as_json)
    if any(finding.verdict == "fail" for finding in found):
        raise typer.Exit(1)


def _fabric(ground: Ground, file: str, host: str) -> Iterator[Finding]:
    fabric = propose(file, lab=False).fabric
    name = host or host_name(this_host())
    if name in fabric.hosts:
        yield from of_host(ground, fabric, fabric.hosts[name])
    else:
        mend = f"--host, one of {', '.join(fabric.hosts)}"
        yield Finding(file, "warning", f"this machine is called {name}, and the file has no such host", mend)
    yield from between(fabric)


def _running(store: str) -> Iterator[Finding]:
    told = ask(store, states)
    return reported({name: {key: json.loads(text) for key, text in state.items()} for name, state in told.items()})
