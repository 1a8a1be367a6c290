"""Guests on a NIC itself: what they get, and everything that is refused because no flow sees their packets."""

import pytest

from tests.topology.sound import fabric, faults
from weft.topology.graph import build, path
from weft.topology.hostrow import CardSpec, MacvtapSpec, VfSpec, from_json, to_json
from weft.topology.rows import host_rows
from weft.topology.warnings import warnings

DIRECT = """\
fabric: shop
hosts:
  kvm1:
    address: 10.10.10.1/24
    uplinks: {physnet: {nics: [ens1]}}
    sriov: {ens2: {vfs: 2, uplink: physnet}}
    macvtap: {ens3: {uplink: physnet}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [ens1]}}}
segments:
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  flat: {mode: bridged, uplink: physnet}
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
  db: {mode: isolated, subnets: [10.0.9.0/24]}
  branch: {mode: routed, subnets: [192.168.2.0/24], uplink: physnet}
guests:
  web1: {host: kvm1, nics: [{segment: office}, {segment: lan, ip: 10.5.0.1/24}]}
  fast: {host: kvm1, labels: {tier: fast}, nics: [{segment: lan, ip: 10.5.0.9/24, attach: {vf: ens2}}]}
  plain: {host: kvm1, nics: [{segment: flat, attach: {macvtap: ens3, mode: vepa}}]}
"""
VF = 'endpoint "fast.eth0", a virtual function (line 17),'
TAP = 'endpoint "plain.eth0", a macvtap (line 18),'
VF_GETS, VF_SENDS, TAP_GETS = (
    f'19: policy "p": nothing holds {who} to it: no flow sees what it {does}' for who, does in ((VF, "gets"), (VF, "sends"), (TAP, "gets"))
)


def test_a_host_is_told_of_its_cards_and_of_who_is_on_them() -> None:
    row = host_rows(fabric(DIRECT + "qos: [{endpoint: fast.eth0, direction: out, rate: 100mbit}]\n"))["kvm1"]
    fast, plain = row["vf/fast.eth0"], row["macvtap/plain.eth0"]
    assert row["card/ens2"] == CardSpec("ens2", 2)
    assert isinstance(fast, VfSpec)
    assert (fast.nic, fast.vlan, fast.rate, fast.trusted) == ("ens2", 5, 100, False)
    assert fast.number in (0, 1)
    assert isinstance(plain, MacvtapSpec)
    assert (plain.nic, plain.vlan, plain.mode, plain.port, plain.mtu) == ("ens3", 0, "vepa", "plain-eth0", 1500)
    assert all(from_json(key, to_json(spec)) == spec for key, spec in row.items())


