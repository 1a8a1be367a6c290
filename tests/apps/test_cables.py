"""Ports that are more than one untagged guest: trunks, and hosts in their segments."""

import pytest

from tests.cases import Case, broadcast, echo, ends, routed, who_has
from tests.fabrics import TWO_HOSTS, fabric, world
from weft.apps.world import World
from weft.topology.rows import host_rows

CABLES = (
    TWO_HOSTS
    + """
segments:
  office: {mode: routed, subnets: [192.168.2.0/24], uplink: physnet}
  db: {mode: isolated, subnets: [10.0.9.0/24, "fd00:9::/64"], ra: false, host: true}
  jail: {mode: isolated, subnets: [10.0.8.0/24], private: true, host: true}
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  flat: {mode: bridged, uplink: physnet}
  metro: {mode: bridged, uplink: physnet, vlan: 30, qinq: true}
guests:
  metro1: {host: kvm1, nics: [{segment: metro, ip: 10.30.0.1/24}]}
  metro2: {host: kvm2, nics: [{segment: metro, ip: 10.30.0.2/24}]}
  metro3: {host: kvm1, nics: [{segment: metro, ip: 10.30.0.3/24}]}
  fw: {host: kvm1, nics: [{trunk: {native: office, tags: {5: lan, 9: db}}, ip: [192.168.2.2, 10.5.0.1/24, 10.0.9.2]}]}
  only: {host: kvm2, nics: [{trunk: {tags: {7: lan}}, ip: 10.5.0.7/24}]}
  office1: {host: kvm1, nics: [{segment: office, ip: 192.168.2.11}]}
  office2: {host: kvm2, nics: [{segment: office, ip: 192.168.2.12}]}
  lan1: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.11/24}]}
  lan2: {host: kvm2, nics: [{segment: lan, ip: 10.5.0.12/24}]}
  flat1: {host: kvm1, nics: [{segment: flat, ip: 203.0.113.51/24}]}
  flat2: {host: kvm2, nics: [{segment: flat, ip: 203.0.113.52/24}]}
  db1: {host: kvm1, nics: [{segment: db, ip: [10.0.9.11, "fd00:9::11"]}]}
  db2: {host: kvm2, nics: [{segment: db, ip: [10.0.9.12, "fd00:9::12"]}]}
  jail1: {host: kvm1, nics: [{segment: jail, ip: 10.0.8.11}]}
  jail2: {host: kvm1, nics: [{segment: jail, ip: 10.0.8.12}]}
  jail3: {host: kvm2, nics: [{segment: jail, ip: 10.0.8.13}]}
"""
)

