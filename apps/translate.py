"""NAT behind a host's own uplink addresses, on its uplink bridge; the host's own traffic keeps its ports and its way.

The kernel of the service namespace routes; what it sends outward comes out of the port `exit`, wearing the host's MAC and a guest's
address. These flows translate that to the host's address, and back:

=====================  ====================================================================================
from the host          committed in the same conntrack zone, address and port kept unless a guest has that port
from `exit`            translated to the host's address and a port below 32768; what could not be (ports exhausted) does not leave,
                       nor what is for a tunnel's end
to the host's address  undone if it answers a guest; handed on if a forward says so; else the host's own
guest to its host      handed on if a forward says so; hidden behind `HAIRPIN` in a second zone, so that the answer of the host, or of
                       another guest, comes back this way
=====================  ====================================================================================

Output to the wire is always NORMAL, since a bond has no OpenFlow port. NORMAL sees what is translated as if it came from LOCAL, or it
would learn the host's MAC on `exit`. The agent's base flow (NORMAL, priority 0) lies below all this. IPv4 and IPv6 alike, each behind
the host's address of its version.
Source: ovs-actions(7) ct and nat; RFC 4787 for what a NAT should do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from weft.apps.fields import ICMP, ICMPV6, TCP, UDP
from weft.apps.flow import (
    IN_PORT,
    LOCAL,
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
from weft.apps.outlet import AS_HOST, SWITCH, Outlet, by, ether, guard, neighbours, outlet, to
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
    LET_IN,
    SAY,
    SORT,
    TO_HOST,
    Table,
)  # fmt: skip
from weft.apps.view import Part, View
from weft.topology import names
from weft.topology.terms import Address, Network

ANSWERS = "+trk-new-inv"
LINK_LOCAL = IPv6Network("fe80::/10")
HOSTS_OWN = (0x8000, 0x8000)
"""Ports from 32768 on are the host's alone (Linux takes 32768 to 60999 by itself): its connections from there need no translation, which
ovs-vswitchd 3.1's userspace conntrack does not survive where it changes nothing."""
GUESTS = (1024, 32767)
"""What guests' ports from 32768 on become; lower ones stay where they are free."""
PORTED = (("tcp", TCP), ("udp", UDP))


@dataclass(frozen=True, slots=True)
class Handed:
    """A forward of this host: what comes for `port` of its address goes to a guest of it."""

    protocol: str
    port: int
    target: Address
    to_port: int
    why: tuple[str, ...]

    @property
    def terms(self) -> dict[str, Given]:
        return {f"{self.protocol}_dst": self.port}


@dataclass(frozen=True, slots=True)
class Family:
    """What is translated of one version of IP."""

    address: Address
    networks: tuple[Network, ...]
    """Of the segments that are translated."""
    handed: tuple[Handed, ...]
    routed: tuple[Network, ...]
    """Of routed segments. What their guests ask by a forward is answered by it: by its own address the other guest would be answered
    on the way between segments, untranslated."""

    @property
    def ether(self) -> int:
        return ether(self.address.version)

    @property
    def hairpin(self) -> Address:
        return names.HAIRPIN if self.address.version == 4 else names.HAIRPIN6

    @property
    def echo(self) -> Address:
        return names.ECHO if self.address.version == 4 else names.ECHO6

    @property
    def own(self) -> Address:
        """As ``nat(src=…)``: keeps the address, and the port unless a guest has it."""
        return IPv4Address(0) if self.address.version == 4 else IPv6Address(0)


def parts(here: View, number: int) -> Iterator[Part]:
    """For the n-th uplink of a host, once it has reported its MAC and address there."""
    way, uplink = outlet(here, number), here.uplink(number).name
    if way is None:
        return
    yield Part(("guard", uplink), guard, (way,))
    if any(segment.joined and segment.uplink == uplink for segment in here.fabric.segments.values()):
        yield Part(("neighbours", uplink), neighbours, (way,))
    families = tuple(translating(here, way, uplink))
    if families:
        yield Part(("outward", uplink), outward, (way, families))


