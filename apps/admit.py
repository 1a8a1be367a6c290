"""Whose packet is this: the way into the pipeline, and the end of forged senders.

===========================================  ========================================================================================
from                                         admitted
===========================================  ========================================================================================
a guest whose addresses are known            its MAC with its own IPv4, ARP, IPv6 and ND, and a probe for a free address
a guest whose addresses are not known        its MAC, in ARP and ND too, with any address that is nobody else's (`weft.apps.claims`)
a guest with ``spoof: true``                 anything but the gateway's MAC and the talk of switches; it is learned
a tunnel                                     what carries the key of a segment of this host; of a gateway what it routes
an uplink                                    what carries the segment's tag (or none) and no MAC of a guest of this host
the service namespace                        everything
===========================================  ========================================================================================

No router advertisement, redirect, DHCP answer or tagged frame, not even with a priority alone, is admitted from a guest that may not spoof,
and from nobody what one bridge says to the next. Of link-local IPv6 senders a guest has the one that follows from its MAC. Source: RFC
5227 (ARP probes), RFC 4861 and 4862 (ND and duplicate address detection), RFC 7113 (RA guard), RFC 7610 (DHCPv6 shield).
"""

from ipaddress import IPv4Interface, IPv6Interface

from weft.apps.fields import ARP, IP, IPV6, UDP
from weft.apps.flow import Action, Flow, Given, Goto, PopVlan, Port, match
from weft.apps.pipeline import (
    ADMIT,
    CONDITION,
    GUEST,
    HOME,
    ORIGIN,
    SEGMENT,
    SERVICE,
    STRANGER,
    TUNNEL,
    UNPROVEN,
    VLAN_PRESENT,
    WIRE,
    put,
)  # fmt: skip
from weft.topology.model import Endpoint, Segment
from weft.topology.names import link_local

NEVER, NOT_A_GUESTS, GUARD, PROOF, OWN, ANY = 300, 230, 220, 210, 200, 100
"""Priorities, highest first: what no port may send; what only routers and servers do; what is looked at closely; the proof that this
one is its own; what a guest sends otherwise; a port whose sender is not checked by address."""

RARP = 0x8035
MULTICAST = (0x010000000000, 0x010000000000)
UNICAST = (0, 0x010000000000)
OF_BRIDGES = ((0x0180C2000000, 0xFFFFFFFFFFF0), (0x01000CCCCCCC, 0xFFFFFFFFFFFE))
"""What one bridge says to the next and none forwards: spanning tree, LACP, pause, LLDP (IEEE 802.1Q, 8.6.3), and Cisco's own."""
OF_SWITCHES = (0x8808, 0x88CC, 0x8942)
"""EtherTypes of pause frames (IEEE 802.3, 31), and of LLDP and its like, by which switches are found."""
NEVER_SENT: tuple[dict[str, Given], ...] = (
    {"icmpv6_type": 134},
    {"icmpv6_type": 137},
    {"icmp_type": 5},
    {"eth_type": IP, "ip_proto": UDP, "udp_src": 67},
    {"eth_type": IPV6, "ip_proto": UDP, "udp_src": 547},
    {"eth_type": IPV6, "ip_proto": 0},
)
"""By a guest that may not spoof: router advertisements, redirects, what DHCP servers answer, IPv6 whose headers a switch cannot follow
(it calls their protocol 0)."""
PIPELINE = ("pipeline",)


def defaults() -> tuple[Flow, ...]:
    """What holds for every port: a group address sends nothing (IEEE 802.3, 3.2.3), bridges' own talk goes no further, and who is not
    admitted is dropped.
    """
    return (
        ADMIT.flow(NEVER, match(eth_src=MULTICAST), why=PIPELINE),
        *(ADMIT.flow(NEVER, match(eth_dst=group), why=PIPELINE) for group in OF_BRIDGES),
        ADMIT.flow(0, match(), why=PIPELINE),
    )


def guest(endpoint: Endpoint, segment: Segment) -> tuple[Flow, ...]:
    """The flows that admit one endpoint on its own host."""
    why = (endpoint.path, segment.path)
    untag: tuple[Action, ...] = (PopVlan(),) if endpoint.tag is not None else ()
    untag += (put(HOME, segment.id),) if endpoint.trunk else ()
    cable: dict[str, Given] = {"in_port": Port(endpoint.port), "vlan_vid": 0 if endpoint.tag is None else VLAN_PRESENT | endpoint.tag}
    if endpoint.spoof:
        enter = (*untag, *_enter(segment, GUEST, stranger=True))
        return (
            ADMIT.flow(GUARD, match(**cable, eth_src=segment.gateway_mac), why=why),
            *(ADMIT.flow(GUARD, match(**cable, eth_type=kind), why=why) for kind in OF_SWITCHES),
            ADMIT.flow(ANY, match(**cable), *enter, why=why),
        )
    enter = (*untag, *_enter(segment, GUEST, unproven=not endpoint.addresses))
    own: dict[str, Given] = {**cable, "eth_src": endpoint.mac}
    flows = [ADMIT.flow(NOT_A_GUESTS, match(**own, **terms), why=why) for terms in NEVER_SENT]
    flows += [ADMIT.flow(priority, match(**own, **terms), *enter, why=why) for priority, terms in _own(endpoint, segment)]
    flows += [ADMIT.flow(priority, match(**own, **terms), why=why) for priority, terms in _unproved(endpoint)]
    return tuple(flows)