TRUNKS = (
    Case("trunk: untagged to its native segment", "fw.eth0", echo("fw.eth0", "office1.eth0"), ("office1.eth0",)),
    Case("trunk: untagged from its native segment", "office2.eth0", echo("office2.eth0", "fw.eth0"), ("fw.eth0",)),
    Case("trunk: tagged to another host", "fw.eth0.5", echo("fw.eth0.5", "lan2.eth0"), ("lan2.eth0",)),
    Case("trunk: tagged from another host", "lan2.eth0", echo("lan2.eth0", "fw.eth0.5"), ("fw.eth0.5",)),
    Case("trunk: between two tags of one segment", "fw.eth0.5", echo("fw.eth0.5", "only.eth0.7"), ("only.eth0.7",)),
    Case("trunk: tagged by a tunnel", "fw.eth0.9", echo("fw.eth0.9", "db2.eth0"), ("db2.eth0",)),
    Case("trunk: to all of a tag", "fw.eth0.5", broadcast("fw.eth0.5"), ("lan1.eth0", "lan2.eth0", "only.eth0.7")),
    Case("trunk: to all of the native segment", "office1.eth0", broadcast("office1.eth0"), ("fw.eth0", "office2.eth0")),
    Case("trunk: to all, once by the wire", "lan2.eth0", broadcast("lan2.eth0"), ("fw.eth0.5", "lan1.eth0", "only.eth0.7")),
    Case("trunk: another segment's address", "fw.eth0.5", echo("fw.eth0", "office1.eth0"), ()),
    Case("trunk: who has it behind a tag", "lan1.eth0", who_has("lan1.eth0", "fw.eth0.5"), ("fw.eth0.5",)),
    Case("trunk: routed from its native segment", "fw.eth0", routed("fw.eth0", "office2.eth0"), ("office2.eth0",)),
    Case("uplink: tagged and untagged, here tagged", "lan1.eth0", echo("lan1.eth0", "lan2.eth0"), ("lan2.eth0",)),
    Case("uplink: and back", "lan2.eth0", echo("lan2.eth0", "lan1.eth0"), ("lan1.eth0",)),
    Case("uplink: tagged and untagged, here untagged", "flat1.eth0", echo("flat1.eth0", "flat2.eth0"), ("flat2.eth0",)),
    Case("uplink: and back untagged", "flat2.eth0", echo("flat2.eth0", "flat1.eth0"), ("flat1.eth0",)),
)
HOSTS = (
    Case("host: from a guest of it", "db1.eth0", echo("db1.eth0", "kvm1.db"), ("kvm1.db",)),
    Case("host: over IPv6", "db1.eth0", echo("db1.eth0", "kvm1.db", 6), ("kvm1.db",)),
    Case("host: who has it", "db1.eth0", who_has("db1.eth0", "kvm1.db"), ("kvm1.db",)),
    Case("host: who has it over IPv6", "db1.eth0", who_has("db1.eth0", "kvm1.db", 6), ("kvm1.db",)),
    Case("host: from a guest elsewhere", "db2.eth0", echo("db2.eth0", "kvm1.db"), ("kvm1.db",)),
    Case("host: not as a way out", "db1.eth0", echo("db1.eth0", "kvm1.db", ip_dst=0xCB007101), ()),
    Case("host: not as a way out over IPv6", "db1.eth0", echo("db1.eth0", "kvm1.db", 6, ipv6_dst=1 << 125 | 1), ()),
    Case("host: to a guest", "kvm1.db", echo("kvm1.db", "db2.eth0"), ("db2.eth0",)),
    Case("host: not what it routes", "kvm1.db", echo("kvm1.db", "db1.eth0", ip_src=0xCB007101), ()),
    Case("host, private: from a guest", "jail1.eth0", echo("jail1.eth0", "kvm1.jail"), ("kvm1.jail",)),
    Case("host, private: to a guest", "kvm1.jail", echo("kvm1.jail", "jail1.eth0"), ("jail1.eth0",)),
    Case("host, private: to a guest elsewhere", "kvm1.jail", echo("kvm1.jail", "jail3.eth0"), ("jail3.eth0",)),
    Case("host, private: from a guest elsewhere", "jail3.eth0", echo("jail3.eth0", "kvm1.jail"), ("kvm1.jail",)),
    Case("host, private: a guest to all", "jail1.eth0", broadcast("jail1.eth0"), ("kvm1.jail",)),
    Case("host, private: it to all", "kvm1.jail", broadcast("kvm1.jail"), ("jail1.eth0", "jail2.eth0", "jail3.eth0", "kvm2.jail")),
    Case("host, private: guests among themselves", "jail1.eth0", echo("jail1.eth0", "jail2.eth0"), ()),
)
OWN = 0x1007
QINQ = (
    Case("qinq: a tag of its own to another host", "metro1.eth0", echo("metro1.eth0", "metro2.eth0", vlan_vid=OWN), ("metro2.eth0",)),
    Case("qinq: and back", "metro2.eth0", echo("metro2.eth0", "metro1.eth0", vlan_vid=OWN), ("metro1.eth0",)),
    Case("qinq: a tag of its own on this host", "metro1.eth0", echo("metro1.eth0", "metro3.eth0", vlan_vid=OWN), ("metro3.eth0",)),
    Case("qinq: without a tag", "metro1.eth0", echo("metro1.eth0", "metro2.eth0"), ("metro2.eth0",)),
    Case("qinq: to all of a VLAN of its own", "metro1.eth0", broadcast("metro1.eth0", vlan_vid=OWN), ("metro2.eth0", "metro3.eth0")),
    Case("qinq: who has, in it", "metro1.eth0", who_has("metro1.eth0", "metro2.eth0", vlan_vid=OWN), ("metro2.eth0", "metro3.eth0")),
    Case("qinq: who has, without a tag", "metro1.eth0", who_has("metro1.eth0", "metro2.eth0"), ("metro2.eth0",)),
    Case("qinq: any address in it", "metro1.eth0", broadcast("metro1.eth0", vlan_vid=OWN, ip_src=99), ("metro2.eth0", "metro3.eth0")),
    Case("qinq: not any address without a tag", "metro1.eth0", broadcast("metro1.eth0", ip_src=99), ()),
    Case("qinq: not another MAC", "metro1.eth0", broadcast("metro1.eth0", vlan_vid=OWN, eth_src=0x0E0000000099), ()),
    Case("qinq: no tag of its own elsewhere", "lan1.eth0", echo("lan1.eth0", "lan2.eth0", vlan_vid=OWN), ()),
)
CASES = (*TRUNKS, *HOSTS, *QINQ)