def test_who_comes_later_in_the_file_moves_nobody() -> None:
    def number(text: str) -> dict[str, int]:
        return {e.name: e.number for e in fabric(text.replace("vfs: 2", "vfs: 8")).endpoints.values() if e.attach == "vf"}

    text, before = DIRECT, number(DIRECT)
    for guest in "abcdefg":
        text += f"  {guest}: {{host: kvm1, nics: [{{segment: flat, attach: {{vf: ens2}}}}]}}\n"
        now = number(text)
        assert {name: now[name] for name in before} == before
        before = now
    assert sorted(before.values()) == list(range(8))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("vfs: 2", "vfs: 0", ['17: endpoint "fast.eth0": no virtual function is left: "ens2" of host "kvm1" is to have 0 (line 6)']),
        (
            "guests:\n",
            "guests:\n  a: {host: kvm1, nics: [{segment: lan, attach: {vf: ens2}}]}\n"
            "  b: {host: kvm1, nics: [{segment: lan, attach: {vf: ens2}}]}\n",
            ['19: endpoint "fast.eth0": no virtual function is left: "ens2" of host "kvm1" is to have 2 (line 6), taken on line 16, 17'],
        ),
        (
            "{segment: lan, ip: 10.5.0.9/24, attach",
            "{segment: office, attach",
            ['17: endpoint "fast.eth0": a virtual function is on the wire itself, and segment "office" is nat: only a bridged one is there'],
        ),
        (
            "{segment: lan, ip: 10.5.0.9/24, attach",
            "{trunk: {native: lan}, attach",
            ['17: endpoint "fast.eth0": a trunk needs a port of the bridge, and a virtual function is none: give it a segment'],
        ),
        (
            "vlan: 5",
            "vlan: 5, private: true",
            [
                '17: endpoint "fast.eth0": segment "lan" is private (line 10), which nothing holds a virtual function to: '
                "no flow sees its packets",
            ],
        ),
        (
            "flat: {mode: bridged",
            "flat: {policy: closed, mode: bridged",
            ['18: endpoint "plain.eth0": segment "flat" is closed (line 11), which nothing holds a macvtap to: no flow sees its packets'],
        ),
        (
            "guests:\n",
            "guests:\n  own: {host: kvm1, nics: [{segment: flat, attach: {macvtap: ens3, mode: passthrough}}]}\n",
            ['19: endpoint "plain.eth0": "ens3" carries own.eth0 (line 16), and passthrough has one owner'],
        ),
        (
            "uplinks: {physnet: {nics: [ens1]}}\n",
            "uplinks: {}\n",
            [
                '16: endpoint "web1.eth1": host "kvm1" has no uplink "physnet", which segment "lan" needs',
                '16: endpoint "web1.eth0": host "kvm1" has no uplink "physnet", which segment "office" needs',
            ],
        ),
    ],
)
def test_what_a_nic_cannot_do_is_refused(old: str, new: str, said: list[str]) -> None:
    assert old in DIRECT
    assert sorted(faults(DIRECT.replace(old, new))) == sorted(said)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("deny: tcp/23, from: outside, to: fast", [VF_GETS]),
        ("deny: tcp/23, from: web1.eth1, to: {tier: fast}", [VF_GETS]),
        ("deny: tcp/23, from: kvm2, to: lan", [VF_GETS]),
        ("deny: tcp/23, from: branch, to: 10.5.0.0/16", [VF_GETS, TAP_GETS]),
        ("allow: tcp/23, from: fast, to: outside", [VF_SENDS]),
        ("audit: any, from: 10.5.0.9, to: any", [VF_GETS, TAP_GETS]),
        ("deny: any, from: lan, to: kvm2", [VF_SENDS]),
        ("deny: tcp/23, from: any, to: office", []),
        ("audit: udp/53, from: office, to: any", []),
        ("deny: tcp/23, from: fast, to: web1.eth1", []),
        ("deny: tcp/23, from: db, to: any", []),
        ("deny: tcp/23, from: 192.168.122.0/25, to: lan", []),
        ("allow: tcp/8080, from: 203.0.113.7, to: web1.eth0", []),
    ],
)
def test_a_policy_that_it_would_have_to_be_held_to_itself_is_refused(policy: str, said: list[str]) -> None:
    assert faults(DIRECT + f"policies: [{{name: p, {policy}}}]\n") == said


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("qos: [{endpoint: fast.eth0, direction: in, rate: 1mbit}]", ["in"]),
        ("qos: [{endpoint: fast.eth0, direction: out, rate: 1500kbit}]", ["whole mbit"]),
        ("qos: [{endpoint: fast.eth0, direction: out, rate: 5mbit, burst: 1mbit, dscp: 46}]", ["burst", "dscp"]),
        ("qos: [{endpoint: plain.eth0, direction: out, rate: 1mbit}]", ["nothing limits or marks"]),
        ("qos: [{endpoint: fast.eth0, direction: out, rate: 5mbit}]", []),
        ("mirrors: [{name: m, from: fast.eth0, to: web1.eth0}]", ["no flow sees or copies"]),
        ("mirrors: [{name: m, from: web1.eth0, to: plain.eth0}]", ["no flow sees or copies"]),
    ],
)
def test_what_a_card_does_not_do_is_refused_with_its_line(section: str, said: list[str]) -> None:
    found = faults(DIRECT + section)
    assert len(found) == len(said)
    assert all(line.startswith("19: ") and word in line for line, word in zip(found, said, strict=True))


def test_a_lab_has_macvtaps_and_no_virtual_functions() -> None:
    assert faults(DIRECT, lab=True) == ['6: host "kvm1": a lab has no virtual functions, and "ens2" is to have some: they need a real card']
    assert faults(DIRECT.replace("    sriov: {ens2: {vfs: 2, uplink: physnet}}\n", "").replace("vf: ens2", "macvtap: ens3"), lab=True) == []


def test_vepa_without_a_hairpin_is_a_warning() -> None:
    assert any(line.startswith('shop.yaml:18: endpoint "plain.eth0": mode vepa') for line in warnings(fabric(DIRECT)))


def test_in_the_graph_it_hangs_on_its_nic() -> None:
    graph = build(fabric(DIRECT))
    assert path(graph, "fast.eth0", "physnet") == ("endpoint:fast.eth0", "nic:kvm1/ens2", "physnet:physnet")
    assert graph.nodes["nic:kvm1/ens2"]["vfs"] == 2