def translating(here: View, way: Outlet, uplink: str) -> Iterator[Family]:
    """Of each version of IP that the host has an address of, and a segment that is translated has a subnet of."""
    segments = [s for s in here.fabric.segments.values() if s.mode == "nat" and s.uplink == uplink]
    for address in way.addresses:
        version = address.version
        nets = [net for s in segments for net in s.networks]
        if any(subnet.network.version == version for s in segments for subnet in s.subnets) or (version == 4 and _asks(here, uplink)):
            routed = [net for s in here.fabric.segments.values() if s.mode == "routed" for net in s.networks]
            nets, routed = ([net for net in dict.fromkeys(found) if net.version == version and net.prefixlen] for found in (nets, routed))
            yield Family(address, tuple(nets), tuple(_handed(here, uplink, version)), tuple(routed))


def _asks(here: View, uplink: str) -> bool:
    """A routed segment's DNS asks the host's resolvers as the host itself: the gateway's own address is on every host."""
    return any(s.mode == "routed" and s.dns and s.uplink == uplink for s in here.fabric.segments.values())


def _handed(here: View, uplink: str, version: int) -> Iterator[Handed]:
    """Forwards to guests of this host; other hosts lay nothing for them."""
    for segment in here.fabric.segments.values():
        for forward in segment.forwards if segment.uplink == uplink else ():
            endpoint = here.fabric.endpoints[forward.endpoint]
            target = next((own.ip for own in endpoint.addresses if own.version == version), None)
            if endpoint.host == here.host.name and target is not None:
                why = (segment.path, endpoint.path)
                yield Handed(forward.protocol, forward.port, target, forward.to_port, why)


def outward(way: Outlet, families: tuple[Family, ...]) -> tuple[Flow, ...]:
    """Translation of what leaves translated segments, and of what comes back."""
    made = [flow for family in families for part in (_sort, _host, _guests, _forwards, _hairpin) for flow in part(way, family)]
    return (*_common(way), *made)


def _common(way: Outlet) -> tuple[Flow, ...]:
    """What is the same of every version of IP. Nothing of the host's is dropped."""
    rest: tuple[tuple[Table, Action], ...] = (
        *((table, SWITCH) for table in (FROM_HOST, SAY, TO_HOST)),
        (GUEST_TO_HOST, Resubmit(HIDE.number)),
        (ANSWERED, Output(IN_PORT)),
        (LET_IN, Output(Port(way.exit))),
    )
    return (
        way.sort(82, SWITCH, in_port=LOCAL, eth_dst=(0x010000000000, 0x010000000000)),
        *(table.flow(0, match(), action, why=way.why) for table, action in rest),
    )


def _sort(way: Outlet, family: Family) -> tuple[Flow, ...]:
    (zone, hairpin), leaving, version = way.zones, Port(way.exit), family.address.version

    def track(zone: int, table: Table) -> Ct:
        return Ct(zone=zone, nat=Nat(), table=table.number)

    tunnelled: tuple[tuple[int, dict[str, Given], tuple[Action, ...]], ...] = tuple(
        (110, {"in_port": leaving, **way.into_tunnel(end)}, ()) for end in way.tunnels if end.version == version
    )
    whose: tuple[tuple[int, dict[str, Given], tuple[Action, ...]], ...] = (
        *tunnelled,
        (102, {"in_port": leaving, **to(family.hairpin)}, (track(hairpin, ANSWER),)),
        (101, {"in_port": leaving, **to(family.address)}, (Resubmit(GUEST_TO_HOST.number),)),
        (100, {"in_port": leaving, "eth_type": family.ether}, (track(zone, FROM_GUEST),)),
        (81, {"in_port": LOCAL, **to(family.hairpin)}, (track(hairpin, HOST_ANSWER),)),
        (80, {"in_port": LOCAL, "vlan_vid": 0, **by(family.address)}, (track(zone, FROM_HOST),)),
        (70, {"vlan_vid": 0, "eth_dst": way.mac, **to(family.address)}, (track(zone, TO_HOST),)),
    )
    return tuple(SORT.flow(priority, match(**terms), *actions, why=way.why) for priority, terms, actions in whose)


def _host(way: Outlet, family: Family) -> tuple[Flow, ...]:
    commit = Ct(zone=way.zones[0], commit=True, nat=Nat(src=family.own), table=SAY.number)
    as_is = Ct(zone=way.zones[0], commit=True, table=SAY.number)
    own = Ct(zone=way.zones[0], commit=True)
    new = match(eth_type=family.ether, ct_state="+trk+new")
    never: tuple[dict[str, Given], ...] = (
        {"ip_proto": TCP, "tcp_src": HOSTS_OWN},
        {"ip_proto": UDP, "udp_src": HOSTS_OWN},
        {"ip_proto": ICMP if family.address.version == 4 else ICMPV6},
    )
    return (
        *(FROM_HOST.flow(11, match(eth_type=family.ether, ct_state="+trk+new", **terms), as_is, why=way.why) for terms in never),
        FROM_HOST.flow(10, new, commit, why=way.why),
        TO_HOST.flow(10, new, own, SWITCH, why=way.why),
    )