def _own(endpoint: Endpoint, segment: Segment) -> list[tuple[int, dict[str, Given]]]:
    """Priority and match of all that an endpoint may send as itself."""
    arp: dict[str, Given] = {"arp_sha": endpoint.mac}
    if not endpoint.addresses:
        nd: list[tuple[int, dict[str, Given]]] = [
            (GUARD, {"icmpv6_type": kind, field: lladdr})
            for kind, field in ((135, "nd_sll"), (136, "nd_tll"))
            for lladdr in (endpoint.mac, 0)
        ]
        return [(OWN, arp), *nd, (ANY, {})]
    allowed: list[tuple[int, dict[str, Given]]] = [(OWN, {"eth_type": RARP}), (OWN, {**arp, "arp_op": 1, "arp_spa": 0})]
    if segment.mode == "bridged" or segment.dhcp:
        allowed.append((OWN, {"eth_type": 0x0800, "ip_src": 0, "ip_proto": UDP, "udp_src": 68, "udp_dst": 67}))
    sixes = [address for address in endpoint.addresses if isinstance(address, IPv6Interface)]
    for address in endpoint.addresses:
        if isinstance(address, IPv4Interface):
            allowed += [(OWN, {"ip_src": address.ip}), (OWN, {**arp, "arp_spa": address.ip})]
    return allowed + (_own_v6(endpoint, sixes) if sixes else [])


def _unproved(endpoint: Endpoint) -> list[tuple[int, dict[str, Given]]]:
    """What is dropped where it was not proved to be the endpoint's own: ND always, and what `ANY` would let in."""
    nd: list[tuple[int, dict[str, Given]]] = [(GUARD - 1, {"icmpv6_type": kind}) for kind in (135, 136)]
    if endpoint.addresses:
        return nd if any(address.version == 6 for address in endpoint.addresses) else []
    nd.append((OWN - 1, {"eth_type": ARP}))
    nd.extend((GUARD, {"eth_type": kind}) for kind in OF_SWITCHES)
    return nd


def _own_v6(endpoint: Endpoint, addresses: list[IPv6Interface]) -> list[tuple[int, dict[str, Given]]]:
    """Its addresses, and ND whose link-layer option is its own MAC, or absent (then the field is 0)."""
    own = [address.ip for address in addresses] + [link_local(endpoint.mac)]
    allowed: list[tuple[int, dict[str, Given]]] = [(OWN, {"ipv6_src": ip}) for ip in own]
    for lladdr in (endpoint.mac, 0):
        allowed += [(GUARD, {"nd_target": ip, "icmpv6_type": 136, "ipv6_src": ip, "nd_tll": lladdr}) for ip in own]
        allowed += [(GUARD, {"ipv6_src": ip, "icmpv6_type": 135, "nd_sll": lladdr}) for ip in own]
    return [*allowed, (GUARD, {"ipv6_src": 0, "icmpv6_type": 135, "nd_sll": 0})]


def tunnel(segment: Segment) -> tuple[Flow, ...]:
    """What comes from other hosts. The gateway is the same on every host: what it says of itself never crosses a tunnel, only what
    it routes, and its questions for the addresses of guests.
    """
    why, enter = (segment.path,), _enter(segment, TUNNEL, stranger=segment.strangers)
    gateway: dict[str, Given] = {"tun_id": segment.id, "eth_src": segment.gateway_mac}
    flows = [ADMIT.flow(GUARD, match(**gateway), why=why), ADMIT.flow(ANY, match(tun_id=segment.id), *enter, why=why)]
    if segment.joined:
        alone: dict[str, Given] = {**gateway, "eth_dst": UNICAST}
        routed: tuple[dict[str, Given], ...] = ({"eth_type": IP}, {"eth_type": IPV6}, {"arp_op": 1})
        flows += [ADMIT.flow(GUARD + 1, match(**alone, **kind), *_enter(segment, TUNNEL), why=why) for kind in routed]
        flows += [ADMIT.flow(GUARD + 2, match(**gateway, icmpv6_type=kind), why=why) for kind in (134, 136, 137)]
    return tuple(flows)


def wire(segment: Segment, patch: str) -> tuple[Flow, ...]:
    """What comes from the physical network: tagged for this segment, or untagged where it has no tag."""
    enter = _enter(segment, WIRE, stranger=True)
    return (ADMIT.flow(ANY, match(**_tag(segment, patch)), *enter, why=(segment.path,)),)


def wire_guard(endpoint: Endpoint, segment: Segment, patch: str) -> tuple[Flow, ...]:
    """A guest of this host does not come in by the wire."""
    forged = match(**_tag(segment, patch), eth_src=endpoint.mac)
    return (ADMIT.flow(GUARD, forged, why=(endpoint.path, segment.path)),)


def service(segment: Segment, port: str) -> tuple[Flow, ...]:
    return (ADMIT.flow(ANY, match(in_port=Port(port), vlan_vid=0), *_enter(segment, SERVICE), why=(segment.path,)),)


def _tag(segment: Segment, patch: str) -> dict[str, Given]:
    tag: dict[str, Given] = {"vlan_vid": 0} if segment.vlan is None else {"vlan_vid": VLAN_PRESENT | segment.vlan}
    return {"in_port": Port(patch), **tag}


def _enter(segment: Segment, origin: int, stranger: bool = False, unproven: bool = False) -> tuple[Action, ...]:
    pop = (PopVlan(),) if origin == WIRE and segment.vlan is not None else ()
    strange = (*((put(STRANGER, 1),) if stranger else ()), *((put(UNPROVEN, 1),) if unproven else ()))
    return (*pop, put(SEGMENT, segment.id), put(ORIGIN, origin), *strange, Goto(CONDITION.number))
