"""Guests that the file does not name: they belong to the segment that their port says."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.fabrics import EVERY_SEGMENT, fabric, facts
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.facts import Stranger
from weft.apps.facts import facts as read
from weft.apps.world import World

MAC, OTHER_MAC = "52:54:00:aa:bb:01", "52:54:00:aa:bb:02"
ANYWHERE = ip_address("10.0.9.77")


def here(*strangers: Stranger) -> World:
    made = fabric(EVERY_SEGMENT)
    known = replace(facts(made), strangers=strangers)
    return World(made, Compiler().compile(made, known), known)


def echo(world: World, target: str, mac: str = MAC) -> p.Packet:
    to = world.stations[target]
    return p.echo(mac, to.mac, ANYWHERE, to.own[0])


def test_a_stranger_reaches_its_segment_here_and_on_other_hosts_and_is_reached() -> None:
    world = here(Stranger("kvm1", "vnet0", "db", MAC))
    for target in ("db2.eth0", "db1.eth0"):
        assert world.send("kvm1/vnet0", echo(world, target)).to == (target,)
        me = world.stations[target]
        assert world.send(target, p.echo(me.mac, MAC, me.own[0], ANYWHERE)).to == ("kvm1/vnet0",)


def test_a_question_from_anyone_reaches_a_stranger() -> None:
    world = here(Stranger("kvm1", "vnet0", "db", MAC))
    me = world.stations["db1.eth0"]
    assert "kvm1/vnet0" in world.send("db1.eth0", p.question(me.mac, me.own[0], ANYWHERE)).to


@pytest.mark.parametrize(
    "stranger",
    [Stranger("kvm1", "vnet0", "nowhere", MAC), Stranger("nowhere", "vnet0", "db", MAC)],
    ids=["segment", "host"],
)
def test_a_stranger_of_no_segment_or_host_is_nobody(stranger: Stranger) -> None:
    assert here(stranger).stations.keys() == here().stations.keys()


def test_a_stranger_with_the_mac_of_a_guest_or_gateway_is_not_let_in() -> None:
    made = fabric(EVERY_SEGMENT)
    for mac in (made.endpoints["db1.eth0"].mac, made.segments["db"].gateway_mac):
        assert here(Stranger("kvm1", "vnet0", "db", mac)).stations.keys() == here().stations.keys()


def test_a_stranger_sends_with_its_own_mac_alone() -> None:
    world = here(Stranger("kvm1", "vnet0", "db", MAC))
    assert world.send("kvm1/vnet0", echo(world, "db2.eth0", OTHER_MAC)).to == ()


def test_of_two_strangers_with_one_mac_one_is_let_in() -> None:
    world = here(Stranger("kvm1", "vnet0", "db", MAC), Stranger("kvm2", "vnet9", "db", MAC))
    assert [name for name in world.stations if "/vnet" in name] == ["kvm1/vnet0"]


def test_what_hosts_report_of_strangers_becomes_facts_and_what_has_no_mac_does_not() -> None:
    said = {
        "stranger/vnet0": f'{{"state":"wired","reason":"","segment":"db","mac":"{MAC}"}}',
        "stranger/vnet1": '{"state":"waiting","reason":"no MAC","segment":"db","mac":""}',
    }
    assert read({"kvm1": said}).strangers == (Stranger("kvm1", "vnet0", "db", MAC),)


def test_nothing_else_changes_when_a_stranger_comes() -> None:
    made, compiler = fabric(EVERY_SEGMENT), Compiler()
    before = compiler.compile(made, facts(made))
    after = compiler.compile(made, replace(facts(made), strangers=(Stranger("kvm1", "vnet0", "db", MAC),)))
    other = {
        key
        for dpid, program in after.items()
        for key, unit in program.units.items()
        if unit is not before[dpid].units.get(key)
    }
    assert {key[1:] for key in other if key[1] != "claim"} == {("admit", "kvm1/vnet0"), ("reach", "kvm1/vnet0"), ("flood", "db")}
