"""What guests ask the services of their segment, and where it must come out: one table, walked, asked of ofproto/trace and sent."""

from collections.abc import Callable
from ipaddress import ip_address

from weft.apps import packet as p
from weft.apps.packet import Packet
from weft.apps.world import World
from weft.topology.names import link_local

SERVED = """
fabric: agentsvc
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [nic0]}}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [nic0]}}}
segments:
  office:
    mode: nat
    subnets: [192.168.122.0/24]
    dhcp: {range: 192.168.122.100-192.168.122.119, lease: 5m, options: {ntp-server: 192.168.122.1}}
    dns: true
    uplink: physnet
  six: {mode: isolated, subnets: ["fd00:9::/64"], dhcp: true, dns: true}
  auto: {mode: isolated, subnets: ["fd00:a::/64"]}
  shut: {mode: isolated, subnets: [10.0.7.0/24], dhcp: true, dns: true, policy: closed}
  wide: {mode: routed, subnets: [192.168.2.0/24, "fd00:c::/64"], uplink: physnet, dhcp: true, dns: true}
  mute: {mode: isolated, subnets: [10.0.9.0/24, "fd00:b::/64"], ra: false}
guests:
  web1: {host: kvm1, nics: [{segment: office, ip: 192.168.122.10}, {segment: six, ip: "fd00:9::10"}]}
  web2: {host: kvm2, nics: [{segment: office, ip: 192.168.122.11}, {segment: six, ip: "fd00:9::11"}]}
  web3: {host: kvm1, nics: [{segment: office, ip: 192.168.122.12}, {segment: six, ip: "fd00:9::12"}]}
  odd1: {host: kvm1, nics: [{segment: office, ip: 192.168.122.13, spoof: true}]}
  odd2: {host: kvm2, nics: [{segment: office, ip: 192.168.122.14, spoof: true}]}
  auto1: {host: kvm1, nics: [{segment: auto}]}
  auto2: {host: kvm2, nics: [{segment: auto}]}
  odd3: {host: kvm1, nics: [{segment: auto, spoof: true}]}
  shut1: {host: kvm1, nics: [{segment: shut, ip: 10.0.7.4}]}
  shut2: {host: kvm2, nics: [{segment: shut, ip: 10.0.7.5}]}
  wide1: {host: kvm1, nics: [{segment: wide, ip: [192.168.2.10, "fd00:c::10"]}]}
  mute1: {host: kvm1, nics: [{segment: mute, ip: [10.0.9.4, "fd00:b::4"]}]}
  mute2: {host: kvm1, nics: [{segment: mute, ip: [10.0.9.5, "fd00:b::5"]}]}
  mute3: {host: kvm2, nics: [{segment: mute, ip: [10.0.9.6, "fd00:b::6"]}]}
lab: {outside: 203.0.113.0/24}
"""

ALL_SERVERS, ALL_ROUTERS = 0x333300010002, 0x333300000002
"""MACs of ff02::1:2 and ff02::2 (RFC 2464, 7)."""


def discover(here: World, name: str, sender: str = "") -> Packet:
    """The first that a DHCP client says (RFC 2131, 4.4.1); `sender`: another MAC than its own."""
    mac = sender or here.stations[name].mac
    return p.segment_of("udp", mac, p.BROADCAST, ip_address("0.0.0.0"), ip_address("255.255.255.255"), 68, 67)


def renew(here: World, name: str, gateway: str) -> Packet:
    me, to = here.stations[name], here.stations[gateway]
    return p.segment_of("udp", me.mac, to.mac, me.own[0], to.own[0], 68, 67)


def solicit(here: World, name: str) -> Packet:
    """The first that a DHCPv6 client says (RFC 8415, 18.2.1)."""
    mac = here.stations[name].mac
    return p.segment_of("udp", mac, ALL_SERVERS, link_local(mac), ip_address("ff02::1:2"), 546, 547)


def router_solicitation(here: World, name: str) -> Packet:
    mac = here.stations[name].mac
    asked = p.datagram(mac, ALL_ROUTERS, link_local(mac), ip_address("ff02::2"), 58, icmpv6_type=133, icmpv6_code=0)
    return {**asked, "nw_ttl": 255}


def question(here: World, name: str, gateway: str, kind: str = "udp") -> Packet:
    me, to = here.stations[name], here.stations[gateway]
    return p.segment_of(kind, me.mac, to.mac, me.own[0], to.own[0], 40000, 53)


def served(packet: Packet) -> Packet:
    """A DHCP answer, as only a server sends it."""
    return {**packet, "udp_src": 67, "udp_dst": 68}


Case = tuple[str, Callable[[World], Packet], tuple[str, ...]]
"""Who sends, what, and at which stations it comes out."""

CASES: dict[str, Case] = {
    "a DHCP request of a known guest": ("web1.eth0", lambda w: discover(w, "web1.eth0"), ("office@kvm1",)),
    "a DHCP request on the other host": ("web2.eth0", lambda w: discover(w, "web2.eth0"), ("office@kvm2",)),
    "a DHCP request of a stranger": ("odd1.eth0", lambda w: discover(w, "odd1.eth0", "0e:00:00:00:00:77"), ("office@kvm1",)),
    "a DHCP request with a forged MAC": ("web1.eth0", lambda w: discover(w, "web1.eth0", "0e:00:00:00:00:77"), ()),
    "a lease renewed": ("web1.eth0", lambda w: renew(w, "web1.eth0", "office@kvm1"), ("office@kvm1",)),
    "a foreign DHCP server": ("web1.eth0", lambda w: served(renew(w, "web1.eth0", "web3.eth0")), ()),
    "a DHCPv6 request": ("web1.eth1", lambda w: solicit(w, "web1.eth1"), ("six@kvm1",)),
    "a DHCPv6 request on the other host": ("web2.eth1", lambda w: solicit(w, "web2.eth1"), ("six@kvm2",)),
    "a router solicitation where DHCPv6 is": ("web1.eth1", lambda w: router_solicitation(w, "web1.eth1"), ("six@kvm1",)),
    "a router solicitation": ("auto2.eth0", lambda w: router_solicitation(w, "auto2.eth0"), ("auto@kvm2",)),
    "a DNS question": ("web1.eth0", lambda w: question(w, "web1.eth0", "office@kvm1"), ("office@kvm1",)),
    "a DNS question by TCP": ("web2.eth0", lambda w: question(w, "web2.eth0", "office@kvm2", "tcp"), ("office@kvm2",)),
    "a DNS question by IPv6": ("web3.eth1", lambda w: question(w, "web3.eth1", "six@kvm1"), ("six@kvm1",)),
    "a DHCP request in a closed segment": ("shut1.eth0", lambda w: discover(w, "shut1.eth0"), ("shut@kvm1",)),
    "a DNS question in a closed segment": ("shut2.eth0", lambda w: question(w, "shut2.eth0", "shut@kvm2"), ("shut@kvm2",)),
    "a DHCP request in a routed segment": ("wide1.eth0", lambda w: discover(w, "wide1.eth0"), ("wide@kvm1",)),
    "a router solicitation in a routed segment": ("wide1.eth0", lambda w: router_solicitation(w, "wide1.eth0"), ("wide@kvm1",)),
    "a DHCP request where there is no DHCP": ("mute1.eth0", lambda w: discover(w, "mute1.eth0"), ()),
    "a router solicitation where nobody advertises": (
        "mute1.eth0", lambda w: router_solicitation(w, "mute1.eth0"), ("mute2.eth0", "mute3.eth0")
    ),
}  # fmt: skip
