"""Mirrors, limits and overlays that make no sense, and what mirrors ask of hosts."""

import pytest

from tests.topology.sound import SOUND, fabric, faults
from weft.topology.hostrow import UplinkSpec
from weft.topology.rows import host_rows

ADDED = [
    (
        "mirrors: [{name: m, from: web1.eth0, to: web1.eth0}]",
        ['12: mirror "m": "web1.eth0" would get what it sends itself: a mirror leads elsewhere'],
    ),
    ("mirrors: [{name: m, from: web1.eth1, vlan: 5}]", ['12: mirror "m": vlan 5 on "physnet" is segment "lan" (line 6)']),
    ("mirrors: [{name: m, from: web1.eth1, vlan: 6}]", []),
    (
        "qos:\n  - {endpoint: web1.eth0, direction: out, dscp: 1}\n  - {endpoint: web1.eth0, direction: out, rate: 1mbit}",
        ['14: qos 2: "web1.eth0" has a limit out on line 13 already'],
    ),
    (
        "qos: [{endpoint: web1.eth0, direction: in}, {endpoint: db1.eth0, direction: in, burst: 1mbit, dscp: 1}]",
        ["12: qos 1: says neither rate nor dscp", "12: qos 2: burst needs a rate beside it"],
    ),
    ("overlay: {watch: ping}", ['12: overlay: watch "ping" is not bfd, cfm or none']),
    ("overlay: {type: gre, watch: none}", []),
]


@pytest.mark.parametrize(("added", "said"), ADDED)
def test_what_makes_no_sense_is_said_on_its_line(added: str, said: list[str]) -> None:
    assert faults(SOUND + added) == said


BARE = """\
fabric: shop
hosts: {kvm1: {}, kvm2: {address: 10.0.0.2/24}}
segments: {one: {mode: isolated, subnets: [10.1.0.0/24]}, two: {mode: isolated, subnets: [10.2.0.0/24]}}
guests:
  a: {host: kvm1, nics: [{segment: one}]}
  b: {host: kvm2, nics: [{segment: two}]}
"""


def test_a_mirror_needs_a_way_to_its_target() -> None:
    assert faults(BARE) == []
    assert faults(BARE + "mirrors: [{name: m, from: a.eth0, to: b.eth0}]") == [
        '7: mirror "m": host "kvm1" has no address, and copies from "kvm1" to "kvm2" need a tunnel'
    ]
    assert faults(BARE + "mirrors: [{name: m, from: a.eth0, vlan: 900}]") == [
        '7: mirror "m": host "kvm1" has no uplink by which vlan 900 could leave'
    ]


def test_a_mirror_across_hosts_brings_a_tunnel_where_no_segment_needs_one() -> None:
    text = SOUND.replace("mode: nat, subnets: [192.168.122.0/24]", "mode: bridged, vlan: 6").replace("ip: 192.168.122.10", "")
    text = text.replace("mode: isolated, subnets: [10.0.9.0/24]", "mode: bridged, uplink: physnet, vlan: 7")
    text = text.replace(", ip: 10.0.9.4", "").replace(", ip: 10.0.9.5", "")
    assert "tunnel/kvm2" not in host_rows(fabric(text))["kvm1"]
    assert "tunnel/kvm2" in host_rows(fabric(text + "mirrors: [{name: m, from: web1.eth0, to: db1.eth0}]"))["kvm1"]


def test_the_uplink_that_copies_leave_by_learns_nothing_in_their_vlan() -> None:
    rows = host_rows(fabric(SOUND + "mirrors: [{name: m, from: web1.eth1, vlan: 900}, {name: n, from: web1.eth0, vlan: 901}]"))
    there = {host: row["uplink/physnet"] for host, row in rows.items()}
    assert {host: spec.unlearned for host, spec in there.items() if isinstance(spec, UplinkSpec)} == {"kvm1": (900, 901), "kvm2": ()}
