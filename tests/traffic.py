"""One table of what mirrors, limits and marks do: walked in memory, asked of a real switch, and sent as packets."""

from typing import NamedTuple

from weft.apps import packet as p
from weft.apps.packet import Packet
from weft.apps.world import World
from weft.topology.terms import Address

TRAFFIC = """
fabric: test
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [ens224]}}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [ens224]}}}
segments:
  db: {mode: isolated, subnets: [10.0.9.0/24]}
  spy: {mode: isolated, subnets: [10.0.8.0/24]}
  lan: {mode: bridged, uplink: physnet, vlan: 5}
guests:
  a: {host: kvm1, nics: [{segment: db, ip: 10.0.9.11}]}
  b: {host: kvm1, nics: [{segment: db, ip: 10.0.9.12}]}
  c: {host: kvm2, nics: [{segment: db, ip: 10.0.9.13}]}
  slow: {host: kvm1, nics: [{segment: db, ip: 10.0.9.14}]}
  slower: {host: kvm1, nics: [{segment: db, ip: 10.0.9.15}]}
  ids1: {host: kvm1, nics: [{segment: spy, ip: 10.0.8.11}]}
  ids2: {host: kvm2, nics: [{segment: spy, ip: 10.0.8.12}]}
  ids3: {host: kvm2, nics: [{segment: spy, ip: 10.0.8.13}]}
  lan1: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.1/24}]}
  lan2: {host: kvm2, nics: [{segment: lan, ip: 10.5.0.2/24}]}
mirrors:
  - {name: near, from: a.eth0, to: ids1.eth0}
  - {name: far, from: a.eth0, to: ids2.eth0}
  - {name: wire, from: a.eth0, vlan: 900}
  - {name: back, from: ids1.eth0, to: a.eth0}
  - {name: lan, from: lan1.eth0, to: ids3.eth0}
qos:
  - {endpoint: slow.eth0, direction: in, rate: 200kbit, burst: 100kbit}
  - {endpoint: slower.eth0, direction: in, rate: 100kbit, burst: 100kbit, dscp: 10}
  - {endpoint: slow.eth0, direction: out, rate: 200kbit, burst: 100kbit}
  - {endpoint: c.eth0, direction: out, dscp: 46}
  - {endpoint: b.eth0, direction: in, dscp: 8}
lab: {outside: 203.0.113.0/24}
"""

GROUP = 0x01005E000909
"""Of 239.0.9.9."""


class Case(NamedTuple):
    """`sender` sends to `target` (or to all of its segment, or a group); who gets it, once each, with which DSCP."""

    sender: str
    target: str
    gets: dict[str, int]
    """Endpoint -> DSCP of what it gets."""
    wire: int = 0
    """Copies in the VLAN of the mirror `wire`."""


CASES: dict[str, Case] = {
    "what a mirrored guest sends to its own host": Case("a.eth0", "b.eth0", {"b.eth0": 8, "ids1.eth0": 0, "ids2.eth0": 0}, 1),
    "what it gets from its own host": Case("b.eth0", "a.eth0", {"a.eth0": 0, "ids1.eth0": 0, "ids2.eth0": 0}, 1),
    "what it sends to another host": Case("a.eth0", "c.eth0", {"c.eth0": 0, "ids1.eth0": 0, "ids2.eth0": 0}, 1),
    "what it gets by the tunnel that its copies leave by": Case(
        "c.eth0", "a.eth0", {"a.eth0": 46, "ids1.eth0": 46, "ids2.eth0": 46}, 1
    ),
    "a broadcast that it sends": Case(
        "a.eth0", "all", {"b.eth0": 8, "c.eth0": 0, "slow.eth0": 0, "slower.eth0": 10, "ids1.eth0": 0, "ids2.eth0": 0}, 1
    ),
    "a broadcast that it gets": Case(
        "b.eth0", "all", {"a.eth0": 0, "c.eth0": 0, "slow.eth0": 0, "slower.eth0": 10, "ids1.eth0": 0, "ids2.eth0": 0}, 1
    ),
    "a broadcast from another host": Case(
        "c.eth0", "all", {"a.eth0": 46, "b.eth0": 8, "slow.eth0": 46, "slower.eth0": 10, "ids1.eth0": 46, "ids2.eth0": 46}, 1
    ),
    "multicast that it gets": Case(
        "c.eth0", "group", {"a.eth0": 46, "b.eth0": 8, "slow.eth0": 46, "slower.eth0": 10, "ids1.eth0": 46, "ids2.eth0": 46}, 1
    ),
    "multicast that it sends": Case(
        "a.eth0", "group", {"b.eth0": 8, "c.eth0": 0, "slow.eth0": 0, "slower.eth0": 10, "ids1.eth0": 0, "ids2.eth0": 0}, 1
    ),
    "a conversation that it has no part in": Case("b.eth0", "c.eth0", {"c.eth0": 0}),
    "what the target sends to others is mirrored back, and no further": Case("ids1.eth0", "ids2.eth0", {"ids2.eth0": 0, "a.eth0": 0}),
    "a bridged guest, copied through the overlay": Case("lan1.eth0", "lan2.eth0", {"lan2.eth0": 0, "ids3.eth0": 0}),
    "a bridged guest that gets": Case("lan2.eth0", "lan1.eth0", {"lan1.eth0": 0, "ids3.eth0": 0}),
    "a marked and limited receiver": Case("b.eth0", "slower.eth0", {"slower.eth0": 10}),
    "a limited sender": Case("slow.eth0", "c.eth0", {"c.eth0": 0}),
}



def packet(here: World, case: Case) -> Packet:
    """A UDP packet from the sender, as the case says."""
    me = here.stations[case.sender]
    if case.target == "all":
        return _udp(me.mac, p.BROADCAST, me.own[0], me.addresses[0].network.broadcast_address)
    if case.target == "group":
        return _udp(me.mac, GROUP, me.own[0], type(me.own[0])("239.0.9.9"))
    target = here.stations[case.target]
    return _udp(me.mac, target.mac, me.own[0], target.own[0])


def _udp(mac: str, to: str | int, source: Address, target: Address) -> Packet:
    return p.segment_of("udp", mac, to, source, target, 40000, 9999)
