"""The short way of a nat segment's TCP and UDP: past the service namespace, where flows know all that its kernel would look up.

=========================  ==============================================================================================
`route`                    what goes by the host's default gateway leaves by the patch to the uplink's bridge, wearing its segment's
                           gateway MAC; to what is beside that gateway, the namespace leads
`sort`, from the patch     such a packet gets the gateway outside as receiver, and is translated like what comes out of `exit`. Nobody
                           else wears that MAC: not on the wire, nor a bridged guest
`to_host`                  an answer, translation undone, to a guest whose address is known
`homeward`                 into the patch, as from the segment's gateway; into `exit` where the kernel has something to say about it: it
                           is too large for the guest, or has come too far
`admit`, from the patch    that is the segment's gateway
=========================  ==============================================================================================

Everything else goes as it always did, and so does this as long as no gateway outside is known. Policies, mirrors and limits are in the
guest's own bridge, before and after. Of two MTUs on the way out the guest's is never the larger one, or its segment has no short way.
Source: RFC 1812, 5.2.1 (forwarding), 5.3.1 (TTL); RFC 1191 (path MTU).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from weft.apps.admit import OWN
from weft.apps.fields import TCP, UDP
from weft.apps.flow import Ct, DecTtl, Flow, Given, Goto, Larger, Nat, Output, Port, Resubmit, Set, mac_number, match
from weft.apps.outlet import Outlet, ether, outlet, to
from weft.apps.pipeline import (
    ADMIT,
    CONDITION,
    FROM_GUEST,
    HOMEWARD,
    ORIGIN,
    OUT,
    PROTECT,
    ROUTE,
    ROUTED,
    SEGMENT,
    SERVICE,
    SORT,
    TO_HOST,
    TOO_LARGE,
    TOWARDS,
    WIRE,
    held,
    put,
)  # fmt: skip
from weft.apps.translate import ANSWERS
from weft.apps.view import Part, Site, View
from weft.topology import names
from weft.topology.model import Segment
from weft.topology.terms import Address, Network

GATEWAY, BESIDE, ONWARD = 40, 30, 20
"""Priorities in `route`: to the gateway outside itself, to what is beside it, and to all the rest, by it."""
FORGED = 110
"""Priority in `protect`."""
ETHERNET = 14
"""Octets of an untagged frame's header (IEEE 802.3, 3.1.1)."""
NOT_ABROAD: tuple[Network, ...] = (
    *map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")),
    *map(IPv6Network, ("::/127", "fe80::/10", "ff00::/8")),
    IPv6Network((names.HAIRPIN6, 112), strict=False),
)
"""No gateway forwards them (RFC 6890), and some are used inside the host."""


@dataclass(frozen=True, slots=True)
class Short:
    """A segment's way out on one host: by which gateways outside, and the networks that are reached otherwise."""

    segment: Segment
    patch: str
    service: str
    hops: tuple[Address, ...]
    beside: tuple[Network, ...]


def parts(here: View) -> Iterator[Part]:
    for site in _sites(here):
        segment = site.segment
        assert segment.uplink is not None
        fact, patch = here.facts.uplinks[here.host.name, segment.uplink], names.patch_port(segment.uplink)
        yield Part(("home", segment.name), homecoming, (segment, patch))
        hops = tuple(hop for hop, _ in _hops(here, segment))
        if hops:
            beside = dict.fromkeys((*fact.beside, *_joined(here), *NOT_ABROAD))
            versions = {hop.version for hop in hops}
            nets = tuple(net for net in beside if net.version in versions)
            yield Part(("direct", segment.name), onward, (Short(segment, patch, names.service_port(segment.name), hops, nets),))


def uplink_parts(here: View, number: int) -> Iterator[Part]:
    way, uplink = outlet(here, number), here.uplink(number)
    for site in _sites(here) if way else ():
        if site.segment.uplink != uplink.name:
            continue
        yield Part(("direct", site.segment.name), outward, (way, site.segment, _hops(here, site.segment)))
        for endpoint in site.local:
            own = tuple(known.ip for known in endpoint.addresses if known.version in _versions(way))
            yield Part(("home", endpoint.name), inward, (way, site.segment, endpoint.mac, own, endpoint.path))


def _versions(way: Outlet | None) -> set[int]:
    return {address.version for address in way.addresses} if way else set()


def _sites(here: View) -> Iterator[Site]:
    """Translated segments with guests here whose uplink has told where it is."""
    for site in here.inhabited:
        segment = site.segment
        told = segment.uplink in here.host.uplinks and (here.host.name, segment.uplink) in here.facts.uplinks
        if segment.mode == "nat" and site.local and told:
            yield site


