"""What a host's row says of guests that hang on its NICs themselves."""

from collections.abc import Iterator

from weft.topology import names
from weft.topology.check_direct import MEGABIT
from weft.topology.hostrow import CardSpec, DirectSpec, MacvtapSpec, VfSpec
from weft.topology.model import Endpoint, Fabric, Host


def direct_rows(fabric: Fabric, host: Host) -> Iterator[tuple[str, DirectSpec]]:
    for card in host.cards.values():
        yield f"card/{card.nic}", CardSpec(card.nic, card.vfs)
    for endpoint in fabric.endpoints.values():
        if endpoint.direct and endpoint.host == host.name:
            yield endpoint.row, _function(fabric, endpoint) if endpoint.attach == "vf" else _macvtap(fabric, endpoint)


def _function(fabric: Fabric, endpoint: Endpoint) -> VfSpec:
    rate = next((qos.rate for qos in fabric.qos if qos.endpoint == endpoint.name and qos.rate), 0)
    vlan = fabric.segments[endpoint.segment].vlan or 0
    return VfSpec(endpoint.via, endpoint.number, endpoint.mac, vlan, rate // MEGABIT, endpoint.spoof, endpoint.link)


def _macvtap(fabric: Fabric, endpoint: Endpoint) -> MacvtapSpec:
    segment, index = fabric.segments[endpoint.segment], names.tap_index(fabric.name, endpoint.name)
    return MacvtapSpec(endpoint.port, index, endpoint.via, segment.vlan or 0, endpoint.mode, endpoint.mac, segment.mtu)
