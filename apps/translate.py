"""NAT behind a host's own uplink address, on its uplink bridge; the host's own traffic keeps its ports and its way.

The kernel of the service namespace routes; what it sends outward comes out of the port `exit`, wearing the host's MAC and a guest's
address. These flows translate that to the host's address, and back:

=====================  ====================================================================================
from the host          committed in the same conntrack zone, address and port kept unless a guest has that port
from `exit`            translated to the host's address; what could not be (ports exhausted) does not leave, nor what is for a
                       tunnel's end
to the host's address  undone if it answers a guest, else the host's own
guest to its host      hidden behind `HAIRPIN` in a second zone, so that the host's answer comes back this way
=====================  ====================================================================================

Tunnels are never tracked. Output to the wire is always NORMAL, since a bond has no OpenFlow port. NORMAL sees what is translated as
if it came from LOCAL, or it would learn the host's MAC on `exit`. The agent's base flow (NORMAL, priority 0) lies below all this.
Source: ovs-actions(7) ct and nat; RFC 4787 for what a NAT should do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from weft.apps.fields import ARP, IP, UDP
from weft.apps.flow import (
    IN_PORT,
    LOCAL,
    NORMAL,
    Action,
    Ct,
    Flow,
    Given,
    Nat,
    Output,
    Port,
    Resubmit,
    Set,
    mac_number,
    match,
)
from weft.apps.pipeline import (
    ANSWER,
    ANSWERED,
    FROM_GUEST,
    FROM_HOST,
    GUEST_TO_HOST,
    HIDDEN,
    HIDE,
    HOST_ANSWER,
    LEAVE,
    SAY,
    SORT,
    TO_HOST,
    Table,
    zones,
)  # fmt: skip
from weft.apps.view import Part, View
from weft.topology import names
from weft.topology.names import ECHO, HAIRPIN

GENEVE = 6081
"""UDP port (RFC 8926, 3.3)."""

SWITCH = Output(NORMAL)
AS_HOST: tuple[Action, ...] = (Set("in_port", LOCAL), SWITCH)
ANSWERS = "+trk-new-inv"


@dataclass(frozen=True, slots=True)
class Outlet:
    """One host's way to one physical network, with what the host reported of it."""

    nic: str
    patch: str
    """The uplink bridge's end of the patch to the integration bridge."""
    exit: str
    mac: str
    """Of the host on this network."""
    address: IPv4Address
    """What guests are translated to."""
    zones: tuple[int, int]
    tunnels: tuple[IPv4Address, ...]
    """Where the tunnels of the fabric's hosts end: a guest that reached one, behind its host's address, would be taken for its host."""
    why: tuple[str, ...]


def parts(here: View, number: int) -> Iterator[Part]:
    """For the n-th uplink of a host, once it has reported its MAC and address there."""
    fabric, host, uplink = here.fabric, here.host, here.uplink(number)
    fact = here.facts.uplinks.get((host.name, uplink.name))
    if fact is None:
        return
    segments = [segment for segment in fabric.segments.values() if segment.uplink == uplink.name]
    ends = {fact.translate, *(h.address.ip for h in fabric.hosts.values() if isinstance(h.address, IPv4Interface))}
    outlet = Outlet(
        nic=uplink.nics[0],
        patch=names.patch_peer(uplink.name),
        exit=names.exit_port(uplink.name),
        mac=fact.mac,
        address=fact.translate,
        zones=zones(number),
        tunnels=tuple(sorted(ends)),
        why=(f"{host.path}/uplinks/{uplink.name}", *(segment.path for segment in segments)),
    )
    yield Part(("guard", uplink.name), guard, (outlet,))
    networks = tuple(
        subnet.network
        for segment in segments
        if segment.mode == "nat"
        for subnet in segment.subnets
        if isinstance(subnet.network, IPv4Network)
    )
    if networks:
        yield Part(("outward", uplink.name), outward, (outlet, networks))


def guard(outlet: Outlet) -> tuple[Flow, ...]:
    """A bridged guest is neither the host nor a tunnel's other end; tunnels pass untracked."""
    def sort(priority: int, action: Action | None, **terms: Given) -> Flow:
        return SORT.flow(priority, match(**terms), *((action,) if action else ()), why=outlet.why)

    udp: dict[str, Given] = {"eth_type": IP, "udp_dst": GENEVE}
    patch = Port(outlet.patch)
    return (
        sort(120, SWITCH, in_port=LOCAL, ip_src=outlet.address, **udp),
        sort(120, SWITCH, in_port=Port(outlet.nic), ip_dst=outlet.address, **udp),
        *(sort(110, None, in_port=patch, ip_dst=end, **udp) for end in outlet.tunnels),
        sort(110, None, in_port=patch, eth_src=outlet.mac),
    )


def outward(outlet: Outlet, networks: tuple[IPv4Network, ...]) -> tuple[Flow, ...]:
    """Translation of what leaves segments with the addresses `networks`, and of what comes back."""
    return (*_sort(outlet), *_host(outlet), *_guests(outlet, networks), *_hairpin(outlet, networks))


