"""`weft guest`: plugs a guest of libvirt into a segment, live."""

from typing import Annotated

import typer

from weft.agents.place import this_host
from weft.agents.plugging import Plug
from weft.agents.plugging import attach as plug_in
from weft.agents.plugging import detach as plug_out
from weft.cli.default import host_name
from weft.cli.stores import FabricOption, StoreOption, look, target
from weft.topology import names
from weft.topology.errors import WeftError
from weft.topology.libvirt_xml import network_name
from weft.topology.model import Fabric, Host

app = typer.Typer(add_completion=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A guest, as libvirt calls it.")]
Into = Annotated[str, typer.Argument(metavar="SEGMENT", help="A segment of the fabric.")]
Mac = Annotated[str, typer.Option(help="MAC of the NIC; default: the file's, or one made from the names.")]
Of = Annotated[str, typer.Option("--host", help="Whose libvirt; default: this host's.")]


@app.command()
def attach(name: Name, segment: Into, mac: Mac = "", host: Of = "", store: StoreOption = "", fabric: FabricOption = "") -> None:
    """Gives a guest a NIC in a segment: at once where it runs, and for good where libvirt keeps it."""
    found = look(target(store, fabric)).fabric
    plug = _plug(found, name, segment, mac, host)
    own = mac or _mac(found, name, segment)
    plug_in(Plug(plug.uri, name, plug.network, own.lower(), found.segments[segment].mtu))
    print(f"{name} is plugged into {segment}, MAC {own.lower()}")


@app.command()
def detach(name: Name, segment: Into, mac: Mac = "", host: Of = "", store: StoreOption = "", fabric: FabricOption = "") -> None:
    """Takes a guest's NIC in a segment away, and returns when its system has let go of it."""
    found = look(target(store, fabric)).fabric
    gone = plug_out(_plug(found, name, segment, mac, host))
    print(f"{name} is unplugged from {segment}, MAC {gone}")


def _plug(fabric: Fabric, name: str, segment: str, mac: str, host: str) -> Plug:
    """Raises WeftError where there is no such segment, or the host has no libvirt or is not on the segment's wire."""
    if segment not in fabric.segments:
        raise WeftError(f'fabric {fabric.name} has no segment "{segment}": it has {", ".join(fabric.segments)}')
    at = _host(fabric, name, host)
    if at.libvirt is None:
        raise WeftError(f"host {at.name} has no libvirt in the file: give it libvirt: qemu:///system")
    if not at.wired_to(fabric.segments[segment]):
        raise WeftError(f'host {at.name} has no uplink "{fabric.segments[segment].uplink}", which segment "{segment}" needs')
    return Plug(at.libvirt, name, network_name(fabric.name, segment), mac.lower() or None)


def _host(fabric: Fabric, name: str, host: str) -> Host:
    """The one that is said; else this machine, or where the file has the guest."""
    if host and host not in fabric.hosts:
        raise WeftError(f'fabric {fabric.name} has no host "{host}": it has {", ".join(fabric.hosts)}')
    guest = fabric.guests.get(name)
    chosen = host or next((own for own in (this_host(), host_name(this_host())) if own in fabric.hosts), guest.host if guest else "")
    if not chosen:
        raise WeftError(f"give --host {' or --host '.join(fabric.hosts)}: this machine has none of these names")
    return fabric.hosts[chosen]


def _mac(fabric: Fabric, name: str, segment: str) -> str:
    """The file's for a guest that it names, so that it is known by it."""
    guest = fabric.guests.get(name)
    meant = (e.mac for e in guest.endpoints if e.segment == segment and e.attach == "libvirt") if guest else iter(())
    return next(meant, None) or names.mac(fabric.name, f"{name}/{segment}")
