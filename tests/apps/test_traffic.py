"""What mirrors copy, and what limits and marks do to whom, walked through the compiled flows of all switches."""

from collections import Counter

import pytest

from tests.fabrics import fabric, facts, world
from tests.traffic import CASES, TRAFFIC, packet
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.flow import Clone, Cut, Program, ToMeter
from weft.apps.pipeline import VLAN_PRESENT
from weft.apps.why import source
from weft.apps.world import World


@pytest.fixture
def here() -> World:
    return world(TRAFFIC)


@pytest.mark.parametrize("name", CASES)
def test_everybody_gets_it_once_and_marked_as_the_file_says(here: World, name: str) -> None:
    case = CASES[name]
    sent = packet(here, case)
    walk = here.send(case.sender, sent)
    assert Counter(walk.to) == Counter(list(case.gets))
    assert {delivery.station.name: delivery.packet["ip_dscp"] for delivery in walk.delivered} == case.gets
    whole = {"ip_dscp": 0, "tun_id": 0}
    assert all({**delivery.packet, **whole} == {**sent, **whole} for delivery in walk.delivered)
    assert len(here.taps.get("physnet", [])) == case.wire


def test_a_copy_in_a_vlan_wears_its_tag_and_nothing_else_changes(here: World) -> None:
    case = CASES["what it gets from its own host"]
    sent = packet(here, case)
    here.send(case.sender, sent)
    (copy,) = here.taps["physnet"]
    assert copy == {**sent, "vlan_vid": VLAN_PRESENT | 900, "tun_id": 0}


def test_copies_of_both_directions_cross_the_uplink_though_it_switches(here: World) -> None:
    """NORMAL would keep a frame for a MAC that it learned where the frame comes from."""
    for name in ("what a mirrored guest sends to its own host", "what it gets from its own host"):
        here.send(CASES[name].sender, packet(here, CASES[name]))
    assert len(here.taps["physnet"]) == 2


def test_what_a_target_sent_is_not_copied_back_to_it() -> None:
    """It would take its own question for another's answer (RFC 4862, 5.4.3)."""
    text = TRAFFIC.replace("to: ids1.eth0", "to: b.eth0").replace("to: ids2.eth0", "to: c.eth0")
    here = world(text)
    for name in ("b.eth0", "c.eth0"):
        case = CASES["what it gets from its own host"]._replace(sender=name)
        assert name not in here.send(name, packet(here, case)).to


def programs(text: str) -> tuple[Program, Program]:
    made = fabric(text)
    compiled = Compiler().compile(made, facts(made))
    return tuple(compiled[host.dpid] for host in made.hosts.values())  # type: ignore[return-value]


def test_only_copies_that_do_not_fit_a_tunnel_are_cut() -> None:
    first, _ = programs(TRAFFIC)
    cut = {action.octets for flow in first.flows() for clone in flow.actions if isinstance(clone, Clone)
           for action in clone.actions if isinstance(action, Cut) and not isinstance(action.port, int)}  # fmt: skip
    assert cut == {1442 + 14}
    flows = [flow for flow in first.flows() if "mirrors/far" in flow.why]
    assert not any(isinstance(inner, Cut) for flow in flows for clone in flow.actions if isinstance(clone, Clone) for inner in clone.actions)


def test_a_limit_is_a_meter_with_a_number_of_its_own() -> None:
    first, second = programs(TRAFFIC)
    assert sorted((meter.rate, meter.burst) for meter in first.meters) == [(100, 100), (200, 100), (200, 100)]
    assert len({meter.number for meter in first.meters}) == 3
    assert second.meters == ()
    used = {action.meter for flow in first.flows() for action in flow.actions if isinstance(action, ToMeter)}
    assert used == {meter.number for meter in first.meters}


def test_what_is_not_ip_is_limited_and_not_marked(here: World) -> None:
    b, slower = here.stations["b.eth0"], here.stations["slower.eth0"]
    question = {**p.question(b.mac, b.own[0], slower.own[0]), "eth_dst": int(slower.mac.replace(":", ""), 16)}
    walk = here.send("b.eth0", question)
    assert walk.to == ("slower.eth0",)
    assert any(isinstance(action, ToMeter) for hop in walk.hops if hop.flow for action in hop.flow.actions)


@pytest.mark.parametrize(("overlay", "mtu"), [("geneve", 1442), ("vxlan", 1450), ("gre", 1458)])
def test_guests_have_the_mtu_that_the_overlay_leaves(overlay: str, mtu: int) -> None:
    made = fabric(TRAFFIC.replace("fabric: test", f"fabric: test\noverlay: {{type: {overlay}}}"))
    assert made.overlay == overlay
    assert made.segments["db"].mtu == mtu
    assert made.segments["lan"].mtu == 1500


def test_a_mirror_shows_what_passed_and_nothing_that_a_policy_kept_from_the_guest() -> None:
    here = world(TRAFFIC.replace("subnets: [10.0.9.0/24]", "subnets: [10.0.9.0/24], policy: closed"))
    sends, gets = (CASES[name] for name in ("what it sends to another host", "what it gets by the tunnel that its copies leave by"))
    assert sorted(here.send(sends.sender, packet(here, sends)).to) == ["ids1.eth0", "ids2.eth0"]
    assert here.send(gets.sender, packet(here, gets)).to == ()


def test_a_forged_packet_is_not_copied(here: World) -> None:
    sent = packet(here, CASES["what it sends to another host"])
    assert here.send("a.eth0", {**sent, "ip_src": sent["ip_src"] + 1}).to == ()


def test_a_line_of_the_file_is_behind_every_copy_and_every_limit() -> None:
    made = fabric(TRAFFIC)
    lines = {mirror.path: mirror.source for mirror in made.mirrors} | {qos.path: qos.source for qos in made.qos}
    assert all(source(made, path) == line for path, line in lines.items())
    said = {path for flow in programs(TRAFFIC)[0].flows() for path in flow.why}
    assert said >= {"mirrors/near", "mirrors/far", "mirrors/wire", "mirrors/lan", "qos/0", "qos/1", "qos/2", "qos/4"}


def test_multicast_that_is_snooped_is_copied_and_limited_like_any() -> None:
    here = world(TRAFFIC.replace("subnets: [10.0.9.0/24]", "subnets: [10.0.9.0/24], multicast: snoop"))
    for name in ("multicast that it gets", "multicast that it sends"):
        case = CASES[name]
        assert Counter(here.send(case.sender, packet(here, case)).to) == Counter(list(case.gets))
