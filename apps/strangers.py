"""Ports that the file does not name, as hosts report them: who is behind them, and where.

A guest of the file that libvirt plugs in is known by its MAC, and by its interface id where the file says one, on whatever host it runs.
All others are endpoints of the segment that their port says: their MAC is known, their addresses are not.

A guest that moves has a port on two hosts for a while. It is where it runs; from the moment that it stops there it is where it will go on,
so that what is sent to it meanwhile waits in its port. What it may send there is laid before (`coming`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from weft.apps.facts import Facts, Stranger
from weft.topology.model import Endpoint, Fabric
from weft.topology.terms import Source


def strangers(fabric: Fabric, facts: Facts) -> Iterator[Endpoint]:
    """Those whose host and segment exist and whose MAC is nobody's in that segment: two ports with one MAC are one guest too many. A guest of
    the file that is plugged into another segment than the file says is in none.
    """
    taken = {(endpoint.segment, endpoint.mac) for endpoint in fabric.endpoints.values()}
    taken |= {(segment, e.mac) for e in fabric.endpoints.values() if e.attach == "libvirt" for segment in fabric.segments}
    taken |= {(segment.name, segment.gateway_mac) for segment in fabric.segments.values()}
    for stranger in sorted(facts.strangers, key=lambda stranger: -stranger.claim):
        key = stranger.segment, stranger.mac
        if stranger.host in fabric.hosts and stranger.segment in fabric.segments and key not in taken:
            taken.add(key)
            yield _endpoint(stranger)


def placed(fabric: Fabric, facts: Facts) -> Fabric:
    """The fabric with the endpoints that libvirt plugs in on the host and the port where they are; without, where the file has them."""
    seen: dict[tuple[str, str], list[Stranger]] = {}
    for stranger in facts.strangers:
        if stranger.host in fabric.hosts:
            seen.setdefault((stranger.segment, stranger.mac), []).append(stranger)
    moved = {}
    for name, endpoint in fabric.endpoints.items():
        ports = seen.get((endpoint.segment, endpoint.mac), []) if endpoint.attach == "libvirt" else []
        ports = [port for port in ports if endpoint.pin in ("", port.pin)]
        if ports:
            here = max(ports, key=lambda port: (port.claim, port.host == endpoint.host))
            moved[name] = replace(endpoint, host=here.host, port=here.port)
    return replace(fabric, endpoints={**fabric.endpoints, **moved}) if moved else fabric


def coming(members: Mapping[str, list[Endpoint]], facts: Facts) -> Iterator[Endpoint]:
    """Guests at ports that they do not use yet, since they are still on another host. `members`: of every segment, where they are."""
    for stranger in (each for each in facts.strangers if each.claim == 1):
        for endpoint in members.get(stranger.segment, ()):
            known = endpoint.mac == stranger.mac and endpoint.pin in ("", stranger.pin)
            if known and endpoint.attach in ("libvirt", "stranger") and stranger.host != endpoint.host:
                yield replace(endpoint, host=stranger.host, port=stranger.port)


def _endpoint(stranger: Stranger) -> Endpoint:
    return Endpoint(
        name=f"{stranger.host}/{stranger.port}",
        guest=stranger.host,
        nic=stranger.port,
        host=stranger.host,
        segment=stranger.segment,
        mac=stranger.mac,
        addresses=(),
        port=stranger.port,
        attach="stranger",
        spoof=False,
        source=Source("", 0),
    )
