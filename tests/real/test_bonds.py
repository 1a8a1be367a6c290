"""Several NICs as one on real Open vSwitch: who carries the traffic, what happens when that is pulled, and whom LACP hears."""

from collections.abc import Iterator

import pytest

from tests.real.ovs import Ovs, run
from tests.real.uplink import Uplinked, until, uplinked

pytestmark = pytest.mark.real

BOND = "physnet: {{nics: [nic0, nic1], bond: {}}}"


@pytest.fixture(scope="module")
def host() -> Iterator[Uplinked]:
    """Its NICs end in a Linux bridge, which knows no bonds."""
    with uplinked(within=30) as here:
        here.start()
        yield here


@pytest.fixture(scope="module")
def spoken() -> Iterator[Uplinked]:
    """Its NICs end in another Open vSwitch, which speaks LACP on them; before, in a bridge by which the host gets to its store."""
    with uplinked(within=30) as here, Ovs() as switch:
        here.apply(BOND.format("lacp"))
        here.start()
        until(lambda: here.state().get("state") == "wired")
        plug_into(switch, here)
        yield here


def plug_into(switch: Ovs, here: Uplinked) -> None:
    run("ip", "link", "add", "up0", "netns", switch.namespace, "type", "veth", "peer", "name", "up0", "netns", here.far)
    for nic in ("nic0-far", "nic1-far"):
        run("ip", "-n", here.far, "link", "set", nic, "nomaster", "netns", switch.namespace)
    run("ip", "-n", here.far, "link", "set", "up0", "master", "br0", "up")
    for device in ("nic0-far", "nic1-far", "up0"):
        switch.inside("ip", "link", "set", device, "up")
        switch.inside("ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off")
    run("ip", "netns", "exec", here.far, "ethtool", "-K", "up0", "tx", "off", "tso", "off", "gso", "off")
    switch.add_bridge("br0", fail_mode="standalone")
    switch.vsctl("add-bond", "br0", "bond0", "nic0-far", "nic1-far", "bond_mode=balance-tcp", "lacp=active", "--", "add-port", "br0", "up0")
    here.far_of_nics = switch.namespace


def pull(here: Uplinked, nic: str, up: bool = False) -> None:
    run("ip", "-n", here.far_of_nics, "link", "set", f"{nic}-far", "up" if up else "down")


def nics(here: Uplinked) -> dict[str, dict[str, object]]:
    told: dict[str, dict[str, object]] = here.state().get("nics", {})
    return told


def active(here: Uplinked) -> list[str]:
    return [nic for nic, said in nics(here).items() if said.get("active")]


def test_another_nic_takes_over_when_the_one_in_use_is_pulled(host: Uplinked) -> None:
    host.apply(BOND.format("active-backup"))
    until(lambda: len(active(host)) == 1 and host.state()["state"] == "wired")
    first = active(host)[0]
    assert host.reaches()
    pull(host, first)
    until(lambda: host.reaches())
    until(lambda: active(host) not in ([], [first]))
    assert nics(host)[first]["link"] == "down"
    assert nics(host)[active(host)[0]]["link"] == "up"
    pull(host, first, up=True)
    until(lambda: nics(host)[first]["link"] == "up")
    assert host.reaches()


@pytest.mark.parametrize("mode", ["balance-slb", "lacp", "active-backup"])
def test_a_bond_in_use_changes_its_mode_and_the_host_stays_reachable(host: Uplinked, mode: str) -> None:
    host.apply(BOND.format(mode))
    until(lambda: f'"{mode}"' in host.settled())
    assert host.network()["wx-physnet"] == (1500, True, ["203.0.113.11/24"])
    until(lambda: host.reaches())
    assert {said.get("partner", "") for said in nics(host).values()} == {""}  # nobody speaks LACP there: it falls back


def test_a_nic_leaves_a_bond_and_comes_back_and_the_host_stays_reachable(host: Uplinked) -> None:
    for uplink in ("physnet: {nics: [nic1], bond: active-backup}", BOND.format("active-backup")):
        host.apply(uplink)
        until(lambda uplink=uplink: ('"nic0"' in host.settled()) == ("nic0" in uplink))  # type: ignore[misc]
        until(lambda: host.reaches())
    held = host.ovs.vsctl("--columns=interfaces", "list", "port", "b.physnet")
    assert held.count(",") == 1


def test_lacp_is_negotiated_its_partner_shown_and_one_link_is_enough(spoken: Uplinked) -> None:
    until(lambda: all(said.get("partner") for said in nics(spoken).values()) and len(nics(spoken)) == 2)
    assert len({said["partner"] for said in nics(spoken).values()}) == 1
    assert "negotiated" in spoken.ovs.appctl("-t", "ovs-vswitchd", "lacp/show", "b.physnet")
    assert spoken.reaches()
    pull(spoken, "nic0")
    until(lambda: spoken.reaches())
    until(lambda: nics(spoken)["nic0"] | {"mtu": 0} == {"link": "down", "mtu": 0, "active": False, "partner": ""})
    pull(spoken, "nic0", up=True)
    until(lambda: bool(nics(spoken)["nic0"].get("partner")))
    assert spoken.reaches()
