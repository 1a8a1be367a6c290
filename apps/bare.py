"""A bridge in no fabric: a learning switch made of flows, that keeps VLANs apart.

==========  ================================================================================================
`enter`     drops what bridges never forward (IEEE 802.1Q, 8.6.3); with ports known, gives untagged packets their port's VLAN
`watch`     writes (VLAN, source MAC) -> port into `seen`
`find`      looks a unicast receiver up in `seen`
`deliver`   to the port found there; else to every port
`copies`    with ports known: one copy for each port, by way of `leave`
`leave`     with ports known: takes the tag off where the port wants none; a VLAN that a port does not carry ends here
==========  ================================================================================================

Inside, a packet carries its VLAN in its tag, and none in VLAN 0, so that a packet between two trunks is not touched at all. Without knowledge
of the ports' tags packets keep the tag they came with and go to all ports: tags of ports are void then.
"""

from dataclasses import dataclass
from typing import Literal

from weft.apps.flow import (
    CONTROLLER,
    FLOOD,
    NORMAL,
    Action,
    Bits,
    Flow,
    Given,
    Goto,
    LearnLoad,
    LearnMatch,
    Output,
    PopVlan,
    Port,
    Program,
    PushVlan,
    Resubmit,
    Set,
    match,
)
from weft.apps.learning import remember
from weft.apps.pipeline import (
    COPIES,
    DELIVER,
    ENTER,
    FIND,
    LEAVE_BY,
    OUT,
    SEEN,
    VLAN_PRESENT,
    WATCH,
    put,
)

Mode = Literal["learn", "normal", "reactive"]
WHY = ("bare",)
GROUP_BIT = (1 << 40, 1 << 40)
"""Of a MAC: group addresses (IEEE 802, 8.2.2)."""
RESERVED = (0x0180C2000000, 0xFFFFFFFFFFF0)
"""Group addresses that a bridge keeps to itself: spanning tree, LACP, pause, LLDP (IEEE 802.1Q, table 8-1)."""
VLAN = Bits("vlan_vid", 0, 12)


@dataclass(frozen=True, slots=True)
class BarePort:
    """A port as its bridge's database has it (ovs-vswitchd.conf.db(5), Port: VLAN Configuration)."""

    name: str
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    """VLANs of a trunk; empty: all."""
    mode: str | None = None
    """``access``, ``trunk``, ``native-tagged``, ``native-untagged``; None: access where there is a tag, else trunk."""

    @property
    def access(self) -> bool:
        return self.mode == "access" or (self.mode is None and self.tag is not None)

    @property
    def native(self) -> int:
        """The VLAN of its untagged packets."""
        return self.tag or 0 if self.access or (self.mode or "").startswith("native") else 0

    @property
    def carried(self) -> frozenset[int] | None:
        """Its VLANs; None: all."""
        if self.access:
            return frozenset((self.native,))
        native = (self.native,) if (self.mode or "").startswith("native") else ()
        return frozenset((*self.trunks, *native)) if self.trunks else None

    @property
    def untagged(self) -> int:
        """The VLAN that leaves without a tag."""
        return 0 if self.mode == "native-tagged" else self.native


def bare(mode: Mode, ports: tuple[BarePort, ...] | None = None) -> Program:
    """The program of a bare bridge; `ports` None: its database cannot be read."""
    if mode == "normal":
        return Program({("bare",): (ENTER.flow(0, match(), Output(NORMAL), why=WHY),)})
    if mode == "reactive":
        return Program({("bare",): (reserved(), ENTER.flow(0, match(), Output(CONTROLLER), why=WHY))})
    if ports is None:
        return Program({("bare",): common(), ("agnostic",): agnostic()})
    units: dict[tuple[str, ...], tuple[Flow, ...]] = {("port", port.name): of_port(port) for port in ports}
    return Program(units | {("bare",): common(), ("copies",): (copies(ports),)})


def reserved() -> Flow:
    return ENTER.flow(200, match(eth_dst=RESERVED), why=WHY)


