"""Ports that the file does not name, as endpoints of the segment that they say they are in: their MAC is known, their addresses are not."""

from collections.abc import Iterator

from weft.apps.facts import Facts, Stranger
from weft.topology.model import Endpoint, Fabric
from weft.topology.terms import Source


def strangers(fabric: Fabric, facts: Facts) -> Iterator[Endpoint]:
    """Those whose host and segment exist and whose MAC is nobody's in that segment: two ports with one MAC are one guest too many."""
    taken = {(endpoint.segment, endpoint.mac) for endpoint in fabric.endpoints.values()}
    taken |= {(segment.name, segment.gateway_mac) for segment in fabric.segments.values()}
    for stranger in facts.strangers:
        key = stranger.segment, stranger.mac
        if stranger.host in fabric.hosts and stranger.segment in fabric.segments and key not in taken:
            taken.add(key)
            yield _endpoint(stranger)


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
