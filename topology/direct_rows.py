"""What a host's row says of guests that hang on its NICs themselves, those of the file and those that libvirt's pools are for."""

from collections.abc import Iterator

from weft.topology import names
from weft.topology.check_direct import MEGABIT
from weft.topology.hostrow import CardSpec, DirectSpec, LowerSpec, MacvtapSpec, NetworkSpec, VfSpec
from weft.topology.libvirt_xml import card_network, device_network, pool_name
from weft.topology.model import Endpoint, Fabric, Host, Pool


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


def pool_rows(fabric: Fabric, host: Host) -> Iterator[tuple[str, LowerSpec | NetworkSpec]]:
    """libvirt's networks of pools, and what their macvtaps are on."""
    for pool in host.pools if host.libvirt is not None else ():
        rows = _card_pool(fabric, pool) if pool.kind == "vf" else _macvtap_pool(fabric, pool)
        for spec in rows:
            yield f"{'lower' if isinstance(spec, LowerSpec) else 'network'}/{spec.name}", spec


def _card_pool(fabric: Fabric, pool: Pool) -> Iterator[NetworkSpec]:
    xml = card_network(fabric.name, pool.nic, {name: fabric.segments[name].vlan for name in pool.segments})
    yield NetworkSpec(pool_name(fabric.name, pool.nic), "", xml, pool.nic)


def _macvtap_pool(fabric: Fabric, pool: Pool) -> Iterator[LowerSpec | NetworkSpec]:
    for segment in (fabric.segments[name] for name in pool.segments):
        lower = names.vlan_device(pool.nic, segment.vlan) if segment.vlan else pool.nic
        yield LowerSpec(lower, pool.nic, segment.vlan or 0, segment.mtu)
        xml = device_network(fabric.name, segment.name, pool.nic, lower)
        yield NetworkSpec(pool_name(fabric.name, pool.nic, segment.name), segment.name, xml, pool.nic, lower)
