"""One host's way to one physical network, and what holds there whatever leaves by it: no forged host, no tracked tunnel, neighbours.

The service namespace's port `exit` wears the host's MAC, so that both kernels, the host's and the namespace's, have neighbours on this
wire: both hear ARP and ND. The namespace answers for the routed guests of this host alone. ND is never tracked. It is the
kernel that remembers neighbours: a gateway that changes its MAC is followed, and flows name it as the kernel has it (`weft.apps.shortway`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from weft.apps.fields import ARP, IP, IPV6, UDP
from weft.apps.flow import LOCAL, NORMAL, Action, Flow, Given, Output, Port, Set, match
from weft.apps.packet import BROADCAST
from weft.apps.pipeline import SORT, zones
from weft.apps.view import View
from weft.topology import names
from weft.topology.terms import Address, Network

TUNNELS: Mapping[str, dict[str, Given]] = {
    "geneve": {"ip_proto": UDP, "udp_dst": 6081},
    "vxlan": {"ip_proto": UDP, "udp_dst": 4789},
    "gre": {"ip_proto": 47},
}
"""What is tunnel traffic, by kind of overlay (RFC 8926, 3.3; RFC 7348, 5; RFC 2784, 4)."""

SWITCH = Output(NORMAL)
AS_HOST: tuple[Action, ...] = (Set("in_port", LOCAL), SWITCH)
"""NORMAL takes it for the host's: it hashes over bonds and may answer out of any port, and learns no MAC on `exit`."""
SOLICITED, ADVERTISED = 135, 136
"""ICMPv6 types of ND (RFC 4861, 4.3 and 4.4)."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """What a host reported of an uplink, and the names of its ports."""

    nics: tuple[str, ...]
    """Ports to the wire: of a bond all its members, since the bond itself is none."""
    patch: str
    """The uplink bridge's end of the patch to the integration bridge."""
    exit: str
    mac: str
    """Of the host on this network."""
    addresses: tuple[Address, ...]
    """What guests are translated to: an IPv4 address, and an IPv6 address where the host has one."""
    zones: tuple[int, int]
    tunnels: tuple[Address, ...]
    """Where the tunnels of the fabric's hosts end: a guest that reached one, behind its host's address, would be taken for its host."""
    overlay: str
    """What kind of tunnels."""
    why: tuple[str, ...]

    def into_tunnel(self, end: Address) -> dict[str, Given]:
        return {**to(end), **TUNNELS[self.overlay]}

    def address(self, version: int) -> Address | None:
        return next((address for address in self.addresses if address.version == version), None)

    def sort(self, priority: int, *actions: Action, **terms: Given) -> Flow:
        return SORT.flow(priority, match(**terms), *actions, why=self.why)


def outlet(here: View, number: int) -> Outlet | None:
    """Of the n-th uplink of a host; None: it has not reported its MAC and address there."""
    fabric, host, uplink = here.fabric, here.host, here.uplink(number)
    fact = here.facts.uplinks.get((host.name, uplink.name))
    if fact is None:
        return None
    addresses = (fact.translate, *((fact.translate6,) if fact.translate6 else ()))
    ends = {*addresses, *(other.address.ip for other in fabric.hosts.values() if other.address)}
    paths = (segment.path for segment in fabric.segments.values() if segment.uplink == uplink.name)
    return Outlet(
        nics=uplink.nics,
        patch=names.patch_peer(uplink.name),
        exit=names.exit_port(uplink.name),
        mac=fact.mac,
        addresses=addresses,
        zones=zones(number),
        tunnels=tuple(sorted(ends, key=lambda end: (end.version, end))),
        overlay=fabric.overlay,
        why=(f"{host.path}/uplinks/{uplink.name}", *paths),
    )


def to(target: Address | Network) -> dict[str, Given]:
    """Match arguments of packets to an address or a network."""
    return {"ip_dst" if target.version == 4 else "ipv6_dst": target}


def by(source: Address | Network) -> dict[str, Given]:
    return {"ip_src" if source.version == 4 else "ipv6_src": source}


def ether(version: int) -> int:
    return IP if version == 4 else IPV6


def guard(here: Outlet) -> tuple[Flow, ...]:
    """A bridged guest is neither the host nor a tunnel's other end; tunnels pass untracked."""
    patch = Port(here.patch)
    return (
        *(here.sort(120, SWITCH, in_port=LOCAL, **by(own), **TUNNELS[here.overlay]) for own in here.addresses),
        *(here.sort(120, SWITCH, in_port=Port(nic), **here.into_tunnel(own)) for nic in here.nics for own in here.addresses),
        *(here.sort(142, in_port=patch, **here.into_tunnel(end)) for end in here.tunnels),
        here.sort(110, in_port=patch, eth_src=here.mac),
    )


def neighbours(here: Outlet) -> tuple[Flow, ...]:
    """The namespace asks in the host's name, or from a link-local address of its own, and hears what is asked and answered."""
    both = (Output(Port(here.exit)), SWITCH)
    leaving: dict[str, Given] = {"in_port": Port(here.exit)}
    own = here.address(4)
    assert isinstance(own, IPv4Address)
    return (
        here.sort(131, Output(LOCAL), **leaving, icmpv6_type=ADVERTISED, eth_dst=here.mac),
        *(here.sort(130, *AS_HOST, **leaving, icmpv6_type=kind) for kind in (SOLICITED, ADVERTISED)),
        *(here.sort(129, *both, vlan_vid=0, icmpv6_type=kind) for kind in (SOLICITED, ADVERTISED)),
        here.sort(100, *AS_HOST, **leaving, arp_spa=own),
        here.sort(95, **leaving, eth_type=ARP),
        *(here.sort(90, *both, vlan_vid=0, eth_type=ARP, eth_dst=target) for target in (BROADCAST, here.mac)),
    )


def errors(here: Outlet, address: Address) -> tuple[dict[str, Given], ...]:
    """Match arguments of the ICMP errors that the namespace itself writes to the outside: one that quotes a conversation is about it."""
    if isinstance(address, IPv6Address):
        own = names.exit_link_local(here.mac)
        return tuple({"ipv6_src": own, "icmpv6_type": kind} for kind in (1, 2, 3, 4))
    return tuple({"ip_src": address, "icmp_type": kind} for kind in (3, 11, 12))
