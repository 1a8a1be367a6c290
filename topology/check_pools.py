"""Whether libvirt can have a pool, and what cannot be had of the guests that get a NIC out of it: they are not in the file, and no flow sees
their packets.

What a policy would have to hold them to is found with all others that are unseen (`weft.topology.check_direct`).
"""

from collections.abc import Iterator

from weft.topology.check_direct import unheld
from weft.topology.check_names import known
from weft.topology.direct import PoolSpec, at, on, pools
from weft.topology.document import Document, Faults
from weft.topology.libvirt_xml import network_name, pool_name
from weft.topology.schema import AttachMacvtap

CALLED = {"vf": "virtual function", "macvtap": "macvtap"}


def check_pools(document: Document, faults: Faults) -> None:
    for host in document.spec.hosts:
        for pool in pools(document, host):
            for what in (*_host(document, pool), *_segments(document, pool)):
                faults.add(pool.path, f'pool of "{pool.nic}": {what}')
        for pool, what in _names(document, host):
            faults.add(pool.path, what)


def _host(document: Document, pool: PoolSpec) -> Iterator[str]:
    spec = document.spec.hosts[pool.host]
    if spec.libvirt is None:
        yield "its guests are plugged in by libvirt, which the host has none of: give it libvirt: qemu:///system"
    if pool.kind == "vf" and not spec.sriov[pool.nic].vfs:
        line = document.line("hosts", pool.host, "sriov", pool.nic, "vfs")
        yield f"there is nothing to give: it is to have no virtual functions (line {line})"
    for guest, place in on(document).get((pool.host, pool.nic), ()) if pool.kind == "macvtap" else ():
        attach = document.spec.guests[guest].nics[place].attach
        if isinstance(attach, AttachMacvtap) and attach.mode == "passthrough":
            yield f"it carries {guest}.eth{place} (line {document.line(*at((guest, place)))}), and passthrough has one owner"


def _segments(document: Document, pool: PoolSpec) -> Iterator[str]:
    for name in dict.fromkeys(pool.segments):
        if pool.segments.count(name) > 1:
            yield f'segment "{name}" is in it twice'
        if what := known(document).complaint("segments", name):
            yield what
        elif name in document.spec.segments:
            yield from _segment(document, pool, name)


def _segment(document: Document, pool: PoolSpec, name: str) -> Iterator[str]:
    segment = document.spec.segments[name]
    if segment.mode != "bridged":
        yield f'its guests are on the wire itself, and segment "{name}" is {segment.mode}: only a bridged one is there'
    elif segment.uplink != pool.uplink:
        yield f'it is on "{pool.uplink}", where segment "{name}" is not'
    for what in unheld(document, name):
        yield f"{what}, which nothing holds a {CALLED[pool.kind]} to: no flow sees its packets"


def _names(document: Document, host: str) -> Iterator[tuple[PoolSpec, str]]:
    """Every network of a libvirt is called otherwise."""
    fabric = document.spec.fabric
    taken = {network_name(fabric, name): f'segment "{name}" (line {document.line("segments", name)})' for name in document.spec.segments}
    for pool in pools(document, host):
        for segment in dict.fromkeys(pool.segments) if pool.kind == "macvtap" else ("",):
            name = pool_name(fabric, pool.nic, segment)
            if name in taken:
                yield pool, f'pool of "{pool.nic}": its libvirt network {name} is called as that of {taken[name]}: rename the segment'
            taken.setdefault(name, f'the pool of "{pool.nic}" (line {document.line(*pool.path)})')
