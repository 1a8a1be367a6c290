"""Mirrors: what an endpoint sends and gets, copied as it sees it (SPAN), on its host, to another host, or into a VLAN (RSPAN).

A copy is made where the packet is admitted and where it is emitted (`weft.apps.limits` has these flows), so that it is what passed, and
goes straight to a port: no table sees it again, so it is not judged, learned, answered, limited or mirrored a second time.

====================  =======================================================================================
the target is         a copy
====================  =======================================================================================
on the same host      leaves by its port; not what the target sent itself, which would look like a loop to it
on another host       crosses the tunnel under the mirror's own key; there `admit` knows it and gives it to the target alone; what
                      does not fit the tunnel is cut
a VLAN                leaves by the patch to the uplink bridge with that tag, where `NORMAL` floods it
====================  =======================================================================================
"""

from collections.abc import Iterator
from dataclasses import dataclass

from weft.apps.flow import (
    NORMAL,
    NOWHERE,
    Action,
    Clone,
    Cut,
    Flow,
    Output,
    Port,
    PushVlan,
    Set,
    match,
)
from weft.apps.pipeline import ADMIT, SORT, VLAN_PRESENT
from weft.apps.view import Part, View
from weft.topology import names
from weft.topology.model import Endpoint, Fabric
from weft.topology.model_rules import Mirror
from weft.topology.overlay import mirror_uplink, tunnel_mtu

ARRIVED, OWN = 250, 260
"""Priorities: a copy from another host; one of what its target sent, which ends here."""
LEAVING = 130
ETHERNET = 14


@dataclass(frozen=True, slots=True)
class Copy:
    """How one mirror's copies leave a host."""

    path: str
    port: str
    key: int | None = None
    """Tunnel key."""
    cut: int | None = None
    """Octets of the frame that fit; None: all."""
    tag: int | None = None


def copies(here: View) -> dict[str, tuple[Copy, ...]]:
    """The copies of what the mirrored endpoints of this host send and get."""
    made: dict[str, tuple[Copy, ...]] = {}
    for mirror in here.fabric.mirrors:
        if here.fabric.endpoints[mirror.endpoint].host == here.host.name and (copy := _copy(here.fabric, mirror)):
            made[mirror.endpoint] = (*made.get(mirror.endpoint, ()), copy)
    return made


def _copy(fabric: Fabric, mirror: Mirror) -> Copy | None:
    source, uplink = fabric.endpoints[mirror.endpoint], mirror_uplink(fabric, mirror)
    if mirror.to is None:
        return Copy(mirror.path, names.patch_port(uplink.name), tag=mirror.vlan) if uplink else None
    target = fabric.endpoints[mirror.to]
    if target.host == source.host:
        return Copy(mirror.path, target.port, tag=target.tag)
    fits = min(tunnel_mtu(fabric.overlay, fabric.hosts[name]) for name in (source.host, target.host))
    cut = fits + ETHERNET if fabric.segments[source.segment].mtu > fits else None
    return Copy(mirror.path, names.tunnel_port(target.host), mirror.id, cut)


def copied(made: tuple[Copy, ...], tag: int | None) -> tuple[Action, ...]:
    """The actions that send these copies; `tag` is that of the endpoint's frames at its port."""
    return tuple(Clone((*_tag(tag), *_send(copy))) for copy in made)


def _send(copy: Copy) -> tuple[Action, ...]:
    out = Output(Port(copy.port)) if copy.cut is None else Cut(Port(copy.port), copy.cut)
    if copy.key is not None:  # a packet that came by this tunnel goes back by it
        return Set("in_port", NOWHERE), Set("tun_id", copy.key), out
    if copy.tag is not None:
        return Set("in_port", NOWHERE), *_tag(copy.tag), out
    return (out,)


def _tag(tag: int | None) -> tuple[Action, ...]:
    return () if tag is None else (PushVlan(), Set("vlan_vid", VLAN_PRESENT | tag))


def parts(here: View) -> Iterator[Part]:
    """What comes from other hosts for targets of this one."""
    for mirror in here.fabric.mirrors:
        target = here.fabric.endpoints[mirror.to] if mirror.to else None
        if target and target.host == here.host.name != here.fabric.endpoints[mirror.endpoint].host:
            yield Part(("mirror", mirror.name), arrived, (mirror, target))


def arrived(mirror: Mirror, target: Endpoint) -> tuple[Flow, ...]:
    why = (mirror.path, target.path)
    return (
        ADMIT.flow(OWN, match(tun_id=mirror.id, eth_src=target.mac), why=why),
        ADMIT.flow(ARRIVED, match(tun_id=mirror.id), *_tag(target.tag), Output(Port(target.port)), why=why),
    )


def uplink_parts(here: View, number: int) -> Iterator[Part]:
    """For the n-th uplink of a host: copies leave it, whatever MAC and address they say they are from."""
    uplink = here.uplink(number)
    for mirror in here.fabric.mirrors:
        way, endpoint = mirror_uplink(here.fabric, mirror), here.fabric.endpoints[mirror.endpoint]
        if way and way.name == uplink.name and endpoint.host == here.host.name:
            yield Part(("mirror", mirror.name), leaving, (mirror, names.patch_peer(uplink.name)))


def leaving(mirror: Mirror, patch: str) -> tuple[Flow, ...]:
    assert mirror.vlan is not None
    tagged = match(in_port=Port(patch), vlan_vid=VLAN_PRESENT | mirror.vlan)
    return (SORT.flow(LEAVING, tagged, Output(NORMAL), why=(mirror.path,)),)
