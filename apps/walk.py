"""One switch as its flows make it: what it does to a packet, table by table.

The machine for tests, `weft lab ping` and proofs: it runs the very flows a real switch is told, with `learn()`, conntrack, NAT and
NORMAL. `weft.apps.world` joins several of them into a fabric.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from weft.apps import flow as f
from weft.apps.classifier import Classifier
from weft.apps.conntrack import Conntrack, tuple_of
from weft.apps.fields import FIELDS
from weft.apps.packet import Packet
from weft.topology.names import digest

METADATA = {"in_port": 0, "tun_id": 0, "metadata": 0, "ct_state": 0, "ct_zone": 0, **{f"reg{n}": 0 for n in range(8)}}
"""What a packet has besides its headers; a patch port clears it."""


class Hop(NamedTuple):
    """A packet met a flow in a table of a switch; no flow: the table has none for it, and it is dropped."""

    switch: str
    table: int
    flow: f.Flow | None


class Sent(NamedTuple):
    port: str
    packet: Packet


class LoopError(Exception):
    """A packet looked tables up more often than a switch allows (Open vSwitch: 4096 a packet)."""


@dataclass(slots=True)
class Run:
    """One packet on its way through one switch."""

    packet: Packet
    sent: list[Sent]
    hops: list[Hop]
    budget: int = 4096


class Switch:
    """A switch with these ports and flows. `deaf` ports get nothing from NORMAL (a VLAN of their own keeps them apart), which learns
    nothing in the VLANs `unlearned`.
    """

    def __init__(
        self,
        name: str,
        ports: Iterable[str],
        flows: Iterable[f.Flow],
        tracker: Conntrack,
        deaf: Iterable[str] = (),
        groups: Iterable[f.Group] = (),
        unlearned: Iterable[int] = (),
    ) -> None:
        self.name = name
        self.ports = {port: number for number, port in enumerate(ports, 1)} | {"LOCAL": f.LOCAL}
        self._names = {number: port for port, number in self.ports.items()}
        self._tracker, self._deaf, self._unlearned = tracker, set(deaf), set(unlearned)
        self._tables: dict[int, Classifier] = {}
        self._groups = {group.number: group for group in groups}
        self._stations: dict[tuple[int, int], int] = {}
        for flow in flows:
            if all(not isinstance(term.value, f.Port) or term.value.name in self.ports for term in flow.match):
                self._tables.setdefault(flow.table, Classifier()).add(flow, self.ports)

    def receive(self, port: str, packet: Packet) -> tuple[list[Sent], list[Hop]]:
        """What leaves, by port name, and the flows met, in order. Raises LoopError."""
        run = Run({**packet, **METADATA, "tun_id": packet.get("tun_id", 0), "in_port": self.ports[port]}, [], [])
        self._look_up(0, run)
        return run.sent, run.hops

    def _look_up(self, table: int, run: Run) -> None:
        run.budget -= 1
        if run.budget < 0:
            raise LoopError(self.name)
        classifier = self._tables.get(table)
        flow = classifier.find(run.packet) if classifier else None
        run.hops.append(Hop(self.name, table, flow))
        for action in flow.actions if flow else ():
            self._act(action, run)

    def _act(self, action: f.Action, run: Run) -> None:
        match action:
            case f.Goto(table) | f.Resubmit(table):
                self._look_up(table, run)
            case f.Output(port):
                self._output(port, run)
            case f.Ct():
                self._track(action, run)
            case f.Learn():
                self._learn(action, run.packet)
            case f.Cut(port):
                self._output(port, run)
            case f.Clone(actions):
                fork = replace(run, packet=dict(run.packet))
                for inner in actions:
                    self._act(inner, fork)
                run.budget = fork.budget
            case f.ToMeter():
                pass  # a walk is one packet, and that is never too much
            case f.ToGroup(number):
                self._group(self._groups.get(number), run)
            case _:
                self._edit(action, run.packet)

    def _edit(self, action: f.Action, packet: Packet) -> None:
        match action:
            case f.Set(field, value, mask):
                _write(packet, field, self._number(value, mask), mask)
            case f.Move(source, target):
                _write(packet, target.field, _extract(packet, source) << target.low, target.mask)
            case f.PushVlan():
                if packet["vlan_vid"]:
                    packet["inner_vid"] = packet["vlan_vid"]
                packet["vlan_vid"] = 0x1000
            case f.PopVlan():
                packet["vlan_vid"], packet["vlan_pcp"] = packet.pop("inner_vid", 0), 0
            case f.BySender(choices, target):
                sender = packet.get("ip_src", packet.get("ipv6_src", 0))
                _write(packet, target.field, digest(f"sender/{sender}", 32) % choices << target.low, target.mask)
            case f.Larger(octets, target):
                _write(packet, target.field, int(packet.get("octets", 0) > octets) << target.low, target.mask)
            case f.DecTtl():
                packet["nw_ttl"] -= 1

    def _number(self, value: f.Value, mask: int | None) -> int:
        if not isinstance(value, f.Port):
            return value
        low = (mask & -mask).bit_length() - 1 if mask else 0
        return self.ports.get(value.name, 0) << low

    def _track(self, ct: f.Ct, run: Run) -> None:
        zone = ct.zone if isinstance(ct.zone, int) else _extract(run.packet, ct.zone)
        tracked = self._tracker.track(zone, run.packet, ct.commit, ct.nat)
        for action in ct.exec:
            self._edit(action, tracked)
        if ct.table is not None:
            fork = replace(run, packet=tracked)
            self._look_up(ct.table, fork)
            run.budget = fork.budget

    def _learn(self, learn: f.Learn, packet: Packet) -> None:
        """The learned flow, with the numbers of this packet."""
        terms: dict[str, tuple[int, int]] = {}
        loads = []
        for spec in learn.specs:
            number = spec.source if isinstance(spec.source, int) else _extract(packet, spec.source)
            if isinstance(spec, f.LearnLoad):
                loads.append(f.Set(spec.target.field, number << spec.target.low, spec.target.mask))
                continue
            value, mask = terms.get(spec.target.field, (0, 0))
            terms[spec.target.field] = value | number << spec.target.low, mask | spec.target.mask
        flow = f.Flow(learn.table, learn.priority, f.match(**terms), tuple(loads), ("learned",))
        self._tables.setdefault(learn.table, Classifier()).add(flow, self.ports)

    def _group(self, group: f.Group | None, run: Run) -> None:
        """Buckets of ports that are there; `select` chooses by the ends of the connection, each bucket as often as it weighs."""
        buckets = [bucket for bucket in group.buckets if self._lives(bucket)] if group else []
        if group is not None and group.kind == "select":
            lots = [bucket for bucket in buckets for _ in range(bucket.weight)]
            buckets = [lots[digest(repr(tuple_of(run.packet)), 32) % len(lots)]] if lots else []
        elif group is not None and group.kind != "all":
            buckets = buckets[:1]
        for bucket in buckets:
            fork = replace(run, packet=dict(run.packet))
            for action in bucket.actions:
                self._act(action, fork)
            run.budget = fork.budget

    def _lives(self, bucket: f.Bucket) -> bool:
        watched = bucket.watch_port
        return watched is None or (watched.name in self.ports if isinstance(watched, f.Port) else watched in self._names)

    def _output(self, port: f.Value | f.Bits, run: Run) -> None:
        packet = run.packet
        number = _extract(packet, port) if isinstance(port, f.Bits) else self._number(port, None)
        if number == f.NORMAL:
            self._normal(run)
        elif number == f.IN_PORT:
            self._send(packet["in_port"], run)
        elif number == f.LOCAL & 0xFFFF or number != packet["in_port"]:
            self._send(number, run)

    def _send(self, number: int, run: Run) -> None:
        if number in self._names:
            headers = {field: value for field, value in run.packet.items() if field not in METADATA and not field.startswith("ct_")}
            run.sent.append(Sent(self._names[number], {**headers, "tun_id": run.packet["tun_id"]}))

    def _normal(self, run: Run) -> None:
        """A learning switch with VLANs, all ports trunks."""
        packet = run.packet
        vlan, came = packet["vlan_vid"] & 0xFFF, packet["in_port"]
        if vlan not in self._unlearned:
            self._stations[vlan, packet["eth_src"]] = came
        known = None if packet["eth_dst"] >> 40 & 1 else self._stations.get((vlan, packet["eth_dst"]))
        targets = [number for name, number in self.ports.items() if name not in self._deaf] if known is None else [known]
        for number in targets:
            if number != came:
                self._send(number, run)


def _extract(packet: Packet, bits: f.Bits) -> int:
    return (packet.get(bits.field, 0) & bits.mask) >> bits.low


def _write(packet: Packet, field: str, value: int, mask: int | None) -> None:
    mask = FIELDS[field].ones if mask is None else mask
    packet[field] = packet.get(field, 0) & ~mask | value & mask
