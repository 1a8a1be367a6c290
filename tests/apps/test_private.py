"""Private segments, whose guests do not reach each other, and segments that are an island on each host."""

import pytest

from tests.cases import Case, broadcast, echo, routed, who_has
from tests.fabrics import TWO_HOSTS, world
from weft.apps.world import World

KINDS = (
    TWO_HOSTS
    + """
segments:
  branch: {mode: routed, subnets: [192.168.2.0/24], uplink: physnet}
  cells: {mode: routed, subnets: [192.168.4.0/24, "fd00:4::/64"], ra: false, uplink: physnet, private: true}
  jail: {mode: isolated, subnets: [10.0.8.0/24], private: true}
  hall: {mode: bridged, uplink: physnet, vlan: 8, private: true}
  isle: {mode: isolated, subnets: [10.0.7.0/24], span: host}
guests:
  branch1: {host: kvm1, nics: [{segment: branch, ip: 192.168.2.10}]}
  cell1: {host: kvm1, nics: [{segment: cells, ip: [192.168.4.10, "fd00:4::10"]}]}
  cell2: {host: kvm2, nics: [{segment: cells, ip: [192.168.4.11, "fd00:4::11"]}]}
  cell3: {host: kvm1, nics: [{segment: cells, ip: [192.168.4.12, "fd00:4::12"]}]}
  jail1: {host: kvm1, nics: [{segment: jail, ip: 10.0.8.11}]}
  jail2: {host: kvm1, nics: [{segment: jail, ip: 10.0.8.12}]}
  jail3: {host: kvm2, nics: [{segment: jail, ip: 10.0.8.13}]}
  hall1: {host: kvm1, nics: [{segment: hall, ip: 10.8.0.1/24}]}
  hall2: {host: kvm1, nics: [{segment: hall, ip: 10.8.0.2/24}]}
  hall3: {host: kvm2, nics: [{segment: hall, ip: 10.8.0.3/24}]}
  isle1: {host: kvm1, nics: [{segment: isle, ip: 10.0.7.11}]}
  isle2: {host: kvm1, nics: [{segment: isle, ip: 10.0.7.12}]}
  isle3: {host: kvm2, nics: [{segment: isle, ip: 10.0.7.13}]}
"""
)

CASES = (
    Case("private: a neighbour on this host", "cell1.eth0", echo("cell1.eth0", "cell3.eth0"), ()),
    Case("private: a neighbour on another host", "cell1.eth0", echo("cell1.eth0", "cell2.eth0"), ()),
    Case("private: a neighbour by the router", "cell1.eth0", routed("cell1.eth0", "cell3.eth0"), ()),
    Case("private: one elsewhere by the router", "cell1.eth0", routed("cell1.eth0", "cell2.eth0", 6), ()),
    Case("private: everybody", "cell1.eth0", broadcast("cell1.eth0"), ()),
    Case("private: who has a neighbour's address", "cell1.eth0", who_has("cell1.eth0", "cell3.eth0"), ()),
    Case("private: who has one elsewhere", "cell1.eth0", who_has("cell1.eth0", "cell2.eth0", 6), ()),
    Case("private: who has the gateway", "cell1.eth0", who_has("cell1.eth0", "192.168.4.1"), ("cells@kvm1",)),
    Case("private: from another segment", "branch1.eth0", routed("branch1.eth0", "cell2.eth0"), ("cell2.eth0",)),
    Case("private: to another segment", "cell2.eth0", routed("cell2.eth0", "branch1.eth0"), ("branch1.eth0",)),
    Case("private, isolated: a neighbour", "jail1.eth0", echo("jail1.eth0", "jail2.eth0"), ()),
    Case("private, isolated: one elsewhere", "jail1.eth0", echo("jail1.eth0", "jail3.eth0"), ()),
    Case("private, isolated: everybody", "jail1.eth0", broadcast("jail1.eth0"), ()),
    Case("private, isolated: by the gateway", "jail1.eth0", routed("jail1.eth0", "jail2.eth0"), ("jail@kvm1",)),
    Case("private, bridged: a neighbour", "hall1.eth0", echo("hall1.eth0", "hall2.eth0"), ()),
    Case("private, bridged: one elsewhere", "hall1.eth0", echo("hall1.eth0", "hall3.eth0"), ()),
    Case("private, bridged: everybody", "hall1.eth0", broadcast("hall1.eth0"), ()),
    Case("an island: a neighbour", "isle1.eth0", echo("isle1.eth0", "isle2.eth0"), ("isle2.eth0",)),
    Case("an island: one elsewhere", "isle1.eth0", echo("isle1.eth0", "isle3.eth0"), ()),
    Case("an island: everybody", "isle1.eth0", broadcast("isle1.eth0"), ("isle2.eth0",)),
    Case("an island: its gateway", "isle3.eth0", who_has("isle3.eth0", "10.0.7.1"), ("isle@kvm2",)),
)


@pytest.fixture
def here() -> World:
    return world(KINDS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_each_goes_where_it_should(here: World, case: Case) -> None:
    assert set(here.send(case.sender, case.packet(here)).to) == set(case.to)


def test_without_private_each_of_these_arrives() -> None:
    """So that the cases above are about privacy, and not about some other reason to be dropped."""
    here = world(KINDS.replace(", private: true", ""))
    private = [case for case in CASES if case.says.startswith("private") and not case.to]
    assert [case.says for case in private if not here.send(case.sender, case.packet(here)).to] == []


def test_a_private_guest_on_the_wire_is_heard_by_the_wire_alone(here: World) -> None:
    me = here.stations["hall1.eth0"]
    for case in CASES:
        if case.sender == me.name:
            switches = {hop.switch for hop in here.send(me.name, case.packet(here)).hops if hop.flow and hop.table}
            assert "kvm2/br-weft" not in switches


def test_what_is_on_the_wire_reaches_private_guests(here: World) -> None:
    me = here.stations["hall1.eth0"]
    from_wire = {**broadcast(me.name)(here), "eth_src": 0x0E0000007777, "vlan_vid": 0x1008}
    assert here.enter(("kvm1/wx-physnet", "nic0"), from_wire).to == ("hall1.eth0", "hall2.eth0")


@pytest.mark.parametrize(("source", "gateway"), [("cell1.eth0", "cells@kvm1"), ("jail1.eth0", "jail@kvm1"), ("isle3.eth0", "isle@kvm2")])
def test_the_gateway_answers(here: World, source: str, gateway: str) -> None:
    assert here.pings(source, here.stations[gateway].own[0])
