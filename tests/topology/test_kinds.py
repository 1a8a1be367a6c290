"""What is said of segments and trunks that cannot be had."""

import pytest

from tests.topology.sound import SOUND, faults


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("vlan: 5", "vlan: 5, span: host", ['6: segment "lan": span host is not for bridged segments: their wire joins the hosts']),
        ("vlan: 5", "vlan: 5, host: true", ['6: segment "lan": host is not for bridged segments: the host is on their wire itself']),
        (
            "vlan: 5",
            "vlan: 5, private: true, multicast: snoop",
            ['6: segment "lan": multicast snoop leads from guest to guest, which private does not let them reach'],
        ),
        (", vlan: 5", ", qinq: true", ['6: segment "lan": qinq needs a vlan: its guests\' tags travel inside that one']),
        ("isolated, subnets: [10.0.9.0/24]", "isolated, host: true", ['8: segment "db": host needs a subnet to give the host an address of']),
        (
            "subnets: [10.0.9.0/24]",
            "subnets: [10.0.9.0/24, 10.10.0.0/16], host: true",
            [
                '8: segment "db": host "kvm1" has 10.10.10.1/24 already, which overlaps subnet 10.10.0.0/16',
                '8: segment "db": host "kvm2" has 10.10.10.2/24 already, which overlaps subnet 10.10.0.0/16',
            ],
        ),
        ("{segment: db, ip: 10.0.9.5}", "{trunk: {}}", ['11: endpoint "db1.eth0": trunk needs native or tags']),
        (
            "{segment: db, ip: 10.0.9.5}",
            "{trunk: {native: db, tags: {7: db}}}",
            ['11: endpoint "db1.eth0": segment "db" is in its trunk twice'],
        ),
        (
            "{segment: db, ip: 10.0.9.5}",
            "{trunk: {native: db, tags: {7: lan}}, ip: [10.0.9.5, 10.0.9.6, 9.9.9.9]}",
            ['11: endpoint "db1.eth0": ip 9.9.9.9 needs its prefix length, as 9.9.9.9/24: segment "lan" has no subnets'],
        ),
    ],
)
def test_it_is_refused_in_the_users_words(old: str, new: str, said: list[str]) -> None:
    assert old in SOUND
    assert faults(SOUND.replace(old, new))[: len(said)] == said


def test_a_segment_with_qinq_is_not_part_of_a_trunk() -> None:
    spoilt = SOUND.replace("vlan: 5", "vlan: 5, qinq: true").replace("{segment: db, ip: 10.0.9.5}", "{trunk: {native: lan, tags: {7: db}}}")
    assert faults(spoilt) == [
        '11: endpoint "db1.eth0": segment "lan" has qinq, where every tag is its guests\' own: it cannot be one of a trunk'
    ]


def test_a_router_guest_is_not_private_on_a_wire() -> None:
    spoilt = SOUND.replace("vlan: 5", "vlan: 5, private: true").replace("{segment: db, ip: 10.0.9.5}", "{segment: lan, spoof: true}")
    assert faults(spoilt) == [
        '11: endpoint "db1.eth0": spoof is not for guests of "lan": it is private, and on the wire its guests are known by their MACs'
    ]


def test_an_endpoint_of_a_trunk_is_called_by_its_tag() -> None:
    trunk = SOUND.replace("{segment: db, ip: 10.0.9.5}", "{trunk: {native: db, tags: {7: lan}}}")
    assert faults(trunk + "qos: [{endpoint: db1.eth0.7, direction: out, rate: 1mbit}]") == []
    assert faults(trunk + "qos: [{endpoint: db1.eth0.8, direction: out, rate: 1mbit}]") == [
        '12: qos 1: there is no endpoint "db1.eth0.8", did you mean "db1.eth0.7"?'
    ]
