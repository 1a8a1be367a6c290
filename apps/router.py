"""The service namespace of every host, as far as a packet on its way can tell: its kernel routes between segments and the uplinks.

What it leaves out: time-exceeded, unreachable, path MTU and redirects. A translated segment's guests get answers alone.
"""

from collections.abc import Callable, Iterator

from weft.apps import packet as p
from weft.apps.conntrack import Conntrack, Tuple, tuple_of
from weft.apps.facts import Facts, UplinkFact
from weft.apps.fields import CT_STATE
from weft.apps.flow import Nat, mac_number
from weft.apps.packet import Packet
from weft.topology import names
from weft.topology.model import HOST_UPLINK, Endpoint, Fabric, Segment
from weft.topology.terms import Address, Network

Place = tuple[str, str]
Routed = list[tuple[Place, Packet]]
"""Where a packet comes out of the namespace: a port, and the packet."""


class Router:
    """`neighbour`: the MAC of who takes what is for an address on a physical network; None: nobody."""

    def __init__(self, fabric: Fabric, facts: Facts, neighbour: Callable[[str, Address], str | None]) -> None:
        self._fabric, self._facts, self._neighbour = fabric, facts, neighbour
        self._kernels: dict[str, Conntrack] = {}
        """Connections that each host's own kernel translates, for segments that leave by the way the host itself goes."""
        self._begun: set[Tuple] = set()
        """Conversations between segments."""

    def from_segment(self, host: str, segment: Segment, packet: Packet) -> Routed:
        """What came by a segment's service port, for the gateway's MAC."""
        ends = p.addresses(packet)
        if ends is None or ends[0].is_link_local or packet["nw_ttl"] <= 1 or not segment.joined or ends[1] in _gateways(segment):
            return []
        for other in self._fabric.segments.values():
            found = self._member(other, ends[1]) if other.joined else None
            if found and (other.mode == "routed" or other == segment or self._answers(packet)):
                return self._into(host, other, found, packet)
            if found:
                return []
        joined = [other for other in self._fabric.segments.values() if other.joined]
        if any(ends[1] in net and self._nowhere(host, net) for other in joined for net in other.networks):
            return []
        return self._out(host, segment.uplink or "", packet, ends[1])

    def from_wire(self, host: str, wire: str, packet: Packet) -> Routed:
        """What came by `exit`: a question for a routed guest of this host is answered, a packet for a guest goes to it."""
        fact, ends = self._facts.uplinks.get((host, wire)), p.addresses(packet)
        if fact is None:
            return []
        if packet.get("arp_op") == 1 or packet.get("icmpv6_type") == 135:
            answer = p.answer(packet, fact.mac, tuple(self._proxied(host, wire)))
            named = {"ipv6_src": int(names.exit_link_local(fact.mac))} if answer and "ipv6_src" in answer else {}
            return [(self._exit(host, wire), {**answer, **named})] if answer else []
        if ends is None or packet["eth_dst"] != mac_number(fact.mac) or packet["nw_ttl"] <= 1:
            return []
        for segment in self._fabric.segments.values():
            found = self._member(segment, ends[1]) if segment.joined and segment.uplink == wire else None
            if found:
                return self._into(host, segment, found, packet)
        return []

    def from_host(self, host: str, packet: Packet) -> Routed:
        """What came for the host itself: an answer to what its own kernel translated goes back to the guest."""
        undone = self._kernel(host).track(0, packet, False, Nat())
        ends = p.addresses(undone)
        if not undone["ct_state"] & CT_STATE["rpl"] or ends is None:
            return []
        through = [segment for segment in self._fabric.segments.values() if segment.uplink == HOST_UPLINK]
        found = [(segment, member) for segment in through if (member := self._member(segment, ends[1]))]
        return [way for segment, member in found for way in self._into(host, segment, member, undone)]

    def _kernel(self, host: str) -> Conntrack:
        return self._kernels.setdefault(host, Conntrack())

    def _by_host(self, host: str, packet: Packet, target: Address) -> Routed:
        """Out by the host's first uplink, behind its address there."""
        for wire in self._fabric.hosts[host].uplinks:
            fact, neighbour = self._facts.uplinks.get((host, wire)), self._neighbour(wire, target)
            own = next((own for own in _own(fact) if own.version == target.version), None) if fact else None
            if fact and neighbour and own:
                translated = self._kernel(host).track(0, packet, True, Nat(src=own))
                macs = {"eth_src": mac_number(fact.mac), "eth_dst": mac_number(neighbour), "nw_ttl": packet["nw_ttl"] - 2}
                joins = self._fabric.hosts[host].uplinks[wire].joins
                place = ("wire", f"{wire}/{host}") if joins else (f"{host}/{names.uplink_bridge(wire)}", "LOCAL")
                return [(place, {**translated, **macs})]
        return []

    def _answers(self, packet: Packet) -> bool:
        said = tuple_of(packet)
        return said is not None and (said[0], *said[3:], *said[1:3]) in self._begun

    def _proxied(self, host: str, wire: str) -> Iterator[Address]:
        for endpoint in self._fabric.endpoints.values():
            segment = self._fabric.segments[endpoint.segment]
            if endpoint.host == host and segment.mode == "routed" and segment.uplink == wire:
                yield from (own.ip for own in endpoint.addresses)

    def _member(self, segment: Segment, address: Address) -> Endpoint | None:
        """The guest that has an address, or by whom a static route leads to it."""
        hop = next((route.via for route in segment.routes if address in route.to), address)
        members = self._fabric.members(segment.name)
        return next((endpoint for endpoint in members if any(own.ip in (address, hop) for own in endpoint.addresses)), None)

    def _nowhere(self, host: str, net: Network) -> bool:
        """Whether an unknown address of a segment's network is looked for in the segment, and not on a wire that has the same network."""
        facts = [fact for (of, _), fact in self._facts.uplinks.items() if of == host]
        return not any(own in net for fact in facts for own in _own(fact))

    def _into(self, host: str, segment: Segment, endpoint: Endpoint, packet: Packet) -> Routed:
        macs = {"eth_src": mac_number(segment.gateway_mac), "eth_dst": mac_number(endpoint.mac)}
        said = tuple_of(packet)
        self._begun |= {said} if said else set()
        place = (f"{host}/{self._fabric.hosts[host].bridge}", names.service_port(segment.name))
        return [(place, {**packet, **macs, "nw_ttl": packet["nw_ttl"] - 1})]

    def _out(self, host: str, wire: str, packet: Packet, target: Address) -> Routed:
        if wire == HOST_UPLINK:
            return self._by_host(host, packet, target)
        fact = self._facts.uplinks.get((host, wire))
        neighbour = self._neighbour(wire, target)
        if fact is None or neighbour is None or all(own.version != target.version for own in _own(fact)):
            return []
        macs = {"eth_src": mac_number(fact.mac), "eth_dst": mac_number(neighbour)}
        return [(self._exit(host, wire), {**packet, **macs, "nw_ttl": packet["nw_ttl"] - 1})]

    def _exit(self, host: str, wire: str) -> Place:
        return f"{host}/{names.uplink_bridge(wire)}", names.exit_port(wire)


def _own(fact: UplinkFact) -> tuple[Address, ...]:
    return (fact.translate, *((fact.translate6,) if fact.translate6 else ()))


def _gateways(segment: Segment) -> tuple[Address, ...]:
    return tuple(subnet.gateway for subnet in segment.subnets)
