"""Every example comes up, and what must answer answers and what must not does not: real switches, real packets."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.real.labs import ROOT, WEFT, Lab, lab, weft
from tests.real.ovs import Ovs
from tests.real.uplink import until

pytestmark = pytest.mark.real

EXAMPLES = ROOT / "examples"
FULL_SIZE = ("-M", "do", "-s")


@pytest.fixture(scope="module")
def example() -> Iterator[Callable[[str], Lab]]:
    """The lab of an example, from its first test to the end of all."""
    with ExitStack() as open_labs:
        made: dict[str, Lab] = {}

        def of(name: str) -> Lab:
            if name not in made:
                made[name] = open_labs.enter_context(lab(EXAMPLES / f"{name}.yaml", name))
            return made[name]

        yield of


@pytest.fixture(scope="module")
def shop(example: Callable[[str], Lab]) -> Lab:
    return example("shop")


@pytest.fixture(scope="module")
def nat(example: Callable[[str], Lab]) -> Lab:
    return example("nat")


@pytest.fixture(scope="module")
def vlans(example: Callable[[str], Lab]) -> Lab:
    return example("vlans")


@pytest.fixture(scope="module")
def overlay(example: Callable[[str], Lab]) -> Lab:
    return example("overlay")


MUST = {
    "shop": [("web1", "db1.eth0"), ("db1", "web2.eth1"), ("outside", "web1.eth0"), ("web2", "outside")],
    "nat": [("web1", "web2.eth0"), ("web1", "outside"), ("any1", "outside")],
    "dhcp": [("web1", "web2.eth0"), ("web1", "web2.eth1"), ("web2", "outside"), ("free1", "free2.eth0")],
    "vlans": [("office1", "office2.eth0"), ("phone2", "phone1.eth0")],
    "traffic": [("web1", "web2.eth0"), ("web2", "web1.eth0")],
    "segments": [("cell1", "office2.eth0"), ("office2", "cell3.eth0"), ("isle1", "isle2.eth0"), ("metro1", "metro2.eth0")],
    "overlay": [("red1", "red3.eth0"), ("blue2", "blue3.eth0"), ("six3", "six1.eth0")],
    "multicast": [("a1", "b2.eth0"), ("b1", "a2.eth0")],
    "policies": [("web1", "db1.eth0"), ("db1", "db2.eth0"), ("web1", "outside"), ("web1", "web2.eth0")],
    "routed": [("app1", "app2.eth0"), ("app1", "pub2.eth0"), ("app1", "outside"), ("outside", "app2.eth0"), ("outside", "pub1.eth0")],
    "services": [("client", "web2.eth0"), ("web3", "web1.eth0")],
    "macvtap": [("vm1", "vm2.eth0"), ("vm2", "outside")],
    "neighbour": [("vm1", "vm2.eth0"), ("outside", "vm1.eth0"), ("web1", "outside")],
    "bonds": [("web1", "web2.eth0"), ("outside", "web2.eth0"), ("app2", "app3.eth0"), ("app1", "outside"), ("app3", "outside")],
    "libvirt": [("cart", "stock.eth0"), ("ledger", "stock.eth1"), ("cart", "outside")],
}
MUST_NOT = {
    "traffic": [("web1", "ids1.eth0"), ("ids1", "web1.eth0")],
    "shop": [("db1", "outside"), ("outside", "db1.eth0"), ("outside", "web1.eth1"), ("db1", "web1.eth0")],
    "nat": [("outside", "web1.eth0")],
    "dhcp": [("outside", "web1.eth0"), ("free1", "web1.eth1"), ("free1", "outside")],
    "vlans": [("office1", "phone1.eth0"), ("outside", "office1.eth0"), ("phone1", "outside")],
    "segments": [("cell1", "cell2.eth0"), ("cell1", "cell3.eth0"), ("isle1", "isle3.eth0"), ("db1", "office2.eth0")],
    "overlay": [("red1", "blue2.eth0"), ("six1", "red1.eth0"), ("red1", "outside")],
    "multicast": [("a1", "outside"), ("outside", "b1.eth0")],
    "services": [("client", "outside"), ("outside", "web1.eth0")],
    "policies": [("web2", "outside"), ("outside", "db1.eth0"), ("db1", "outside")],
    "routed": [],
    "macvtap": [],
    "neighbour": [("outside", "web1.eth0")],
    "bonds": [("outside", "app1.eth0"), ("web1", "app1.eth0"), ("web3", "app1.eth0")],
    "libvirt": [("ledger", "outside"), ("outside", "cart.eth0"), ("cart", "ledger.eth0")],
}


@pytest.mark.parametrize("name", MUST)
def test_every_ping_is_answered_or_not_as_the_flows_say(name: str, example: Callable[[str], Lab]) -> None:
    here = example(name)
    pings = json.loads(here.run("lab", "ping", here.fabric, "--json"))
    answered = {(ping["from"], ping["to"]) for ping in pings if ping["answered"]}  # over one version of IP at least
    assert [pair for pair in MUST[name] if pair not in answered] == []
    assert [pair for pair in MUST_NOT[name] if pair in answered] == []
    assert [ping for ping in pings if ping["expected"] != ping["answered"]] == []


def test_every_example_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == set(MUST)


def addresses(here: Lab, segment: str) -> dict[str, str]:
    return {row["endpoint"]: row["ips"][0] for row in here.show("guests") if row["segment"] == segment and row["ips"]}


def tcp(here: Lab, client: str, server: str, address: str) -> float:
    """Megabits a second that iperf3 gets through, full-size segments."""
    listening = here.start(server, "iperf3", "-s", "-1")
    try:
        for _ in range(50):
            done = here.exec(client, "iperf3", "-c", address, "-t", "1", "-J", "--connect-timeout", "500")
            received = json.loads(done.stdout).get("end", {}).get("sum_received") if done.stdout else None
            if received:  # iperf3 may exit with 0 and an error in its JSON
                return float(received["bits_per_second"]) / 1e6
            time.sleep(0.1)
        raise AssertionError(done.stdout + done.stderr)
    finally:
        listening.kill()
        listening.communicate()


def test_full_size_tcp_crosses_the_overlay(overlay: Lab) -> None:
    for segment in {row["segment"] for row in overlay.show("segments")}:
        members = addresses(overlay, segment)
        hosts = {row["endpoint"]: row["host"] for row in overlay.show("guests")}
        pairs = [(a, b) for a in members for b in members if hosts[a] != hosts[b]]
        if pairs:
            one, other = pairs[0]
            assert tcp(overlay, one.partition(".")[0], other.partition(".")[0], members[other]) > 5


def test_full_size_tcp_crosses_nat_both_ways(nat: Lab) -> None:
    guest = nat.show("guests")[0]["endpoint"].partition(".")[0]
    assert tcp(nat, guest, "outside", "203.0.113.1") > 5


def test_full_size_tcp_crosses_a_vlan(vlans: Lab) -> None:
    segment = vlans.show("segments")[0]["segment"]
    hosts = {row["endpoint"]: row["host"] for row in vlans.show("guests")}
    members = addresses(vlans, segment)
    one, other = next((a, b) for a in members for b in members if hosts[a] != hosts[b])
    assert tcp(vlans, one.partition(".")[0], other.partition(".")[0], members[other]) > 5


def test_a_nat_guest_is_seen_outside_as_its_host(nat: Lab) -> None:
    guest = nat.show("guests")[0]
    name = guest["endpoint"].partition(".")[0]
    seen = nat.exec(name, "curl", "--silent", "--max-time", "5", "http://203.0.113.1/")
    assert seen.returncode == 0, seen.stderr


def test_traceroute_sees_the_gateway(nat: Lab) -> None:
    guest = nat.show("guests")[0]["endpoint"].partition(".")[0]
    gateway = nat.show("segments")[0]["gateways"][0]
    done = nat.exec(guest, "ping", "-c", "1", "-t", "1", "-W", "2", "203.0.113.1")
    assert f"From {gateway}" in done.stdout


def bonded(here: Lab, host: str) -> dict[str, tuple[str, bool]]:
    """By NIC of a host: its link, and whether it is the active one of its bond."""
    rows = [row for row in here.show("links") if row["host"] == host and row["bond"]]
    return {row["port"].partition("/")[2]: (row["link"], row["active"]) for row in rows}


@pytest.mark.parametrize("number", [1, 2, 3], ids=["active-backup", "balance-slb", "lacp"])
def test_a_cable_of_a_bond_is_pulled_and_everybody_goes_on_by_the_other(example: Callable[[str], Lab], number: int) -> None:
    here, host, bridged, translated = example("bonds"), f"kvm{number}", f"web{number}", f"app{number}"
    before = bonded(here, host)
    (first,) = (nic for nic, (_, active) in before.items() if active)
    (other,) = before.keys() - {first}
    here.run("lab", "fail", "link", f"{host}/{first}", "--fabric", here.fabric)
    until(lambda: bonded(here, host) == {first: ("down", False), other: ("up", True)})
    assert here.exec(host, "cat", f"/sys/class/net/{first}/carrier").stdout == "0\n"
    assert here.pings(bridged, "203.0.113.1") and here.pings(translated, "203.0.113.1")
    assert here.pings("outside", f"203.0.113.5{number}")
    here.run("lab", "heal", "link", f"{host}/{first}", "--fabric", here.fabric)
    until(lambda: {link for link, _ in bonded(here, host).values()} == {"up"})
    assert here.pings(bridged, "203.0.113.1") and here.pings(translated, "203.0.113.1")


def test_a_labs_wire_speaks_lacp_with_a_bond_that_does_and_with_no_other(example: Callable[[str], Lab]) -> None:
    here = example("bonds")

    def partners(host: str) -> set[str]:
        return {row["partner"] for row in here.show("links") if row["host"] == host and row["bond"]}

    until(lambda: "" not in partners("kvm3") and len(partners("kvm3")) == 1)
    assert "negotiated" in here.ovs("kvm3", "ovs-appctl", "lacp/show", "b.physnet")
    assert partners("kvm1") | partners("kvm2") == {""}


def test_a_bare_bridge_becomes_a_learning_switch_at_once(tmp_path: Path) -> None:
    with Ovs() as ovs:
        ovs.add_bridge("br0")
        socket = ovs.rundir / "weft.sock"
        running = subprocess.Popen([WEFT, "controller", "--listen", f"unix:{socket}"], stderr=subprocess.DEVNULL)
        try:
            for number, tag in ((1, "tag=5"), (2, "tag=5"), (3, "tag=6")):
                ovs.guest("br0", f"v{number}", f"10.5.0.{number}/24", tag)
            ovs.vsctl("set-controller", "br0", f"unix:{socket}")
            assert any(ovs.pings("v1", "10.5.0.2") for _ in range(20))
        finally:
            running.terminate()
            assert running.wait(10) == 0


def test_a_second_lab_of_the_same_name_is_refused(shop: Lab) -> None:
    done = weft("lab", "up", shop.file)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "weft lab down" in done.stderr
