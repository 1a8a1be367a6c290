"""All switches of a fabric together with what is plugged into them: send a packet anywhere, see where it comes out.

Stations are guests, the gateways in each host's service namespace, the hosts themselves on their uplinks, and `outside` on each
physical network. They answer ARP, ND and ping as a kernel does, and the service namespace routes; the rest is flows.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, ip_interface
from typing import NamedTuple

from weft.apps import packet as p
from weft.apps.conntrack import Conntrack
from weft.apps.facts import Facts
from weft.apps.flow import Program, mac_number
from weft.apps.packet import Packet
from weft.apps.strangers import strangers
from weft.apps.translate import base_flows
from weft.apps.walk import Hop, LoopError, Switch
from weft.topology import names
from weft.topology.model import Address, Endpoint, Fabric, Host, Interface, Segment

OUTSIDE_MAC = "0e:00:00:00:00:01"
MOST_STEPS = 10_000

Place = tuple[str, str]
"""A port: switch (``kvm1/br-weft``) and name."""


@dataclass(frozen=True, slots=True)
class Station:
    """Something with a MAC and addresses behind a port, or on the wire of a physical network."""

    name: str
    mac: str
    addresses: tuple[Interface, ...]
    place: Place
    gateways: tuple[Address, ...] = ()

    @property
    def own(self) -> tuple[Address, ...]:
        return tuple(interface.ip for interface in self.addresses)


class Delivery(NamedTuple):
    station: Station
    packet: Packet


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a packet came out, and every flow it met on the way."""

    delivered: tuple[Delivery, ...]
    hops: tuple[Hop, ...]

    @property
    def to(self) -> tuple[str, ...]:
        return tuple(delivery.station.name for delivery in self.delivered)


