"""Pools of libvirt's: the networks a host gets, and what is refused since nobody knows the guests nor sees their packets."""

import pytest

from tests.topology.sound import fabric, faults
from weft.topology.hostrow import LowerSpec, NetworkSpec, Spec, from_json, to_json
from weft.topology.libvirt_xml import Mark, mark_of, same, with_functions
from weft.topology.rows import host_rows, network_keys
from weft.topology.warnings import warnings

POOLS = """\
fabric: shop
hosts:
  kvm1:
    libvirt: qemu:///system
    sriov: {ens2: {vfs: 2, uplink: physnet, pool: [lan, flat]}}
    macvtap: {ens3: {uplink: physnet, pool: [lan, flat]}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [ens1]}, far: {nics: [ens9]}}}
segments:
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  flat: {mode: bridged, uplink: physnet}
  distant: {mode: bridged, uplink: far}
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
guests:
  web1: {host: kvm2, nics: [{segment: office}]}
  far1: {host: kvm2, nics: [{segment: lan, ip: 10.5.0.1/24}]}
"""
CARD = """
<network>
  <name>shop-ens2</name>
  <uuid>5b4d9bf5-6f8b-4f2e-9d0a-6d3a1f0d7b11</uuid>
  <metadata><weft:network xmlns:weft="urn:weft:network" fabric="shop" nic="ens2"/></metadata>
  <forward mode='hostdev' managed='yes'>
    <address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x2'/>
  </forward>
  <portgroup name='lan' default='yes'><vlan><tag id='5'/></vlan></portgroup>
  <portgroup name='flat'/>
</network>
"""
TAPS = """
<network>
  <name>shop-lan-ens3</name>
  <metadata><weft:network xmlns:weft="urn:weft:network" fabric="shop" segment="lan" nic="ens3"/></metadata>
  <forward dev='ens3.5' mode='bridge'><interface dev='ens3.5' connections='1'/></forward>
</network>
"""


def row(text: str = POOLS) -> dict[str, Spec]:
    return host_rows(fabric(text))["kvm1"]


def network(name: str) -> NetworkSpec:
    spec = row()[f"network/{name}"]
    assert isinstance(spec, NetworkSpec)
    return spec


def test_a_card_is_one_network_with_a_portgroup_for_each_segment_and_a_nic_one_for_each() -> None:
    found = {key for key in row() if key.startswith(("network/", "lower/"))}
    assert found == {"network/shop-ens2", "network/shop-lan-ens3", "network/shop-flat-ens3", "lower/ens3", "lower/ens3.5"}
    assert set(network_keys(fabric(POOLS), fabric(POOLS).hosts["kvm1"])) == found
    assert row()["lower/ens3.5"] == LowerSpec("ens3.5", "ens3", 5, 1500)
    assert all(from_json(key, to_json(spec)) == spec for key, spec in row().items())


def test_its_definition_is_what_libvirt_has_of_it() -> None:
    assert same(with_functions(network("shop-ens2").xml, ["0000:01:10.2"]), CARD)
    assert not same(network("shop-ens2").xml, CARD)
    assert same(network("shop-lan-ens3").xml, TAPS)
    assert [mark_of(text) for text in (CARD, TAPS)] == [Mark("shop", "", "ens2"), Mark("shop", "lan", "ens3")]
    assert str(mark_of(TAPS)) == "segment lan on NIC ens3 of fabric shop"


