"""DHCP, router solicitations and DNS, walked: to the services of the guest's own host, and nowhere else."""

import re

import pytest

from tests.asking import CASES, SERVED, discover, router_solicitation
from tests.fabrics import fabric, facts, world
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.flow import Program, ToMeter
from weft.apps.meters import BITS
from weft.apps.world import World
from weft.topology import names


@pytest.fixture(scope="module")
def here() -> World:
    return world(SERVED)


@pytest.mark.parametrize("case", CASES)
def test_what_is_asked_comes_out_where_it_should_and_nowhere_else(here: World, case: str) -> None:
    name, packet, expected = CASES[case]
    assert here.send(name, packet(here)).to == expected


def test_an_advertisement_reaches_every_guest_of_its_host_and_no_other_host(here: World) -> None:
    gateway = here.stations["six@kvm1"]
    advert = {**router_solicitation(here, "six@kvm1"), "icmpv6_type": 134, "eth_dst": 0x333300000001}
    assert here.enter(gateway.place, advert).to == ("web1.eth1", "web3.eth1")


def test_an_answer_reaches_a_stranger_where_it_asked_from(here: World) -> None:
    here.send("odd1.eth0", discover(here, "odd1.eth0", "0e:00:00:00:00:78"))
    gateway = here.stations["office@kvm1"]
    offer = p.segment_of("udp", gateway.mac, 0x0E0000000078, gateway.own[0], here.stations["web1.eth0"].own[0], 67, 68)
    assert here.enter(gateway.place, offer).to == ("odd1.eth0",)


def test_a_request_that_came_by_a_tunnel_ends(here: World) -> None:
    asked = {**discover(here, "web1.eth0"), "tun_id": here.fabric.segments["office"].id}
    assert here.enter(("kvm2/br-weft", "t.kvm1"), asked).to == ()


def programs(text: str) -> dict[int, Program]:
    made = fabric(text)
    return Compiler().compile(made, facts(made))


def test_every_meter_is_one_endpoints_alone_and_every_flow_finds_its_meter() -> None:
    for program in programs(SERVED).values():
        numbers = [meter.number for meter in program.meters]
        assert len(numbers) == len(set(numbers))
        assert all(0 < number < 1 << BITS for number in numbers)
        used = {(action.meter, flow.why) for flow in program.flows() for action in flow.actions if isinstance(action, ToMeter)}
        assert used == {(meter.number, meter.why) for meter in program.meters}


def test_a_meter_comes_first_in_its_flow() -> None:
    for program in programs(SERVED).values():
        for flow in program.flows():
            assert not [action for action in flow.actions[1:] if isinstance(action, ToMeter)]


def test_one_more_guest_leaves_the_others_their_meters() -> None:
    more = re.sub("lab:", "  web4: {host: kvm1, nics: [{segment: office}]}\nlab:", SERVED)
    before, after = programs(SERVED), programs(more)
    for dpid, program in before.items():
        assert set(program.meters) <= set(after[dpid].meters)


def test_segments_without_services_have_no_meters() -> None:
    plain = re.sub("dhcp: {.*}|dhcp: true", "dhcp: false", SERVED).replace("dns: true", "dns: false")
    plain = plain.replace(", ra: false", "")
    for mode in ("isolated", "routed"):
        plain = plain.replace(f"mode: {mode},", f"ra: false, mode: {mode},")
    assert not any(program.meters for program in programs(plain).values())


ROUTED_ALONE = SERVED.replace("mode: nat", "mode: routed")


@pytest.mark.parametrize("text", [SERVED, ROUTED_ALONE], ids=["beside a nat segment", "alone"])
def test_a_routed_segments_questions_leave_as_the_host_and_its_guests_as_themselves(text: str) -> None:
    here = world(text)
    host, outside = here.stations["kvm1"], here.stations["outside"]
    for source, seen in ((names.ECHO, host.own[0]), (here.stations["wide1.eth0"].own[0], here.stations["wide1.eth0"].own[0])):
        asked = p.segment_of("udp", host.mac, outside.mac, source, outside.own[0], 40000, 53)
        (delivery,) = [one for one in here.enter(("kvm1/wx-physnet", "x.physnet"), asked).delivered if one.station == outside]
        assert p.addresses(delivery.packet) == (seen, outside.own[0])
