"""`weft libvirt`: what libvirt gets of a fabric."""

from collections.abc import Iterator
from typing import Annotated

import typer

from weft.cli.stores import FabricOption, StoreOption, look, target
from weft.cli.views import Seen
from weft.topology.errors import WeftError
from weft.topology.hostrow import NetworkSpec
from weft.topology.interface_xml import interface as interface_xml
from weft.topology.load import load_fabric
from weft.topology.model import Endpoint
from weft.topology.rows import host_rows

app = typer.Typer(add_completion=False)


@app.callback()
def libvirt() -> None:
    """What libvirt gets of a fabric."""


@app.command()
def xml(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The fabric file.")],
    host: Annotated[str, typer.Option(help="Of this host alone.")] = "",
) -> None:
    """Prints the networks that the agents define in libvirt, pools too, each behind a comment with its host."""
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
                print(f"<!-- {each.name}{_left_open(spec)} -->\n{spec.xml}")


def _left_open(spec: NetworkSpec) -> str:
    return f": the agent adds the addresses of free virtual functions of {spec.nic}" if spec.nic and not spec.lower else ""


@app.command()
def interface(
    guest: Annotated[str, typer.Argument(metavar="GUEST", help="A guest of the file.")],
    nic: Annotated[str, typer.Option(help="This NIC alone, as eth0.")] = "",
    store: StoreOption = "",
    fabric: FabricOption = "",
) -> None:
    """Prints what a guest's own XML says of each of its NICs, for virsh edit or virsh attach-device."""
    seen = look(target(store, fabric))
    lacking = []
    for endpoint in _nics(seen, guest, nic):
        try:
            print(interface_xml(seen.fabric, endpoint, _pci(seen, endpoint)))
        except WeftError as error:
            lacking.append(str(error))
    if lacking:
        raise WeftError(*lacking)


def _nics(seen: Seen, name: str, nic: str) -> Iterator[Endpoint]:
    """One endpoint for each NIC. Raises WeftError where there is no such guest or NIC."""
    guest = seen.fabric.guests.get(name)
    if guest is None:
        raise WeftError(f'fabric {seen.fabric.name} has no guest "{name}": it has {", ".join(seen.fabric.guests) or "none"}')
    own: dict[str, Endpoint] = {}
    for endpoint in guest.endpoints:
        own.setdefault(endpoint.nic, endpoint)  # a trunk's are several
    if nic and nic not in own:
        raise WeftError(f'guest {name} has no NIC "{nic}": it has {", ".join(own)}')
    yield from (endpoint for label, endpoint in own.items() if nic in ("", label))


def _pci(seen: Seen, endpoint: Endpoint) -> str:
    """Where its virtual function is, as its agent says; empty: it has none, or nobody knows yet."""
    device = str(seen.said(endpoint.host, endpoint.row).get("device", ""))
    return device.partition(" ")[0] if endpoint.attach == "vf" else ""
