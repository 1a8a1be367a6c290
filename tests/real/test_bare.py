"""A bridge in no fabric, with real packets: `ovs-vsctl set-controller br0 …` is all that its owner types."""

from collections.abc import Iterator

import pytest

from tests.real.controllers import running, until
from tests.real.ovs import Ovs


@pytest.fixture(scope="module")
def tagged(shared_ovs: Ovs) -> Iterator[Ovs]:
    """Guests: a and b without tags, c and d in VLAN 10 by their ports, t a trunk of VLANs 10 and 20, n native in VLAN 10."""
    ovs = shared_ovs
    ovs.add_bridge("br0")
    for number, (port, setting) in enumerate(
        (("a", ()), ("b", ()), ("c", ("tag=10",)), ("d", ("tag=10",)), ("n", ("tag=10", "vlan_mode=native-untagged")), ("e", ("tag=20",)))
    ):
        ovs.guest("br0", port, f"10.0.0.{number + 1}/24", *setting)
    yield ovs


A, B, C, D, N, E = (f"10.0.0.{number}" for number in range(1, 7))


@pytest.mark.parametrize("mode", ["learn", "normal"])
def test_vlans_of_ports_are_kept_apart(tagged: Ovs, mode: str) -> None:
    with running(tagged, "--bare", mode) as controller:
        controller.take("br0")
        until(lambda: tagged.pings("a", B))
        assert tagged.pings("c", D) and tagged.pings("c", N) and tagged.pings("n", D)
        assert not tagged.pings("a", C) and not tagged.pings("c", E) and not tagged.pings("e", N) and not tagged.pings("e", A)
        assert controller.stop() == 0


def test_a_changed_tag_is_followed(tagged: Ovs) -> None:
    with running(tagged) as controller:
        controller.take("br0")
        until(lambda: tagged.pings("c", D))
        tagged.vsctl("set", "port", "d", "tag=20")
        until(lambda: tagged.pings("e", D))
        assert not tagged.pings("c", D)
        tagged.vsctl("set", "port", "d", "tag=10")
        until(lambda: tagged.pings("c", D))


def test_known_receivers_get_their_packets_alone(tagged: Ovs) -> None:
    with running(tagged) as controller:
        controller.take("br0")
        until(lambda: tagged.pings("a", B, 3))
        tagged.guest("br0", "t2", "10.0.9.9/24")
        until(lambda: tagged.pings("a", B, 3))
        with tagged.listening("t2", "icmp") as heard:
            assert tagged.pings("a", B, 10)
        assert heard == []


def test_without_the_database_tags_are_void_and_it_says_so_once(tagged: Ovs) -> None:
    with running(tagged, "--ovsdb", "unix:/nowhere.sock") as controller:
        controller.take("br0")
        until(lambda: tagged.pings("a", C))
        assert controller.log.count("port tags of br0 are void") == 1


def test_reactive_learns_by_packet_in(tagged: Ovs) -> None:
    with running(tagged, "--bare", "reactive") as controller:
        controller.take("br0")
        until(lambda: tagged.pings("a", B, 2) and any("idle_timeout=60" in line for line in tagged.flows("br0")))


def test_a_bond_makes_the_bridge_normal(ovs: Ovs) -> None:
    ovs.add_bridge("br0", "p1", "p2", "p3")
    ovs.vsctl("del-port", "p1", "--", "del-port", "p2")
    ovs.vsctl("add-bond", "br0", "bond0", "p1", "p2", "--", "set", "interface", "p1", "type=internal")
    with running(ovs) as controller:
        controller.take("br0")
        until(lambda: any("NORMAL" in line for line in ovs.flows("br0")))


def test_between_trunks_the_tag_and_its_priority_stay(tagged: Ovs) -> None:
    with running(tagged) as controller:
        controller.take("br0")
        until(lambda: len(tagged.flows("br0")) > 20)
        packet = "in_port=a,dl_dst=ff:ff:ff:ff:ff:ff,dl_src=0a:00:00:00:00:09,dl_vlan=10,dl_vlan_pcp=5"
        trace = tagged.appctl("ofproto/trace", "br0", packet)
        actions = next(line for line in trace.splitlines() if line.startswith("Datapath actions"))
        untouched, _, without_tag = actions.partition("pop_vlan")
        assert untouched.count(",") == 3 and "push" not in without_tag and without_tag.count(",") == 3
