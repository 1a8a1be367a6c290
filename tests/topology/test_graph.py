"""Questions to the graph of a fabric, and its drawings."""

import json
import re
import shutil
import subprocess

import networkx as nx
import pytest
from rich.console import Console

from tests.topology.sound import SOUND, fabric
from weft.topology.dot import as_dot, as_svg
from weft.topology.draw import as_json, as_tree
from weft.topology.errors import WeftError
from weft.topology.graph import Graph, blast_radius, build, flood_tree, members_of, path

TEXT = SOUND.replace("{segment: db, ip: 10.0.9.5}", "{segment: db, ip: 10.0.9.5}, {segment: lan}, {segment: office}").replace(
    "ip: 10.0.9.4}", "ip: 10.0.9.4}, {segment: lan}"
)
REPORTS = {
    "kvm1": {
        "endpoint/web1.eth0": {"state": "wired", "reason": ""},
        "endpoint/web1.eth1": {"state": "failed", "reason": "no [tun] device"},
        "tunnel/kvm2": {"state": "wired", "reason": ""},
    }
}


@pytest.fixture
def graph() -> "Graph[str]":
    made = fabric(TEXT)
    return build(made, REPORTS, {made.hosts["kvm1"].dpid: {"connected": True, "flows": 42}, made.hosts["kvm2"].dpid: {"connected": False}})


def names(nodes: tuple[str, ...] | None) -> str:
    return " ".join(node.partition(":")[2] for node in nodes or ())


def test_members_come_in_the_order_of_the_file(graph):
    assert members_of(graph, "db") == ("web1.eth1", "db1.eth0")


def test_a_segment_of_the_overlay_goes_through_the_tunnel(graph):
    assert names(path(graph, "web1.eth1", "db1.eth0")) == "web1.eth1 kvm1/br-weft kvm2/br-weft db1.eth0"


def test_a_bridged_segment_goes_over_the_wire(graph):
    way = "web1.eth2 kvm1/br-weft kvm1/wx-physnet kvm1/ens1 physnet kvm2/ens1 kvm2/wx-physnet kvm2/br-weft db1.eth1"
    assert names(path(graph, "web1.eth2", "db1.eth1")) == way


def test_a_translated_segment_leaves_by_its_own_host(graph):
    assert names(path(graph, "web1.eth0", "physnet")) == "web1.eth0 kvm1/br-weft kvm1/wx-physnet kvm1/ens1 physnet"


def test_there_is_no_way_between_segments_or_out_of_an_isolated_one(graph):
    assert path(graph, "web1.eth1", "db1.eth1") is None
    assert path(graph, "db1.eth0", "physnet") is None


def test_a_broadcast_reaches_everyone_of_its_segment_once(graph):
    tree = flood_tree(graph, "lan")
    assert nx.is_arborescence(tree)
    assert {node for node in tree if node.startswith("endpoint:")} == {"endpoint:web1.eth2", "endpoint:db1.eth1"}
    assert "physnet:physnet" in tree
    assert "physnet:physnet" not in flood_tree(graph, "office")
    assert next(iter(flood_tree(graph, "db", "db1.eth0"))) == "endpoint:db1.eth0"


def test_a_lost_nic_cuts_its_host_from_the_world_and_from_its_tunnels(graph):
    assert blast_radius(graph, "nic:kvm1/ens1") == {
        "lan": ("web1.eth2", "db1.eth1"),
        "office": ("web1.eth0", "db1.eth2"),
        "db": ("web1.eth1", "db1.eth0"),
    }


def test_a_lost_guest_is_missed_by_those_who_reached_it_and_by_nobody_else():
    alone = build(fabric(SOUND))
    assert blast_radius(alone, "guest:db1") == {"db": ("web1.eth1", "db1.eth0")}
    assert blast_radius(alone, "host:kvm2") == {"db": ("web1.eth1", "db1.eth0")}


def test_what_does_not_exist_is_refused_in_one_line(graph):
    with pytest.raises(WeftError, match=r'^there is no endpoint "web9.eth0"$'):
        path(graph, "web9.eth0", "db1.eth0")
    with pytest.raises(WeftError, match=r'^there is no host "kvm9"$'):
        blast_radius(graph, "host:kvm9")


def test_what_was_observed_stands_beside_what_is_meant(graph):
    assert graph.nodes["endpoint:web1.eth1"]["observed"] == {"state": "failed", "reason": "no [tun] device"}
    assert graph.nodes["endpoint:db1.eth0"]["observed"] == {}
    assert graph["bridge:kvm1/br-weft"]["bridge:kvm2/br-weft"]["observed"] == {"kvm1": {"state": "wired", "reason": ""}}
    assert graph.nodes["bridge:kvm1/br-weft"]["observed"]["flows"] == 42


def drawn(graph: "Graph[str]") -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(as_tree(graph))
    return capture.get()


def test_the_text_fits_a_terminal_and_names_everything(graph):
    text = drawn(graph)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "lan bridged on physnet vlan 5, mtu 1500" in text
    assert "eth1 in db 10.0.9.4/24 failed: no [tun] device" in text
    assert "br-weft: tunnels to kvm2 connected, 42 flows" in text


def test_the_json_is_that_of_networkx_and_the_same_every_time(graph):
    text = as_json(graph)
    again = nx.node_link_graph(json.loads(text), edges="edges")
    assert nx.utils.graphs_equal(again, graph)
    assert as_json(build(fabric(TEXT))) == as_json(build(fabric(TEXT)))
    assert {"id", "kind", "name", "observed"} <= json.loads(text)["nodes"][0].keys()