class World:
    """A fabric as its compiled flows make it. It remembers, as switches do: learned MACs and connections."""

    def __init__(self, fabric: Fabric, programs: Mapping[int, Program], facts: Facts) -> None:
        self.fabric, self._facts = fabric, facts
        self.stations: dict[str, Station] = {}
        self._switches: dict[str, Switch] = {}
        self._links: dict[Place, Place] = {}
        self._wires: dict[str, list[Place]] = {}
        self._at: dict[Place, Station] = {}
        self._learned: dict[tuple[str, int, int], Place] = {}
        self._trackers: dict[str, Conntrack] = {}
        for host in fabric.hosts.values():
            self._add_host(host, programs)
        self._add_outside()

    def send(self, station: str, packet: Packet) -> Walk:
        """What becomes of a packet that a station sends. Raises LoopError where it never ends."""
        return self._run(self.stations[station].place, packet, self.stations[station])

    def enter(self, place: Place, packet: Packet) -> Walk:
        """What becomes of a packet that comes in by a port, whoever sent it."""
        return self._run(place, packet, self._at.get(place))

    def inherit(self, before: "World") -> None:
        """Takes over the connections of a world whose flows were other ones, as switches do."""
        for name, tracker in before._trackers.items():
            if name in self._trackers:
                self._trackers[name].inherit(tracker)

    def ask(self, station: str, packet: Packet) -> Packet | None:
        """The first answer that comes back to a station for what it sent; None: none does."""
        asker = self.stations[station]
        for reached, arrived in self.send(station, packet).delivered:
            reply = p.answer(arrived, reached.mac, reached.own)
            by = self._sender(reached, reply) if reply else None
            if reply is None or by is None:
                continue
            for delivery in self._run(by.place, {**reply, "eth_src": mac_number(by.mac)}, by).delivered:
                if delivery.station == asker and delivery.packet["eth_dst"] == mac_number(asker.mac):
                    return delivery.packet
        return None

    def pings(self, station: str, target: Address) -> bool:
        """Whether a ping is answered: neighbour found (the gateway's, off-link), request there, answer back."""
        asker = self.stations[station]
        source = next((interface for interface in asker.addresses if interface.version == target.version), None)
        if source is None:
            return False
        hop: Address | None = target
        if not any(target in interface.network for interface in asker.addresses):
            hop = next((gateway for gateway in asker.gateways if gateway.version == target.version), None)
        found = hop and self.ask(station, p.question(asker.mac, source.ip, hop))
        if not found:
            return False
        reply = self.ask(station, p.echo(asker.mac, found["eth_src"], source.ip, target))
        return reply is not None and p.addresses(reply) == (target, source.ip)

    def _sender(self, reached: Station, reply: Packet) -> Station | None:
        """By which of its NICs a guest answers: its kernel looks at the address, not at where the question came in."""
        endpoint, ends = self.fabric.endpoints.get(reached.name), p.addresses(reply)
        if endpoint is None or ends is None or ("icmpv6_type" in reply and reply["icmpv6_type"] == 136):
            return reached
        own = [self.stations[each.name] for each in self.fabric.guests[endpoint.guest].endpoints]
        near = [station for station in own if any(ends[1] in network.network for network in station.addresses)]
        ways = near or [station for station in own if any(gateway.version == ends[1].version for gateway in station.gateways)]
        return reached if reached in near else next(iter(ways), None)

    # ---- the pieces

    def _add_host(self, host: Host, programs: Mapping[int, Program]) -> None:
        fabric, tracker, bridge = self.fabric, Conntrack(), f"{host.name}/{host.bridge}"
        self._trackers[host.name] = tracker
        everyone = (*fabric.endpoints.values(), *strangers(fabric, self._facts))
        local = [endpoint for endpoint in everyone if endpoint.host == host.name]
        served = [segment for segment in fabric.segments.values() if segment.served]
        peers = [other for other in fabric.hosts.values() if other.name != host.name]
        ports = [endpoint.port for endpoint in local]
        ports += [names.tunnel_port(peer.name) for peer in peers]
        ports += [names.service_port(segment.name) for segment in served]
        ports += [names.patch_port(uplink) for uplink in host.uplinks]
        self._switches[bridge] = Switch(bridge, ports, programs[host.dpid].flows(), tracker, groups=programs[host.dpid].groups)
        for peer in peers:
            there = (f"{peer.name}/{peer.bridge}", names.tunnel_port(host.name))
            self._links[bridge, names.tunnel_port(peer.name)] = there
        for endpoint in local:
            self._station(_guest(fabric, endpoint, (bridge, endpoint.port)))
        for segment in served:
            self._station(_gateway(fabric, host, segment, (bridge, names.service_port(segment.name))))
        for number, name in enumerate(host.uplinks):
            self._add_uplink(host, name, number, programs, tracker)

    def _add_uplink(self, host: Host, name: str, number: int, programs: Mapping[int, Program], tracker: Conntrack) -> None:
        uplink, exit_port, peer = host.uplinks[name], names.exit_port(name), names.patch_peer(name)
        bridge = f"{host.name}/{uplink.bridge}"
        flows = (*programs[uplink.dpid].flows(), *base_flows(exit_port))
        self._switches[bridge] = Switch(bridge, [uplink.nics[0], exit_port, peer], flows, tracker, deaf=[exit_port])
        patch = (f"{host.name}/{host.bridge}", names.patch_port(name))
        self._links[patch], self._links[bridge, peer] = (bridge, peer), patch
        self._wires.setdefault(name, []).append((bridge, uplink.nics[0]))
        fact = self._facts.uplinks.get((host.name, name))
        if fact is not None:
            label = host.name if number == 0 else f"{host.name}/{name}"
            self._station(Station(label, fact.mac, (IPv4Interface(f"{fact.translate}/24"),), (bridge, "LOCAL")))

    def _add_outside(self) -> None:
        if self.fabric.lab is None:
            return
        network = self.fabric.lab.outside
        address = IPv4Interface(f"{network[1]}/{network.prefixlen}")
        for number, wire in enumerate(self._wires):
            self._station(Station("outside" if number == 0 else f"outside/{wire}", OUTSIDE_MAC, (address,), ("wire", wire)))

    def _station(self, station: Station) -> None:
        self.stations[station.name] = self._at[station.place] = station

    # ---- a packet on its way

    def _run(self, place: Place, packet: Packet, sender: Station | None) -> Walk:
        delivered: list[Delivery] = []
        hops: list[Hop] = []
        entering = [(place, packet)] if place[0] != "wire" else self._on_wire(place[1], place, packet, delivered)
        waiting = deque(entering)
        for _ in range(MOST_STEPS):
            if not waiting:
                return Walk(tuple(delivered), tuple(hops))
            (switch, port), arriving = waiting.popleft()
            sent, met = self._switches[switch].receive(port, arriving)
            hops += met
            for out, leaving in sent:
                reached = self._leave((switch, out), leaving, delivered)
                waiting.extend(reached)
        raise LoopError(f"a packet from {sender.name if sender else place} never ends")

    def _leave(self, place: Place, packet: Packet, delivered: list[Delivery]) -> list[tuple[Place, Packet]]:
        """Where a packet that leaves a port arrives next; stations keep it, and the service namespace may route it on."""
        if place in self._links:
            through = packet if place[1].startswith("t.") else {**packet, "tun_id": 0}
            return [(self._links[place], through)]
        switch, port = place
        host, _, bridge = switch.partition("/")
        for wire, nics in self._wires.items():
            if place in nics:
                return self._on_wire(wire, place, packet, delivered)
            if port == names.exit_port(wire) and bridge == names.uplink_bridge(wire):
                return self._route_in(host, packet)
        station = self._at.get(place)
        if station is None or (port == "LOCAL" and packet["vlan_vid"]):  # a host has no VLAN devices
            return []
        delivered.append(Delivery(station, packet))
        return self._route_out(host, station, packet) if port.startswith("s.") else []

    def _on_wire(self, wire: str, came: Place, packet: Packet, delivered: list[Delivery]) -> list[tuple[Place, Packet]]:
        """The physical network: a learning switch that keeps VLANs apart, with `outside` on one of its ports, untagged."""
        vlan, outside = packet["vlan_vid"], ("wire", wire)
        self._learned[wire, vlan, packet["eth_src"]] = came
        known = None if packet["eth_dst"] >> 40 & 1 else self._learned.get((wire, vlan, packet["eth_dst"]))
        targets = [place for place in ([known] if known else [outside, *self._wires[wire]]) if place != came]
        if outside in targets and outside in self._at and not vlan:
            delivered.append(Delivery(self._at[outside], packet))
        return [(nic, packet) for nic in targets if nic != outside]

    def _route_out(self, host: str, gateway: Station, packet: Packet) -> list[tuple[Place, Packet]]:
        """The service namespace's kernel: what is not for itself leaves by the segment's uplink, if it has one."""
        ends, segment = p.addresses(packet), self.fabric.segments[gateway.name.partition("@")[0]]
        for_it = packet["eth_dst"] == mac_number(gateway.mac) and packet.get("nw_ttl", 0) > 1
        fact = self._facts.uplinks.get((host, segment.uplink)) if segment.uplink else None
        if not (ends and for_it and fact and segment.uplink) or ends[1] in gateway.own or segment.mode != "nat":
            return []
        neighbour = self._neighbour(segment.uplink, ends[1])
        if neighbour is None:
            return []
        routed = {**packet, "eth_src": mac_number(fact.mac), "eth_dst": mac_number(neighbour.mac), "nw_ttl": packet["nw_ttl"] - 1}
        return [((f"{host}/{names.uplink_bridge(segment.uplink)}", names.exit_port(segment.uplink)), routed)]

    def _neighbour(self, wire: str, address: Address) -> Station | None:
        """Who on a physical network takes what is for `address`: its owner, a host or a bridged guest, else `outside`."""
        for station in self.stations.values():
            endpoint = self.fabric.endpoints.get(station.name)
            segment = self.fabric.segments[endpoint.segment] if endpoint else None
            bridged = segment is not None and segment.mode == "bridged" and (segment.uplink, segment.vlan) == (wire, None)
            if address in station.own and (bridged or station.place[1] == "LOCAL"):
                return station
        return self._at.get(("wire", wire))

    def _route_in(self, host: str, packet: Packet) -> list[tuple[Place, Packet]]:
        ends = p.addresses(packet)
        for endpoint in self.fabric.endpoints.values():
            segment = self.fabric.segments[endpoint.segment]
            if ends and endpoint.host == host and segment.served and any(ends[1] == own.ip for own in endpoint.addresses):
                macs = {"eth_src": mac_number(segment.gateway_mac), "eth_dst": mac_number(endpoint.mac)}
                place = (f"{host}/{self.fabric.hosts[host].bridge}", names.service_port(segment.name))
                return [(place, {**packet, **macs, "nw_ttl": packet["nw_ttl"] - 1})]
        return []


def _guest(fabric: Fabric, endpoint: Endpoint, place: Place) -> Station:
    segment = fabric.segments[endpoint.segment]
    gateways = tuple(subnet.gateway for subnet in segment.subnets) if segment.mode != "isolated" else ()
    return Station(endpoint.name, endpoint.mac, endpoint.addresses, place, gateways)


def _gateway(fabric: Fabric, host: Host, segment: Segment, place: Place) -> Station:
    addresses = tuple(ip_interface(f"{s.gateway}/{s.network.prefixlen}") for s in segment.subnets)
    shared = tuple(ip_interface(service.address) for service in fabric.services if service.segment == segment.name)
    return Station(f"{segment.name}@{host.name}", segment.gateway_mac, (*addresses, *shared), place)
