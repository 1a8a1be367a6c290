"""What is said of files that are not sound: the exact lines."""

import pytest

from tests.topology.sound import EVERYTHING, SOUND, fabric, faults
from tests.topology.spoilt import ADDED, GUESTS, HOSTS, SEGMENTS


def test_the_sound_file_is_sound():
    assert faults(SOUND) == []


@pytest.mark.parametrize(("old", "new", "said"), [*SEGMENTS, *HOSTS, *GUESTS])
def test_a_spoilt_file_is_refused_in_the_users_words(old, new, said):
    assert old in SOUND
    assert faults(SOUND.replace(old, new)) == said


@pytest.mark.parametrize(("added", "said"), ADDED)
def test_what_is_added_is_checked_too(added, said):
    assert faults(SOUND + added) == said


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file():
    spoilt = (
        SOUND.replace("vlan: 5", "vlan: 5000")
        .replace("segment: office", "segment: offic")
        .replace("10.0.9.5", "10.0.8.5")
    )
    assert faults(spoilt) == [
        '6: segment "lan": vlan 5000 is not 1-4094',
        '10: endpoint "web1.eth0": there is no segment "offic", did you mean "office"?',
        '11: endpoint "db1.eth0": ip 10.0.8.5 is outside 10.0.9.0/24 of segment "db"',
    ]


def test_nobody_hears_that_a_broken_thing_does_not_exist():
    assert faults(SOUND.replace("mode: nat", "mode: nta")) == [
        '7: segment "office": mode "nta" is not nat, routed, bridged or isolated, did you mean "nat"?'
    ]
    assert faults(SOUND.replace("address: 10.10.10.1/24", "address: here")) == [
        '3: host "kvm1": address "here" is not an address with its prefix length as 10.10.10.1/24'
    ]
    policy = "policies: [{name: a, allow: tcp, from: web1.eth1, to: db1}]"
    assert faults(SOUND.replace("web1: {host", "web1: {hots") + policy) == [
        '10: guest "web1": "host" is missing',
        '10: guest "web1": unknown key "hots", did you mean "host"?',
    ]


def test_what_is_wrong_is_said_on_its_own_line():
    text = (
        "fabric: shop\nsegments:\n  lan:\n    mode: isolated\n    subnets:\n      - 10.0.9.0/24\n      - 10.0.9.5/24\n"
    )
    assert faults(text) == [
        '7: segment "lan": subnet 10.0.9.5/24 is an address in a network: 10.0.9.0/24 is the network'
    ]


def test_all_that_the_contract_shows_is_understood_and_what_is_not_built_is_refused():
    said = faults(EVERYTHING)
    assert len(said) == 6
    assert all(line.endswith("not supported yet") for line in said)


def test_a_key_said_twice_in_one_guest_is_found():
    assert faults(SOUND.replace("db1: {host: kvm2,", "db1: {host: kvm2, host: kvm1,")) == [
        '11: "host" is said twice, first on line 11'
    ]


def test_in_a_lab_no_guest_takes_the_address_of_a_hosts_uplink():
    bridged = SOUND.replace("vlan: 5", "subnets: [203.0.113.0/24]")
    mine = bridged.replace("segment: db, ip: 10.0.9.5", "segment: lan, ip: 203.0.113.12")
    assert faults(mine) == []
    assert faults(mine, lab=True) == ['11: endpoint "db1.eth0": ip 203.0.113.12 is host "kvm2" in the lab']
    assert faults(bridged.replace("segment: db, ip: 10.0.9.5", "segment: lan, ip: 203.0.113.1"), lab=True) == [
        '11: endpoint "db1.eth0": ip 203.0.113.1 is outside in the lab'
    ]


def test_a_guest_may_be_the_router_of_a_bridged_segment():
    bridged = SOUND.replace("vlan: 5", "vlan: 5, subnets: [10.5.0.0/24]")
    made = fabric(bridged.replace("segment: db, ip: 10.0.9.5", "segment: lan, ip: 10.5.0.1, spoof: true"))
    assert str(made.endpoints["db1.eth0"].addresses[0]) == "10.5.0.1/24"


def test_two_isolated_segments_may_use_one_subnet_where_no_host_has_guests_on_both():
    twice = SOUND.replace("  db:", "  db2: {mode: isolated, subnets: [10.0.9.0/24]}\n  db:")
    apart = twice.replace("{segment: db, ip: 10.0.9.5}", "{segment: db2, ip: 10.0.9.5}")
    assert faults(apart) == []
    assert faults(apart.replace("host: kvm2", "host: kvm1")) == [
        '9: segment "db": subnet 10.0.9.0/24 overlaps 10.0.9.0/24 of segment "db2" (line 8), and host "kvm1" has guests on both'
    ]


def test_a_small_underlay_mtu_leaves_too_little_for_ipv6():
    text = SOUND.replace("nics: [ens1]", "nics: [ens1], mtu: 1300").replace(
        "[10.0.9.0/24]", '[10.0.9.0/24, "fd00:9::/64"], ra: false'
    )
    assert faults(text) == ['8: segment "db": the overlay leaves 1242 bytes, less than the 1280 that IPv6 needs']


def test_a_full_subnet_has_no_address_left():
    full = SOUND.replace("[10.0.9.0/24]", "[10.0.9.0/30]").replace(", ip: 10.0.9.4", "").replace(", ip: 10.0.9.5", "")
    assert faults(full) == ['10: endpoint "web1.eth1": no address is left in 10.0.9.0/30']


def test_one_mac_belongs_to_one_nic():
    twice = SOUND.replace("ip: 10.0.9.4", 'mac: "52:54:00:00:00:01"').replace(
        "ip: 10.0.9.5", 'mac: "52:54:00:00:00:01"'
    )
    assert faults(twice) == ['11: endpoint "db1.eth0": mac 52:54:00:00:00:01 is already that of "web1.eth1"']


def test_one_port_belongs_to_one_nic():
    taken = SOUND.replace("ip: 192.168.122.10", "attach: {port: vnet7}").replace(
        "ip: 10.0.9.4", "attach: {port: vnet7}"
    )
    assert faults(taken) == [
        '10: endpoint "web1.eth1": its interface "vnet7" on host "kvm1" is that of line 10 already: choose another name'
    ]
