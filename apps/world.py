"""All switches of a fabric together with what is plugged into them: send a packet anywhere, see where it comes out.

Stations are guests, the gateways in each host's service namespace, the hosts themselves on their uplinks, and `outside` on each
physical network. They answer ARP, ND and ping as a kernel does, and the service namespace routes; the rest is flows.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from weft.apps import packet as p
from weft.apps.conntrack import Conntrack
from weft.apps.facts import Facts
from weft.apps.flow import Program, mac_number
from weft.apps.packet import Packet
from weft.apps.pipeline import VLAN_PRESENT
from weft.apps.router import Routed, Router
from weft.apps.stations import OUTSIDE_MAC, Delivery, Entry, Place, Station, Walk, gateway, guest
from weft.apps.strangers import placed, strangers
from weft.apps.translate import base_flows
from weft.apps.walk import LoopError, Switch
from weft.topology import names
from weft.topology.check_segments import overlap
from weft.topology.model import Fabric, Host
from weft.topology.overlay import mirrored_vlans
from weft.topology.terms import Address, Interface, Network

MOST_STEPS = 10_000


class World:
    """A fabric as its compiled flows make it. It remembers, as switches do: learned MACs and connections."""

    def __init__(self, fabric: Fabric, programs: Mapping[int, Program], facts: Facts) -> None:
        self.fabric = fabric = placed(fabric, facts)
        self._facts = facts
        self.stations: dict[str, Station] = {}
        self._switches: dict[str, Switch] = {}
        self._links: dict[Place, Place] = {}
        self._wires: dict[str, list[Place]] = {}
        self._direct: dict[str, list[Station]] = {}
        """By physical network: who is on it without a switch of ours."""
        self._at: dict[Place, Station] = {}
        self._tagged: dict[tuple[Place, int], Station] = {}
        self._learned: dict[tuple[str, int, int], Place] = {}
        self._trackers: dict[str, Conntrack] = {}
        self._router = Router(fabric, facts, self._neighbour)
        self._remote_span = {VLAN_PRESENT | mirror.vlan for mirror in fabric.mirrors if mirror.vlan}
        """VLANs in which the physical network learns nothing, as switches have them for RSPAN."""
        self.taps: dict[str, list[Packet]] = {}
        """What went over each physical network in those VLANs."""
        for host in fabric.hosts.values():
            self._add_host(host, programs)
        self._add_direct()
        self._add_outside()

    def send(self, station: str, packet: Packet) -> Walk:
        """What becomes of a packet that a station sends. Raises LoopError where it never ends."""
        return self._sent(self.stations[station], packet)

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
            if reached == asker and _is_answer(arrived):  # the service namespace answered on the way, for a guest of its host
                return arrived
            reply = p.answer(arrived, reached.mac, reached.own)
            by = self._sender(reached, reply) if reply else None
            reply = self._sent_back(reached, reply) if reply else None
            if reply is None or by is None:
                continue
            for delivery in self._sent(by, {**reply, "eth_src": mac_number(by.mac)}).delivered:
                if delivery.station == asker and delivery.packet["eth_dst"] == mac_number(asker.mac):
                    return delivery.packet
        return None

    def _sent_back(self, station: Station, reply: Packet) -> Packet | None:
        """An answer as `outside` sends it: to who asked on its wire, else by the route that it knows."""
        ends = p.addresses(reply)
        if ends is None or station.place[0] != "wire" or any(ends[1] in own.network or ends[1].is_link_local for own in station.addresses):
            return reply
        hop = self.next_hop(station.name, ends[1])
        return {**reply, "eth_dst": hop[1]} if hop else None

    def pings(self, station: str, target: Address) -> bool:
        """Whether a ping is answered: neighbour found (the gateway's, off-link), request there, answer back."""
        found = self.next_hop(station, target)
        if found is None:
            return False
        source, hop = found
        reply = self.ask(station, p.echo(self.stations[station].mac, hop, source, target))
        return reply is not None and p.addresses(reply) == (target, source)

    def next_hop(self, station: str, target: Address) -> tuple[Address, int] | None:
        """With which address a station speaks to another, and to which MAC: asked for as a kernel does. None: it has no way."""
        asker = self.stations[station]
        source = next((interface for interface in asker.addresses if interface.version == target.version), None)
        if source is None:
            return None
        hop: Address | None = target
        if not any(target in interface.network for interface in asker.addresses):
            ways = [via for network, via in asker.routes if target in network]
            hop = next((way for way in (*ways, *asker.gateways) if way.version == target.version), None)
        found = hop and self.ask(station, p.question(asker.mac, source.ip, hop))
        return (source.ip, found["eth_src"]) if found else None

    def _sender(self, reached: Station, reply: Packet) -> Station | None:
        """By which of its NICs a guest answers: its kernel looks at the address, not at where the question came in."""
        endpoint, ends = self.fabric.endpoints.get(reached.name), p.addresses(reply)
        if endpoint is None or ends is None or ("icmpv6_type" in reply and reply["icmpv6_type"] == 136):
            return reached
        if endpoint.guest not in self.fabric.guests:
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
        local = [endpoint for endpoint in everyone if endpoint.host == host.name and not endpoint.direct]
        served = [segment for segment in fabric.segments.values() if segment.served]
        peers = [other for other in fabric.hosts.values() if other.name != host.name]
        ports = list(dict.fromkeys(endpoint.port for endpoint in local))
        ports += [names.tunnel_port(peer.name) for peer in peers]
        ports += [names.service_port(segment.name) for segment in served]
        ports += [names.patch_port(uplink) for uplink in host.uplinks]
        self._switches[bridge] = Switch(bridge, ports, programs[host.dpid].flows(), tracker, groups=programs[host.dpid].groups)
        for peer in peers:
            there = (f"{peer.name}/{peer.bridge}", names.tunnel_port(host.name))
            self._links[bridge, names.tunnel_port(peer.name)] = there
        for endpoint in local:
            self._station(guest(fabric, endpoint, (bridge, endpoint.port)))
        for segment in served:
            self._station(gateway(fabric, host, segment, (bridge, names.service_port(segment.name))))
        for number, name in enumerate(host.uplinks):
            self._add_uplink(host, name, number, programs, tracker)

    def _add_uplink(self, host: Host, name: str, number: int, programs: Mapping[int, Program], tracker: Conntrack) -> None:
        uplink, exit_port, peer = host.uplinks[name], names.exit_port(name), names.patch_peer(name)
        bridge = f"{host.name}/{uplink.bridge}"
        flows = (*programs[uplink.dpid].flows(), *base_flows(exit_port))
        copied = mirrored_vlans(self.fabric, host.name, name)
        self._switches[bridge] = Switch(bridge, [uplink.nics[0], exit_port, peer], flows, tracker, [exit_port], (), copied)
        patch = (f"{host.name}/{host.bridge}", names.patch_port(name))
        self._links[patch], self._links[bridge, peer] = (bridge, peer), patch
        self._wires.setdefault(name, []).append((bridge, uplink.nics[0]))
        fact = self._facts.uplinks.get((host.name, name))
        if fact is not None:
            label, lab = host.name if number == 0 else f"{host.name}/{name}", self.fabric.lab
            own: tuple[Interface, ...] = (IPv4Interface(f"{fact.translate}/24"),)
            own += (IPv6Interface(f"{fact.translate6}/64"),) if fact.translate6 else ()
            gateways = (lab.outside[1], lab.outside6[1]) if lab else ()
            place = ("wire", f"{name}/{host.name}") if uplink.joins else (bridge, "LOCAL")
            self._station(Station(label, fact.mac, own, place, gateways))
            if uplink.joins:
                self._direct.setdefault(name, []).append(self.stations[label])

    def _add_direct(self) -> None:
        """Guests that hang on a NIC itself, each a place of its own on the wire, behind the tag of its segment."""
        for endpoint in self.fabric.endpoints.values():
            segment = self.fabric.segments[endpoint.segment]
            if endpoint.direct and segment.uplink is not None:
                place = ("wire", f"{segment.uplink}/{endpoint.name}")
                self._station(replace(guest(self.fabric, endpoint, place), tag=segment.vlan))
                self._direct.setdefault(segment.uplink, []).append(self.stations[endpoint.name])

    def _add_outside(self) -> None:
        if self.fabric.lab is None:
            return
        own = tuple(ip_interface((net[1], net.prefixlen)) for net in (self.fabric.lab.outside, self.fabric.lab.outside6))
        for number, wire in enumerate(self._wires):
            label = "outside" if number == 0 else f"outside/{wire}"
            mac = next((mac for of, mac in self._gateways(wire) if any(of == each.ip for each in own)), OUTSIDE_MAC)
            self._station(Station(label, mac, own, ("wire", wire), (), tuple(self._routed(wire))))

    def _gateways(self, wire: str) -> Iterator[tuple[Address, str]]:
        """As hosts reported them."""
        return (hop for (_, name), fact in self._facts.uplinks.items() if name == wire for hop in fact.hops)

    def _routed(self, wire: str) -> Iterator[tuple[Network, Address]]:
        """The routes that the physical network needs: to a routed subnet that is not its own, by the first host on it."""
        stations = [self._at.get((switch, "LOCAL")) for switch, _ in self._wires[wire]]
        hosts = [station for station in stations if station]
        for segment in self.fabric.segments.values():
            for net in segment.networks if segment.mode == "routed" and segment.uplink == wire else ():
                via = next((own for host in hosts for own in host.own if own.version == net.version), None)
                if via and not any(overlap(net, own.network) for host in hosts for own in host.addresses):
                    yield net, via

    def _station(self, station: Station) -> None:
        self.stations[station.name] = station
        if station.tag is None:
            self._at[station.place] = station
        else:
            self._tagged[station.place, station.tag] = station

    # ---- a packet on its way

    def _sent(self, station: Station, packet: Packet) -> Walk:
        tag = {} if station.tag is None else {"vlan_vid": VLAN_PRESENT | station.tag}
        return self._run(station.place, {**packet, **tag}, station)

    def _run(self, place: Place, packet: Packet, sender: Station | None) -> Walk:
        delivered: list[Delivery] = []
        entries: list[Entry] = []
        waiting = deque(self._arriving([(place, packet)], delivered))
        for _ in range(MOST_STEPS):
            if not waiting:
                return Walk(tuple(delivered), tuple(hop for entry in entries for hop in entry.hops), tuple(entries))
            (switch, port), arriving = waiting.popleft()
            sent, met = self._switches[switch].receive(port, arriving)
            entries.append(Entry((switch, port), arriving, tuple(met)))
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
                return self._arriving(self._router.from_wire(host, wire, packet), delivered)
        station = self._at.get(place)
        if behind := self._tagged.get((place, packet["vlan_vid"] & 0xFFF)):
            station, packet = behind, {**packet, "vlan_vid": 0}
        if station is None or (packet["vlan_vid"] and not self._has_tags(station)):  # nobody else has VLAN devices
            return []
        delivered.append(Delivery(station, packet))
        if port == "LOCAL":
            return self._arriving(self._router.from_host(host, packet), delivered)
        if not port.startswith("s.") or packet["eth_dst"] != mac_number(station.mac):
            return []
        return self._arriving(self._router.from_segment(host, self.fabric.segments[station.name.partition("@")[0]], packet), delivered)

    def _arriving(self, sent: Routed, delivered: list[Delivery]) -> Routed:
        """At which ports of switches something arrives that is sent into such a port, or onto a wire."""
        arriving: Routed = []
        for place, packet in sent:
            wire = place[1].partition("/")[0]
            arriving += self._on_wire(wire, place, packet, delivered) if place[0] == "wire" else [(place, packet)]
        return arriving

    def _has_tags(self, station: Station) -> bool:
        endpoint = self.fabric.endpoints.get(station.name)
        return endpoint is not None and self.fabric.segments[endpoint.segment].qinq

    def _on_wire(self, wire: str, came: Place, packet: Packet, delivered: list[Delivery]) -> list[tuple[Place, Packet]]:
        """The physical network: a learning switch that keeps VLANs apart, with `outside` on one of its ports, untagged."""
        vlan, outside = packet["vlan_vid"], ("wire", wire)
        if vlan not in self._remote_span:
            self._learned[wire, vlan, packet["eth_src"]] = came
        if vlan in self._remote_span:
            self.taps.setdefault(wire, []).append(packet)
        known = None if packet["eth_dst"] >> 40 & 1 else self._learned.get((wire, vlan, packet["eth_dst"]))
        everywhere = [outside, *(station.place for station in self._direct.get(wire, ())), *self._wires.get(wire, ())]
        targets = [place for place in ([known] if known else everywhere) if place != came]
        if outside in targets and outside in self._at and not vlan:
            delivered.append(Delivery(self._at[outside], packet))
        beyond: Routed = []
        for station in self._direct.get(wire, ()):  # a NIC hands on what is for its guest, in the guest's VLAN
            wanted = packet["eth_dst"] >> 40 & 1 or packet["eth_dst"] == mac_number(station.mac)
            if station.place in targets and wanted and vlan & 0xFFF == (station.tag or 0):
                delivered.append(Delivery(station, {**packet, "vlan_vid": 0}))
                if host := self._host_of(station):
                    beyond += self._arriving(self._router.from_host(host, packet), delivered)
        return [*((place, packet) for place in targets if place[0] != "wire"), *beyond]

    def _host_of(self, station: Station) -> str:
        """The host that it is, on one of its uplinks; empty: it is none."""
        name = station.name.partition("/")[0]
        return name if name in self.fabric.hosts else ""

    def _neighbour(self, wire: str, address: Address) -> str | None:
        """MAC of who on a physical network takes what is for `address`: its owner, a host or a bridged guest, else `outside`."""
        for station in self.stations.values():
            endpoint = self.fabric.endpoints.get(station.name)
            segment = self.fabric.segments[endpoint.segment] if endpoint else None
            bridged = segment is not None and segment.mode == "bridged" and (segment.uplink, segment.vlan) == (wire, None)
            if address in station.own and (bridged or self._host_of(station)):
                return station.mac
        beyond = self._at.get(("wire", wire))
        return beyond.mac if beyond else None


def _is_answer(packet: Packet) -> bool:
    return packet.get("arp_op") == 2 or packet.get("icmpv6_type") == 136
