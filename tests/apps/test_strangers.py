"""Guests that the file does not name: they belong to the segment that their port says."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.fabrics import EVERY_SEGMENT, TWO_HOSTS, fabric, facts
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.facts import Facts, Stranger
from weft.apps.facts import facts as read
from weft.apps.flow import Program
from weft.apps.text import flow_text
from weft.apps.world import World
from weft.topology.model import Fabric

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


PLUGGED = """
segments:
  db: {mode: isolated, subnets: [10.0.9.0/24]}
  lan: {mode: isolated, subnets: [10.0.7.0/24]}
guests:
  one: {host: kvm1, nics: [{segment: db, ip: 10.0.9.11}]}
  two: {host: kvm2, nics: [{segment: db, ip: 10.0.9.12}]}
  three: {host: kvm2, nics: [{segment: lan, ip: 10.0.7.13}]}
  vm: {host: kvm1, nics: [{segment: db, ip: 10.0.9.21, mac: "52:54:00:00:00:01", attach: libvirt}]}
"""
VM = "52:54:00:00:00:01"


def plugged(*strangers: Stranger) -> World:
    made, programs, known = compiled(*strangers)
    return World(made, programs, known)


def compiled(*strangers: Stranger) -> tuple[Fabric, dict[int, Program], Facts]:
    made = fabric(TWO_HOSTS.replace("kvm1: {", "kvm1: {libvirt: qemu:///system, ") + PLUGGED)
    known = replace(facts(made), strangers=strangers)
    return made, Compiler().compile(made, known), known


@pytest.mark.parametrize("host", ["kvm1", "kvm2"])
def test_a_guest_of_libvirt_is_where_its_port_is(host: str) -> None:
    world = plugged(Stranger(host, "vnet3", "db", VM))
    vm = world.stations["vm.eth0"]
    assert vm.place == (f"{host}/br-weft", "vnet3")
    for other in ("one.eth0", "two.eth0"):
        me = world.stations[other]
        assert world.ask(other, p.echo(me.mac, VM, me.own[0], vm.own[0]))
        assert world.ask("vm.eth0", p.echo(VM, me.mac, vm.own[0], me.own[0]))


def test_a_guest_that_moves_is_where_it_runs_and_its_announcement_gets_through() -> None:
    leaving, arriving = Stranger("kvm1", "vnet3", "db", VM), Stranger("kvm2", "vnet0", "db", VM, runs=False)
    assert plugged(leaving, arriving).stations["vm.eth0"].place == ("kvm1/br-weft", "vnet3")
    world = plugged(replace(leaving, runs=False), replace(arriving, runs=True))
    assert world.stations["vm.eth0"].place == ("kvm2/br-weft", "vnet0")
    announced = p.frame(VM, 0xFFFFFFFFFFFF, 0x8035)
    assert set(world.send("vm.eth0", announced).to) >= {"one.eth0", "two.eth0"}


PIN = "6e8e1c2a-0d4f-4c39-9a57-2f1b0c7d9e11"


def test_of_two_ports_with_one_mac_a_guest_is_the_one_with_its_interface_id() -> None:
    mine, other = Stranger("kvm2", "vnet0", "db", VM, pin=PIN), Stranger("kvm1", "vnet3", "db", VM, pin=PIN.replace("6", "7"))
    made, *_ = compiled(mine, other)
    vm = replace(made.endpoints["vm.eth0"], pin=PIN)
    made = replace(made, endpoints={**made.endpoints, "vm.eth0": vm})
    known = replace(facts(made), strangers=(mine, other))
    world = World(made, Compiler().compile(made, known), known)
    assert world.stations["vm.eth0"].place == ("kvm2/br-weft", "vnet0")
    assert not any("vnet3" in flow_text(flow) for program in Compiler().compile(made, known).values() for flow in program.flows())


STOPPED = Stranger("kvm1", "vnet3", "db", VM, runs=False, left=True)
WAITING = Stranger("kvm2", "vnet0", "db", VM, runs=False)


def test_between_two_hosts_a_guest_is_where_it_will_go_on() -> None:
    for ports in ((STOPPED, WAITING), (WAITING, STOPPED)):
        assert plugged(*ports).stations["vm.eth0"].place == ("kvm2/br-weft", "vnet0")
    assert plugged(STOPPED).stations["vm.eth0"].place == ("kvm1/br-weft", "vnet3")


def test_what_a_guest_may_send_at_its_new_host_is_laid_before_it_is_there_and_no_more() -> None:
    leaving = replace(STOPPED, runs=True, left=False)
    made, programs, _ = compiled(leaving, WAITING)
    world = World(made, programs, replace(facts(made), strangers=(replace(WAITING, runs=True),)))  # flows are not there yet
    one, vm = world.stations["one.eth0"], world.stations["vm.eth0"]
    assert world.send("vm.eth0", p.echo(VM, one.mac, vm.own[0], one.own[0])).to == ("one.eth0",)
    assert world.send("vm.eth0", p.echo(VM, one.mac, ip_address("10.0.9.99"), one.own[0])).to == ()
    assert world.send("vm.eth0", p.echo(one.mac, world.stations["two.eth0"].mac, one.own[0], world.stations["two.eth0"].own[0])).to == ()
    assert plugged(leaving, WAITING).stations["vm.eth0"].place == ("kvm1/br-weft", "vnet3")


def test_a_port_that_its_guest_has_left_sends_nothing() -> None:
    _, programs, _ = compiled(STOPPED, WAITING)
    assert not any("vnet3" in flow_text(flow) for program in programs.values() for flow in program.flows())


def test_what_a_guest_says_of_its_own_address_reaches_all() -> None:
    world = plugged(Stranger("kvm2", "vnet3", "db", VM))
    own = world.stations["vm.eth0"].own[0]
    assert set(world.send("vm.eth0", p.question(VM, own, own)).to) >= {"one.eth0", "two.eth0"}
    two = world.stations["two.eth0"]
    assert world.send("two.eth0", p.question(two.mac, own, own)).to == ()


def test_a_guest_of_the_file_gets_nothing_in_another_segment_than_the_file_says() -> None:
    for segment, known in (("lan", False), ("db", True)):
        _, programs, _ = compiled(Stranger("kvm2", "vnet3", segment, VM))
        assert any("vnet3" in flow_text(flow) for program in programs.values() for flow in program.flows()) is known


def test_what_a_guest_of_libvirt_may_send_is_what_the_file_says() -> None:
    world = plugged(Stranger("kvm2", "vnet3", "db", VM))
    me = world.stations["two.eth0"]
    assert world.send("vm.eth0", p.echo(VM, me.mac, ip_address("10.0.9.99"), me.own[0])).to == ()