def test_without_a_libvirt_a_lab_has_no_pools() -> None:
    lab = POOLS.replace("    sriov: {ens2: {vfs: 2, uplink: physnet, pool: [lan, flat]}}\n", "")
    assert not [key for key in host_rows(fabric(lab, lab=True))["kvm1"] if key.startswith(("network/", "lower/"))]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "    libvirt: qemu:///system\n",
            "",
            [f'{line}: host "kvm1": pool of "{nic}": its guests are plugged in by libvirt, which the host has none of: '
             "give it libvirt: qemu:///system" for line, nic in ((4, "ens2"), (5, "ens3"))],
        ),
        ("vfs: 2", "vfs: 0", ['5: host "kvm1": pool of "ens2": there is nothing to give: it is to have no virtual functions (line 5)']),
        (
            "macvtap: {ens3: {uplink: physnet, pool: [lan, flat]}}",
            "macvtap: {ens3: {uplink: physnet, pool: [lna]}}",
            ['6: host "kvm1": pool of "ens3": there is no segment "lna", did you mean "lan"?'],
        ),
        (
            "macvtap: {ens3: {uplink: physnet, pool: [lan, flat]}}",
            "macvtap: {ens3: {uplink: physnet, pool: [distant, office, flat, flat]}}",
            [
                '6: host "kvm1": pool of "ens3": it is on "physnet", where segment "distant" is not',
                '6: host "kvm1": pool of "ens3": its guests are on the wire itself, and segment "office" is nat: only a bridged one is there',
                '6: host "kvm1": pool of "ens3": segment "flat" is in it twice',
            ],
        ),
        (
            "flat: {mode: bridged",
            "flat: {private: true, policy: closed, mode: bridged",
            [
                f'{line}: host "kvm1": pool of "{nic}": segment "flat" is {word} (line 10), which nothing holds a {kind} to: '
                "no flow sees its packets"
                for line, nic, kind in ((5, "ens2", "virtual function"), (6, "ens3", "macvtap"))
                for word in ("closed", "private")
            ],
        ),
        (
            "guests:\n",
            "guests:\n  own: {host: kvm1, nics: [{segment: flat, attach: {macvtap: ens3, mode: passthrough}}]}\n",
            ['6: host "kvm1": pool of "ens3": it carries own.eth0 (line 14), and passthrough has one owner'],
        ),
        (
            "  distant: {mode: bridged, uplink: far}\n",
            "  lan-ens3: {mode: bridged, uplink: far}\n",
            [
                '6: host "kvm1": pool of "ens3": its libvirt network shop-lan-ens3 is called as that of segment "lan-ens3" (line 11): '
                "rename the segment"
            ],
        ),
    ],
)  # fmt: skip
def test_a_pool_that_cannot_be_is_refused_with_its_line(old: str, new: str, said: list[str]) -> None:
    assert old in POOLS
    assert faults(POOLS.replace(old, new)) == said


WHO = 'whoever gets a NIC out of the pool of "{}" on host "kvm1" (line {})'
SAID = f'16: policy "p": nothing holds {WHO} to it: no flow sees what such a guest {{}}'
UNKNOWN = f'16: policy "p": {{}} lan: {WHO} has no address that a switch could know it by: give segment "lan" subnets'
NAMELESS = {key: [UNKNOWN.format(key, nic, line) for nic, line in (("ens2", 5), ("ens3", 6))] for key in ("from", "to")}
GETS, SENDS = ([SAID.format(nic, line, does) for nic, line in (("ens2", 5), ("ens3", 6))] for does in ("gets", "sends"))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("deny: tcp/23, from: any, to: lan", GETS),
        ("allow: tcp/80, from: outside, to: any", GETS),
        ("deny: tcp/23, from: outside, to: 10.5.0.0/16", GETS),
        ("deny: any, from: lan, to: outside", SENDS),
        ("deny: any, from: lan, to: web1", []),
        ("deny: tcp/23, from: any, to: office", []),
        ("deny: tcp/23, from: outside, to: web1", []),
        ("deny: tcp/23, from: far1, to: web1", []),
        ("deny: tcp/23, from: lan, to: far1", NAMELESS["from"]),
        ("deny: tcp/23, from: office, to: lan", NAMELESS["to"]),
    ],
)
def test_a_policy_that_its_guests_would_have_to_be_held_to_is_refused_with_the_pool(policy: str, said: list[str]) -> None:
    assert faults(POOLS + f"policies: [{{name: p, {policy}}}]\n") == said


def test_a_card_that_has_nothing_left_for_its_pool_is_a_warning_and_a_segment_of_a_pool_is_not_empty() -> None:
    told = list(warnings(fabric(POOLS)))
    assert not [line for line in told if '"lan"' in line or '"flat"' in line]
    full = POOLS + "".join(f"  fast{n}: {{host: kvm1, nics: [{{segment: lan, attach: {{vf: ens2}}}}]}}\n" for n in (1, 2))
    assert 'shop.yaml:5: host "kvm1": pool of "ens2": guests of the file have all 2 of its virtual functions' in list(warnings(fabric(full)))


def test_where_the_segment_has_subnets_its_guests_are_known_by_them() -> None:
    known = POOLS.replace("vlan: 5", "vlan: 5, subnets: [10.5.0.0/24]")
    assert faults(known + "policies: [{name: p, deny: tcp/23, from: lan, to: far1}]\n") == []
