"""Whose packet is this: the way into the pipeline, and the end of forged senders.

===========================================  ==================================================================
from                                         admitted
===========================================  ==================================================================
a guest whose addresses are known            its MAC with its own IPv4, ARP, IPv6 and ND, and a probe for a free address
a guest whose addresses are not known        its MAC with any address
a guest with ``spoof: true``                 anything but the gateway's MAC; it is learned
a tunnel                                     what carries the key of a segment of this host; of a gateway what it routes
an uplink                                    what carries the segment's tag (or none) and no MAC of a guest of this host
the service namespace                        everything
===========================================  ==================================================================

Nobody's router advertisements, DHCP answers or tagged frames are admitted from a guest that may not spoof. Source: RFC 5227 (ARP
probes), RFC 4861 and 4862 (ND and duplicate address detection), RFC 7113 (RA guard), RFC 7610 (DHCPv6 shield).
"""

from ipaddress import IPv4Interface, IPv6Interface

from weft.apps.fields import IP, IPV6, UDP
from weft.apps.flow import Action, Flow, Given, Goto, PopVlan, Port, match
from weft.apps.pipeline import (
    ADMIT,
    CONDITION,
    GUEST,
    ORIGIN,
    SEGMENT,
    SERVICE,
    STRANGER,
    TUNNEL,
    VLAN_PRESENT,
    WIRE,
    put,
)  # fmt: skip
from weft.topology.model import Endpoint, Segment
from weft.topology.names import link_local

NEVER, GUARD, PROOF, OWN, ANY = 300, 220, 210, 200, 100
"""Priorities, highest first: senders that no port may have; what a guest never sends; the proof that this one is its own;
what it sends otherwise; a port whose sender is not checked by address."""

RARP = 0x8035
MULTICAST = (0x010000000000, 0x010000000000)
UNICAST = (0, 0x010000000000)
PIPELINE = ("pipeline",)


def defaults() -> tuple[Flow, ...]:
    """What holds for every port: a group address sends nothing (IEEE 802.3, 3.2.3), and who is not admitted is dropped."""
    return (
        ADMIT.flow(NEVER, match(eth_src=MULTICAST), why=PIPELINE),
        ADMIT.flow(0, match(), why=PIPELINE),
    )


def guest(endpoint: Endpoint, segment: Segment) -> tuple[Flow, ...]:
    """The flows that admit one endpoint on its own host."""
    port, why = Port(endpoint.port), (endpoint.path, segment.path)
    if endpoint.spoof:
        enter = _enter(segment, GUEST, stranger=True)
        return (
            ADMIT.flow(GUARD, match(in_port=port, eth_src=segment.gateway_mac), why=why),
            ADMIT.flow(ANY, match(in_port=port, vlan_vid=0), *enter, why=why),
        )
    enter = _enter(segment, GUEST)
    own: dict[str, Given] = {"in_port": port, "vlan_vid": 0, "eth_src": endpoint.mac}
    flows = [ADMIT.flow(GUARD, match(**own, icmpv6_type=134), why=why)]
    for kind, server in ((0x0800, 67), (0x86DD, 547)):
        flows.append(ADMIT.flow(GUARD, match(**own, eth_type=kind, ip_proto=UDP, udp_src=server), why=why))
    flows += [ADMIT.flow(priority, match(**own, **terms), *enter, why=why) for priority, terms in _own(endpoint, segment)]
    if any(isinstance(address, IPv6Interface) for address in endpoint.addresses):
        flows += [ADMIT.flow(GUARD - 1, match(**own, icmpv6_type=kind), why=why) for kind in (135, 136)]
    return tuple(flows)


def _own(endpoint: Endpoint, segment: Segment) -> list[tuple[int, dict[str, Given]]]:
    """Priority and match of all that an endpoint may send as itself."""
    arp: dict[str, Given] = {"arp_sha": endpoint.mac}
    if not endpoint.addresses:
        return [(OWN, arp), (ANY, {})]
    allowed: list[tuple[int, dict[str, Given]]] = [(OWN, {"eth_type": RARP}), (OWN, {**arp, "arp_op": 1, "arp_spa": 0})]
    if segment.mode == "bridged":
        allowed.append((OWN, {"eth_type": 0x0800, "ip_src": 0, "ip_proto": UDP, "udp_src": 68, "udp_dst": 67}))
    sixes = [address for address in endpoint.addresses if isinstance(address, IPv6Interface)]
    for address in endpoint.addresses:
        if isinstance(address, IPv4Interface):
            allowed += [(OWN, {"ip_src": address.ip}), (OWN, {**arp, "arp_spa": address.ip})]
    return allowed + (_own_v6(endpoint, sixes) if sixes else [])


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


def _enter(segment: Segment, origin: int, stranger: bool = False) -> tuple[Action, ...]:
    pop = (PopVlan(),) if origin == WIRE and segment.vlan is not None else ()
    strange = (put(STRANGER, 1),) if stranger else ()
    return (*pop, put(SEGMENT, segment.id), put(ORIGIN, origin), *strange, Goto(CONDITION.number))
