"""What mirrors copy, and what limits and marks do to whom, walked through the compiled flows of all switches."""

from collections import Counter

import pytest

from tests.fabrics import fabric, facts, world
from tests.traffic import CASES, TRAFFIC, packet
from weft.apps import packet as p
from weft.apps.compile import Compiler
from weft.apps.flow import Clone, Cut, Program, ToMeter
from weft.apps.pipeline import VLAN_PRESENT
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