def _sort(outlet: Outlet) -> tuple[Flow, ...]:
    zone, hairpin = outlet.zones
    exit_port, mac = Port(outlet.exit), outlet.mac

    def track(zone: int, table: Table) -> Ct:
        return Ct(zone=zone, nat=Nat(), table=table.number)

    tunnelled: tuple[tuple[int, dict[str, Given], tuple[Action, ...]], ...] = tuple(
        (110, {"in_port": exit_port, "ip_dst": end, "ip_proto": UDP, "udp_dst": GENEVE}, ()) for end in outlet.tunnels
    )
    whose: tuple[tuple[int, dict[str, Given], tuple[Action, ...]], ...] = (
        *tunnelled,
        (102, {"in_port": exit_port, "ip_dst": HAIRPIN}, (track(hairpin, ANSWER),)),
        (101, {"in_port": exit_port, "ip_dst": outlet.address}, (Resubmit(GUEST_TO_HOST.number),)),
        (100, {"in_port": exit_port, "eth_type": IP}, (track(zone, FROM_GUEST),)),
        (100, {"in_port": exit_port, "arp_spa": outlet.address}, AS_HOST),
        (82, {"in_port": LOCAL, "eth_dst": (0x010000000000, 0x010000000000)}, (SWITCH,)),
        (81, {"in_port": LOCAL, "ip_dst": HAIRPIN}, (track(hairpin, HOST_ANSWER),)),
        (80, {"in_port": LOCAL, "vlan_vid": 0, "ip_src": outlet.address}, (track(zone, FROM_HOST),)),
        (70, {"vlan_vid": 0, "eth_dst": mac, "ip_dst": outlet.address}, (track(zone, TO_HOST),)),
        # Both kernels, the host's and the service namespace's, have neighbours on this wire.
        (70, {"vlan_vid": 0, "eth_dst": mac, "eth_type": ARP, "arp_op": 2}, (Output(exit_port), SWITCH)),
    )
    return tuple(SORT.flow(priority, match(**terms), *actions, why=outlet.why) for priority, terms, actions in whose)


def _host(outlet: Outlet) -> tuple[Flow, ...]:
    """The host's own: nothing of it is dropped. ``nat(src=0.0.0.0)`` keeps the port unless a guest has it."""
    commit = Ct(zone=outlet.zones[0], commit=True, nat=Nat(src=IPv4Address(0)), table=SAY.number)
    own = Ct(zone=outlet.zones[0], commit=True)
    new = match(eth_type=IP, ct_state="+trk+new")
    return (
        FROM_HOST.flow(10, new, commit, why=outlet.why),
        FROM_HOST.flow(0, match(), SWITCH, why=outlet.why),
        SAY.flow(0, match(), SWITCH, why=outlet.why),
        TO_HOST.flow(10, new, own, SWITCH, why=outlet.why),
        TO_HOST.flow(0, match(), SWITCH, why=outlet.why),
    )


def _guests(outlet: Outlet, networks: tuple[IPv4Network, ...]) -> tuple[Flow, ...]:
    zone = outlet.zones[0]
    translate = Ct(zone=zone, commit=True, nat=Nat(src=outlet.address), table=LEAVE.number)
    inward: tuple[IPv4Network | IPv4Address, ...] = (*networks, ECHO)
    return (
        FROM_GUEST.flow(10, match(eth_type=IP, ct_state="+trk+new"), translate, why=outlet.why),
        FROM_GUEST.flow(5, match(eth_type=IP, ct_state="+trk-inv"), Resubmit(LEAVE.number), why=outlet.why),
        LEAVE.flow(10, match(ip_src=outlet.address), *AS_HOST, why=outlet.why),
        *(TO_HOST.flow(30, match(ct_state=ANSWERS, ip_dst=net), Output(Port(outlet.exit)), why=outlet.why) for net in inward),
    )


def _hairpin(outlet: Outlet, networks: tuple[IPv4Network, ...]) -> tuple[Flow, ...]:
    zone, hairpin = outlet.zones
    hide = Ct(zone=hairpin, commit=True, nat=Nat(src=HAIRPIN), table=HIDDEN.number)
    undo = Ct(zone=zone, nat=Nat(), table=ANSWERED.number)
    to_host = (Set("eth_dst", mac_number(outlet.mac)), Output(Port(outlet.exit)))
    answers = match(eth_type=IP, ct_state=ANSWERS)
    return (
        GUEST_TO_HOST.flow(0, match(), Resubmit(HIDE.number), why=outlet.why),
        HIDE.flow(0, match(eth_type=IP), hide, why=outlet.why),
        *(HIDDEN.flow(10, match(ip_src=HAIRPIN, ip_dst=network), Output(IN_PORT), why=outlet.why) for network in networks),
        HIDDEN.flow(5, match(ip_src=HAIRPIN), Output(LOCAL), why=outlet.why),
        ANSWER.flow(0, answers, undo, why=outlet.why),
        ANSWERED.flow(0, match(), Output(IN_PORT), why=outlet.why),
        HOST_ANSWER.flow(0, answers, *to_host, why=outlet.why),
    )


def base_flows(exit_port: str) -> tuple[Flow, ...]:
    """What the agent lays on an uplink bridge before any controller is there: it switches, and untranslated packets stay inside."""
    return (SORT.flow(0, match(), SWITCH, why=("agent",)), SORT.flow(1, match(in_port=Port(exit_port)), why=("agent",)))