@pytest.fixture
def here() -> World:
    return world(CABLES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_each_goes_where_it_should(here: World, case: Case) -> None:
    assert sorted(ends(here, here.send(case.sender, case.packet(here)))) == sorted(case.to)


@pytest.mark.parametrize(
    ("source", "target"),
    [("fw.eth0.5", "lan2.eth0"), ("lan2.eth0", "fw.eth0.5"), ("only.eth0.7", "lan1.eth0"), ("fw.eth0", "office2.eth0"), ("kvm1.db", "db2.eth0")],
)
def test_a_ping_is_answered(here: World, source: str, target: str) -> None:
    assert here.pings(source, here.stations[target].own[0])


def test_a_trunk_is_one_port_with_one_mac_and_its_addresses_are_where_they_belong() -> None:
    made = fabric(CABLES)
    trunk = [endpoint for endpoint in made.endpoints.values() if endpoint.guest == "fw"]
    assert [(e.name, e.tag, e.segment, str(e.addresses[0])) for e in trunk] == [
        ("fw.eth0", None, "office", "192.168.2.2/24"),
        ("fw.eth0.5", 5, "lan", "10.5.0.1/24"),
        ("fw.eth0.9", 9, "db", "10.0.9.2/24"),
    ]
    assert len({(endpoint.port, endpoint.mac) for endpoint in trunk}) == 1
    row = host_rows(made)["kvm1"]
    assert [key for key in row if key.startswith("endpoint/fw")] == ["endpoint/fw.eth0"]


def test_a_policy_tells_the_endpoints_of_a_trunk_apart() -> None:
    here = world(CABLES + "policies: [{name: no, deny: icmp, from: fw.eth0.5, to: any}, {name: nor, deny: icmp, from: any, to: fw.eth0.9}]\n")
    for source, target, answered in (
        ("fw.eth0.5", "lan2.eth0", False),
        ("lan2.eth0", "fw.eth0.5", True),
        ("fw.eth0", "office2.eth0", True),
        ("office1.eth0", "fw.eth0", True),
        ("db1.eth0", "fw.eth0.9", False),
    ):
        assert here.pings(source, here.stations[target].own[0]) == answered, (source, target)


def test_a_host_is_in_a_segment_where_it_has_a_guest_of_it() -> None:
    made = fabric(CABLES.replace("db2: {host: kvm2", "db2: {host: kvm1"))
    hosts = [endpoint for endpoint in made.endpoints.values() if endpoint.attach == "host"]
    assert [(e.name, e.port, e.host) for e in hosts if e.segment == "db"] == [("kvm1.db", "h.db", "kvm1")]
    assert hosts[0].addresses and hosts[0].addresses[0].network == made.segments["db"].subnets[0].network