def _guests(way: Outlet, family: Family) -> tuple[Flow, ...]:
    """What the namespace's own kernel says from its link-local address is between neighbours: no conversation begins with it."""
    translate = Ct(zone=way.zones[0], commit=True, nat=Nat(src=family.address), table=LEAVE.number)
    moved = replace(translate, nat=Nat(src=family.address, port=GUESTS[0], last=GUESTS[1]))
    new: dict[str, Given] = {"eth_type": family.ether, "ct_state": "+trk+new"}
    between = (by(LINK_LOCAL),) if family.address.version == 6 else ()
    return (
        *(FROM_GUEST.flow(15, match(ct_state="+trk+new", **terms), why=way.why) for terms in between),
        *(FROM_GUEST.flow(11, match(**new, ip_proto=proto, **{f"{name}_src": HOSTS_OWN}), moved, why=way.why) for name, proto in PORTED),
        FROM_GUEST.flow(10, match(**new), translate, why=way.why),
        FROM_GUEST.flow(5, match(eth_type=family.ether, ct_state="+trk-inv"), Resubmit(LEAVE.number), why=way.why),
        LEAVE.flow(10, match(**by(family.address)), *AS_HOST, why=way.why),
        *(
            TO_HOST.flow(30, match(ct_state=ANSWERS, **to(target)), Output(Port(way.exit)), why=way.why)
            for target in (*family.networks, family.echo)
        ),
    )


def _forwards(way: Outlet, family: Family) -> Iterator[Flow]:
    """From the wire and from guests of this host. Those behind the same address on other hosts come by the wire."""
    for handed in family.handed:
        why, zone = (*handed.why, way.why[0]), way.zones[0]
        nat = Nat(dst=handed.target, port=handed.to_port)
        terms: dict[str, Given] = {"eth_type": family.ether, **handed.terms}
        yield TO_HOST.flow(20, match(ct_state="+trk+new", **terms), Ct(zone, LET_IN.number, commit=True, nat=nat), why=why)
        for net in family.routed:
            asked = match(ct_state="+trk+new", **terms, **by(net))
            yield TO_HOST.flow(21, asked, Ct(zone, HIDE.number, commit=True, nat=nat), why=why)
        yield GUEST_TO_HOST.flow(20, match(**terms), Ct(zone, HIDE.number, commit=True, nat=nat), why=why)


def _hairpin(way: Outlet, family: Family) -> tuple[Flow, ...]:
    zone, hairpin = way.zones
    hide = Ct(zone=hairpin, commit=True, nat=Nat(src=family.hairpin), table=HIDDEN.number)
    undo = Ct(zone=zone, nat=Nat(), table=ANSWERED.number)
    leaving = Port(way.exit)
    to_host = (Set("eth_dst", mac_number(way.mac)), Output(leaving))
    answers = match(eth_type=family.ether, ct_state=ANSWERS)
    hidden = by(family.hairpin)
    return (
        HIDE.flow(0, match(eth_type=family.ether), hide, why=way.why),
        *(HIDDEN.flow(11, match(**hidden, **to(net), in_port=leaving), Output(IN_PORT), why=way.why) for net in family.networks),
        *(HIDDEN.flow(10, match(**hidden, **to(net)), Output(leaving), why=way.why) for net in family.networks),
        *(
            TO_HOST.flow(32, match(ct_state=ANSWERS, **by(source), **to(net)), Resubmit(HIDE.number), why=way.why)
            for source in (family.routed if family.handed else ())
            for net in family.networks
        ),
        HIDDEN.flow(5, match(**hidden), Output(LOCAL), why=way.why),
        ANSWER.flow(0, answers, undo, why=way.why),
        HOST_ANSWER.flow(0, answers, *to_host, why=way.why),
    )


def base_flows(exit_port: str) -> tuple[Flow, ...]:
    """What the agent lays on an uplink bridge before any controller is there: it switches, and untranslated packets stay inside."""
    return (SORT.flow(0, match(), SWITCH, why=("agent",)), SORT.flow(1, match(in_port=Port(exit_port)), why=("agent",)))
