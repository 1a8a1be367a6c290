"""The host is never cut off: what takes it from its store is put back, by nobody's hand and with the agent dead."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import pytest

from tests.real.labs import weft
from tests.real.uplink import STORE, Uplinked, until, uplinked

pytestmark = pytest.mark.real

GOOD = "physnet: {nics: [nic0]}"
FRESH = (
    "physnet: {nics: [nic0], address: 198.51.100.7/24, gateway: 198.51.100.1}",
    "physnet: {nics: [nic2], address: 203.0.113.12/24, gateway: 203.0.113.1}",
)
"""What cuts a host off that has no uplink yet: another way out that is none, by its own NIC and by one that leads nowhere."""
ADOPTED = (
    "physnet: {nics: [nic2]}",
    "physnet: {nics: [nic2], bond: lacp}",
    "physnet: {nics: [nic0], address: 198.51.100.7/24, gateway: 198.51.100.1}",
)
"""The same of one whose address is on its bridge already."""


@pytest.fixture
def host() -> Iterator[Uplinked]:
    with uplinked(within=1) as here:
        yield here


def cut_and_back(here: Uplinked, cut: str) -> float:
    """One apply that cuts the way to the store; seconds from its beginning until all was as before."""
    before = here.network()
    serial = here.apply(cut)
    until(lambda: here.told().get("serial") == serial)
    until(lambda: "put back" in here.state().get("reason", ""))
    said = here.state()
    assert said["state"] == "failed"
    assert f"the store {STORE} did not answer within 1 s" in said["reason"]
    assert here.network() == before
    return float(here.told()["after"])


def fifty(adopted: bool) -> list[float]:
    with uplinked(within=1) as here:
        if adopted:
            here.adopt()
        here.start()
        took = [cut_and_back(here, cut) for cut in islice(cycle(ADOPTED if adopted else FRESH), 50)]
        assert here.reaches()
        return took


def test_an_apply_that_cuts_the_management_path_is_put_back_in_time_a_hundred_times() -> None:
    with ThreadPoolExecutor(2) as both:  # a host that has no uplink yet, and one whose address is on its bridge
        took = [seconds for fifty_of_them in both.map(fifty, (False, True)) for seconds in fifty_of_them]
    assert len(took) == 100
    assert all(1 <= seconds < 20 for seconds in took), took


def test_a_host_comes_onto_its_bridge_and_back_off_it_with_its_addresses_and_routes(host: Uplinked) -> None:
    before = host.network()
    host.adopt()
    adopted = host.network()
    assert adopted["nic0"] == (1500, True, [])
    assert adopted["wx-physnet"] == before["nic0"]
    assert adopted["routes"] == [str(route).replace("nic0", "wx-physnet") for route in before["routes"]]  # type: ignore[attr-defined]
    assert host.reaches()
    host.start(within=30)
    host.apply("")
    until(lambda: "wx-physnet" not in host.ovs.vsctl("list-br"))
    assert host.network() == before
    assert host.reaches()


def test_what_an_agent_was_killed_over_is_put_back_without_it_and_tried_again_only_when_asked(host: Uplinked) -> None:
    host.adopt()
    before = host.network()
    cut = ADOPTED[0]
    serial = host.apply(cut)
    host.start(within=3)
    until(lambda: "nic2" in host.ovs.vsctl("list-ports", "wx-physnet"))
    host.kill()
    until(lambda: host.told().get("serial") == serial)
    assert host.network() == before
    assert host.reaches()
    host.start(within=3)
    until(lambda: "put back" in host.state().get("reason", ""))
    assert host.told()["serial"] == serial
    assert host.network() == before
    again = host.apply(cut)
    until(lambda: host.told().get("serial") == again)
    assert host.network() == before


def test_plan_says_what_was_put_back_and_why_and_what_an_apply_would_try_again(host: Uplinked) -> None:
    host.adopt()
    serial = host.apply(ADOPTED[0])
    host.start()
    until(lambda: host.told().get("serial") == serial and "put back" in host.state().get("reason", ""))
    done = weft("plan", host.folder / "fabric.yaml", "--store", f"unix:{host.folder}/store.sock", "--json")
    assert done.returncode == 2, done.stderr
    first, *steps = json.loads(done.stdout)["host"]["kvm1"]
    assert first == {"action": "retry", "object": "uplink/physnet", "detail": host.state()["reason"]}
    assert ("add", "nic2") in [(step["action"], step["object"]) for step in steps]
    assert host.told()["serial"] == serial
    assert host.reaches()


def test_an_address_that_has_to_stay_reachable_holds_a_change_back_or_puts_it_back(host: Uplinked) -> None:
    before = host.network()
    host.apply(GOOD)
    host.start("--keep-reachable", "203.0.113.77")
    until(lambda: "--keep-reachable" in host.state().get("reason", ""))
    assert host.state()["reason"] == "203.0.113.77 of --keep-reachable does not answer as it is: nothing is changed"
    assert host.network() == before
    host.kill()
    subprocess.run(["ip", "-n", host.far, "address", "add", "198.51.100.1/32", "dev", "lo"], check=True)
    subprocess.run(["ip", "netns", "exec", host.far, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1"], check=True)
    serial = host.apply("physnet: {nics: [nic0], address: 198.51.100.7/24}")  # the store is beyond this network, and that address is not in it
    host.start("--keep-reachable", "198.51.100.1")
    until(lambda: host.told().get("serial") == serial)
    until(lambda: "put back" in host.state().get("reason", ""))
    assert "put back: 198.51.100.1" in host.state()["reason"]
    assert host.network() == before


def test_without_room_for_the_way_back_nothing_changes_until_there_is(host: Uplinked) -> None:
    full = host.folder / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "full", full], check=True)
    try:
        (full / "filler").write_bytes(b"x" * 8192)
        before = host.network()
        host.apply(GOOD)
        host.start("--state", str(full), within=30)
        until(lambda: "no space left" in host.state().get("reason", ""))
        assert host.state()["state"] == "failed"
        assert host.network() == before
        (full / "filler").unlink()
        until(lambda: host.state().get("state") == "wired")
        assert host.reaches()
    finally:
        host.kill()
        subprocess.run(["umount", full], check=True)