def test_the_picture_shows_every_host_guest_and_segment(graph):
    dot = as_dot(graph)
    for word in ("cluster host:kvm1", '"guest:web1"', ">office<", "style=dashed", "42 flows", "not connected", "<b>failed</b>"):
        assert word in dot


@pytest.fixture
def bonded() -> "Graph[str]":
    """kvm1 with two NICs as one, of which the first has no link."""
    made = fabric(TEXT.replace("{nics: [ens1]}", "{nics: [ens1, ens2], bond: lacp}", 1))
    nics = {
        "ens1": {"link": "down", "mtu": 1500, "active": False, "partner": ""},
        "ens2": {"link": "up", "mtu": 1500, "active": True, "partner": "0a:0b:0c:0d:0e:0f"},
    }
    return build(made, {"kvm1": {"uplink/physnet": {"state": "wired", "reason": "", "nics": nics}}})


def test_several_nics_hang_on_their_bond_and_the_bond_on_the_bridge(bonded):
    assert bonded.nodes["bond:kvm1/b.physnet"]["mode"] == "lacp"
    assert bonded.nodes["bond:kvm1/b.physnet"]["observed"] == {"state": "wired", "reason": ""}
    assert {other: edge["kind"] for other, edge in bonded["bond:kvm1/b.physnet"].items()} == {
        "bridge:kvm1/wx-physnet": "port",
        "nic:kvm1/ens1": "bonded",
        "nic:kvm1/ens2": "bonded",
        "host:kvm1": "owns",
    }
    assert [bonded.nodes[f"nic:kvm1/{nic}"]["observed"]["link"] for nic in ("ens1", "ens2")] == ["down", "up"]
    assert bonded["bridge:kvm2/wx-physnet"]["nic:kvm2/ens1"]["kind"] == "port"
    assert names(path(bonded, "web1.eth0", "physnet")).startswith("web1.eth0 kvm1/br-weft kvm1/wx-physnet kvm1/b.physnet kvm1/ens")


def test_a_bond_that_loses_one_nic_costs_nobody_anything_and_its_last_one_does(bonded):
    everybody = {"lan": ("web1.eth2", "db1.eth1"), "office": ("web1.eth0", "db1.eth2"), "db": ("web1.eth1", "db1.eth0")}
    assert blast_radius(bonded, "nic:kvm1/ens1") == {}
    assert blast_radius(bonded, "nic:kvm1/ens1", "nic:kvm1/ens2") == everybody
    assert blast_radius(bonded, "bond:kvm1/b.physnet") == everybody


def test_text_and_picture_show_a_bond_its_mode_and_the_link_of_each_nic(bonded):
    text = drawn(bonded)
    assert "wx-physnet: physnet by b.physnet (lacp)\n" in text
    assert "ens1 link down\n" in text and "ens2 link up, active, partner 0a:0b:0c:0d:0e:0f\n" in text
    assert "wx-physnet: physnet by ens1\n" in text
    dot = as_dot(bonded)
    assert '"bond:kvm1/b.physnet" [label="b.physnet\\nlacp"' in dot
    assert 'label="ens1\\nlink down" shape=box style="filled" color="#dc2626"' in dot
    assert '"bond:kvm1/b.physnet" -> "nic:kvm1/ens2"' in dot


@pytest.mark.skipif(not shutil.which("dot"), reason="graphviz is not installed")
@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_graphviz_draws_hosts_from_left_to_right(number):
    hosts = "".join(f"  kvm{n}: {{address: 10.10.10.{n}/24, uplinks: {{physnet: {{nics: [ens1]}}}}}}\n" for n in range(1, number + 1))
    guests = "".join(f"  web{n}: {{host: kvm{n}, nics: [{{segment: lan}}, {{segment: db}}]}}\n" for n in range(1, number + 1))
    head, segments = SOUND.partition("hosts:\n")[0], SOUND[SOUND.index("segments:") : SOUND.index("guests:")]
    made = build(fabric(f"{head}hosts:\n{hosts}{segments}guests:\n{guests}"))
    assert as_svg(made).startswith("<?xml")
    plain = subprocess.run(["dot", "-Tplain"], input=as_dot(made), capture_output=True, text=True, check=True).stdout
    places = {found[1]: float(found[2]) for found in re.finditer(r'^node "bridge:(kvm\d)/br-weft" ([\d.]+)', plain, re.M)}
    assert sorted(places, key=places.__getitem__) == [f"kvm{n}" for n in range(1, number + 1)]


def test_without_graphviz_the_mend_is_said(graph, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(WeftError, match=r"^no `dot` here to draw with: apt-get install graphviz, or take --format dot$"):
        as_svg(graph)


def test_a_linux_bridge_of_the_hosts_stands_between_its_uplink_and_the_wire():
    text = TEXT.replace("{nics: [ens1]}", "{bridge: br0}", 1).replace("192.168.122.0/24], uplink: physnet", "192.168.122.0/24], uplink: host")
    beside = build(fabric(text))
    way = "web1.eth2 kvm1/br-weft kvm1/wx-physnet kvm1/br0 physnet kvm2/ens1 kvm2/wx-physnet kvm2/br-weft db1.eth1"
    assert names(path(beside, "web1.eth2", "db1.eth1")) == way
    assert "db1.eth1" in blast_radius(beside, "neighbour:kvm1/br0")["lan"]
    assert r'"neighbour:kvm1/br0" [label="br0\nLinux bridge"' in as_dot(beside)
    console = Console(width=80, record=True)
    console.print(as_tree(beside))
    assert "wx-physnet: physnet by j.physnet (into br0)" in console.export_text()