def _joined(here: View) -> Iterator[Network]:
    return (net for segment in here.fabric.segments.values() if segment.joined for net in segment.networks)


def _hops(here: View, segment: Segment) -> tuple[tuple[Address, str], ...]:
    """Gateways that a segment's packets leave by, none where a segment has a router for everything, or larger packets than the wire."""
    assert segment.uplink is not None
    everything = {net.version for net in _joined(here) if not net.prefixlen}
    if segment.mtu > here.host.uplinks[segment.uplink].mtu:
        return ()
    fact = here.facts.uplinks[here.host.name, segment.uplink]
    versions = {fact.translate.version, *({6} if fact.translate6 else ())} - everything
    return tuple((hop, mac) for hop, mac in fact.hops if hop.version in versions)


# ---- the integration bridge


def onward(way: Short) -> tuple[Flow, ...]:
    """Beside the gateway are also the addresses of guests that nobody has: the namespace's kernel says so."""
    segment, why = way.segment, (way.segment.path,)
    came = held((SEGMENT, segment.id), (ROUTED, 1))
    leave = (
        Set("eth_src", mac_number(segment.gateway_mac)),
        put(TOWARDS, WIRE),
        put(OUT, Port(way.patch)),
        Goto(PROTECT.number),
    )
    serve = (put(TOWARDS, SERVICE), put(OUT, Port(way.service)), Goto(PROTECT.number))
    direct: list[tuple[int, dict[str, Given]]] = [(ONWARD, {"eth_type": ether(hop.version)}) for hop in way.hops]
    direct += [(GATEWAY, to(hop)) for hop in way.hops if not hop.is_link_local]
    return (
        *(ROUTE.flow(place, match(**came, **target, ip_proto=proto), *leave, why=why) for place, target in direct for proto in (TCP, UDP)),
        *(ROUTE.flow(BESIDE, match(**came, **to(net)), *serve, why=why) for net in way.beside),
    )


def homecoming(segment: Segment, patch: str) -> tuple[Flow, ...]:
    """From the uplink's bridge, and to it: there the gateway's MAC is believed, so no guest of another segment may wear it."""
    why = (segment.path,)
    enter = (put(SEGMENT, segment.id), put(ORIGIN, SERVICE), Goto(CONDITION.number))
    forged = held((TOWARDS, WIRE), (ROUTED, 0))
    return (
        ADMIT.flow(OWN, match(in_port=Port(patch), vlan_vid=0, eth_src=segment.gateway_mac), *enter, why=why),
        PROTECT.flow(FORGED, match(**forged, eth_src=segment.gateway_mac), why=why),
    )


# ---- the uplink's bridge


def outward(way: Outlet, segment: Segment, hops: tuple[tuple[Address, str], ...]) -> tuple[Flow, ...]:
    why = (segment.path, *way.why)
    worn: dict[str, Given] = {"vlan_vid": 0, "eth_src": segment.gateway_mac}
    flows = [SORT.flow(140, match(**worn), why=why)]
    for hop, mac in hops:
        on = (DecTtl(), Set("eth_src", mac_number(way.mac)), Set("eth_dst", mac_number(mac)))
        track = Ct(zone=way.zones[0], nat=Nat(), table=FROM_GUEST.number)
        for proto in (TCP, UDP):
            terms: dict[str, Given] = {"in_port": Port(way.patch), **worn, "eth_type": ether(hop.version), "ip_proto": proto}
            flows.append(SORT.flow(141, match(**terms), *on, track, why=why))
    return tuple(flows)


def inward(way: Outlet, segment: Segment, mac: str, addresses: tuple[Address, ...], path: str) -> tuple[Flow, ...]:
    """To one guest. What came by the patch itself, from a bridged guest of this host, does not leave by it again."""
    why = (path, segment.path, *way.why)
    measure = (Larger(segment.mtu + ETHERNET, TOO_LARGE), Resubmit(HOMEWARD.number))
    to_kernel = Output(Port(way.exit))
    on = (DecTtl(), Set("eth_src", mac_number(segment.gateway_mac)), Set("eth_dst", mac_number(mac)), Output(Port(way.patch)))
    flows = []
    for address in addresses:
        spent: tuple[dict[str, Given], ...] = ({"nw_ttl": 0}, {"nw_ttl": 1}, {"in_port": Port(way.patch)}, {**held((TOO_LARGE, 1))})
        flows += [TO_HOST.flow(31, match(ct_state=ANSWERS, **to(address), ip_proto=proto), *measure, why=why) for proto in (TCP, UDP)]
        flows += [HOMEWARD.flow(20, match(**to(address), **terms), to_kernel, why=why) for terms in spent]
        flows.append(HOMEWARD.flow(10, match(**to(address)), *on, why=why))
    return tuple(flows)