def common() -> tuple[Flow, ...]:
    """What is the same with and without knowledge of the ports."""
    specs = (
        LearnMatch(VLAN, VLAN),
        LearnMatch(Bits("eth_dst", 0, 48), Bits("eth_src", 0, 48)),
        LearnLoad(OUT, Bits("in_port", 0, 16)),
    )
    deliver: tuple[Action, ...] = (Resubmit(SEEN.number), Goto(DELIVER.number))
    return (
        reserved(),
        ENTER.flow(190, match(eth_src=GROUP_BIT), why=WHY),
        *remember(WATCH, 0, {}, specs, SEEN, Goto(FIND.number), why=WHY),
        FIND.flow(1, match(eth_dst=GROUP_BIT), Goto(DELIVER.number), why=WHY),
        FIND.flow(0, match(), *deliver, why=WHY),
        DELIVER.flow(1, match(**{OUT.field: (0, OUT.mask)}), Goto(COPIES.number), why=WHY),
        DELIVER.flow(0, match(), Goto(LEAVE_BY.number), why=WHY),
    )


def agnostic() -> tuple[Flow, ...]:
    """Every port is every VLAN's: what is unknown is flooded as it came."""
    return (
        ENTER.flow(0, match(), Goto(WATCH.number), why=WHY),
        COPIES.flow(0, match(), Output(FLOOD), why=WHY),
        LEAVE_BY.flow(0, match(), Output(OUT), why=WHY),
    )


def copies(ports: tuple[BarePort, ...]) -> Flow:
    """Ports that may take a tag off come last: the tag that is put back for later copies has lost its priority bits."""
    actions: tuple[Action, ...] = ()
    for port in sorted(ports, key=lambda port: (port.untagged != 0, port.name)):
        actions += (put(OUT, Port(port.name)), Resubmit(LEAVE_BY.number))
    return COPIES.flow(0, match(), *actions, why=WHY)


def of_port(port: BarePort) -> tuple[Flow, ...]:
    return (*_enter(port), *_leave(port))


def _enter(port: BarePort) -> list[Flow]:
    """VLAN 0 means untagged, also where there is a tag that says 0 (a priority tag)."""
    on = Goto(WATCH.number)
    carried, native = port.carried, port.native
    flows = []
    if native:
        tag = Set("vlan_vid", VLAN_PRESENT | native)
        flows += [_in(port, 0, PushVlan(), tag, on), _in(port, VLAN_PRESENT, tag, on)]
    elif carried is None or 0 in carried:
        flows += [_in(port, 0, on), _in(port, VLAN_PRESENT, PopVlan(), on)]
    if carried is None:
        tagged: tuple[int, int] = (VLAN_PRESENT, VLAN_PRESENT)
        flows.append(ENTER.flow(10, match(in_port=Port(port.name), vlan_vid=tagged), on, why=WHY))
    elif not port.access:
        flows += [_in(port, VLAN_PRESENT | vlan, on) for vlan in sorted(carried - {0})]
    return flows


def _in(port: BarePort, vlan_vid: int, *actions: Action) -> Flow:
    return ENTER.flow(20, match(in_port=Port(port.name), vlan_vid=vlan_vid), *actions, why=WHY)


def _leave(port: BarePort) -> list[Flow]:
    out, bare_vlan, carried = Output(OUT), port.untagged, port.carried
    flows = []
    if bare_vlan:
        back = (PushVlan(), Set("vlan_vid", VLAN_PRESENT | bare_vlan))  # later copies are in the same VLAN
        flows.append(_out(port, 20, VLAN_PRESENT | bare_vlan, PopVlan(), out, *back))
    if carried is None:
        flows.append(_out(port, 10, None, out))
    else:
        kept = carried - {bare_vlan} if bare_vlan else carried
        flows += [_out(port, 20, VLAN_PRESENT | vlan if vlan else 0, out) for vlan in sorted(kept)]
    return flows


def _out(port: BarePort, priority: int, vlan_vid: Given | None, *actions: Action) -> Flow:
    given: dict[str, Given] = {OUT.field: (Port(port.name), OUT.mask)}
    if vlan_vid is not None:
        given["vlan_vid"] = vlan_vid
    return LEAVE_BY.flow(priority, match(**given), *actions, why=WHY)
