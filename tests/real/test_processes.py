"""The three processes of weft on a real host, each by itself: guests that are namespaces, an agent that is killed, a store on a full disk."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.alone import ROOT, Alone, alone
from tests.real.waiting import until

pytestmark = pytest.mark.real

FABRIC = """
fabric: in-three
segments: {db: {mode: isolated, subnets: [10.0.9.0/24]}}
hosts: {kvm1: {}}
guests:
  one: {host: kvm1, nics: [{segment: db, ip: 10.0.9.11, attach: netns}]}
  two: {host: kvm1, nics: [{segment: db, ip: 10.0.9.12, attach: netns}]}
"""
OPENVSWITCH = """
set -e
mkdir -p /run/weft/disk && mount -t tmpfs -o size=256k disk /run/weft/disk
ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server /etc/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile --detach --no-chdir -vconsole:off >/dev/null 2>&1
ovs-vsctl --no-wait init
ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach --no-chdir --log-file -vconsole:off >/dev/null 2>&1
"""
WEFT = str(ROOT / ".venv/bin/weft")
STORE = "unix:/run/weft/in-three/store.sock"
PROCESSES = {
    "store": f"{WEFT} store --db /run/weft/disk/store.db --listen {STORE}",
    "controller": f"{WEFT} controller --store {STORE} --listen unix:/run/weft/in-three/controller.sock",
    "agent": f"{WEFT} agent --store {STORE} --host kvm1",
}


class Host:
    """One that runs all three, with its fabric file."""

    def __init__(self, machine: Alone, file: Path) -> None:
        self.machine, self.file = machine, file

    def start(self, what: str) -> None:
        log, pid = f"/var/log/openvswitch/{what}.log", f"/run/openvswitch/weft-{what}.pid"
        self.machine.run(f"nohup {PROCESSES[what]} >>{log} 2>&1 </dev/null & echo $! >{pid}")

    def kill(self, what: str) -> None:
        self.machine.run(f"kill -9 $(cat /run/openvswitch/weft-{what}.pid)")

    def apply(self, text: str = FABRIC) -> tuple[int, str]:
        """Exit code, and what it says."""
        self.file.write_text(text)
        said = self.machine.run(f"{WEFT} apply --wait 10 {self.file}; echo $?").split("\n")
        return int(said[-2]), "\n".join(said[:-2])

    def pings(self, source: str, address: str) -> bool:
        return " 0% packet loss" in self.machine.run(f"ip netns exec weft.in-three.{source} ping -q -c 3 -i 0.2 -W 2 {address}")

    def wired(self) -> set[str]:
        try:
            shown = json.loads(self.machine.run(f"{WEFT} show guests --fabric in-three --json 2>/dev/null"))
        except ValueError:
            return set()
        return {row["endpoint"] for row in shown if row["state"] == "wired"}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with alone(network=True) as machine:
        assert machine.run(OPENVSWITCH) == ""
        here = Host(machine, tmp_path_factory.mktemp("three") / "three.yaml")
        for what in PROCESSES:
            here.start(what)
        assert until(lambda: here.apply()[0] == 0), here.machine.run("tail -n 5 /var/log/openvswitch/*.log")
        yield here


def test_guests_that_are_namespaces_reach_each_other(host: Host) -> None:
    assert until(lambda: host.wired() == {"one.eth0", "two.eth0"})
    assert host.pings("one", "10.0.9.12") and host.pings("two", "10.0.9.11")


def test_no_packet_is_lost_when_the_agent_is_killed_and_starts_again(host: Host) -> None:
    pings = host.machine.start("ip", "netns", "exec", "weft.in-three.one", "ping", "-q", "-c", "60", "-i", "0.1", "-W", "1", "10.0.9.12")
    host.kill("agent")
    time.sleep(1)
    host.start("agent")
    said, _ = pings.communicate(timeout=30)
    assert " 0% packet loss" in said
    host.machine.run("ip -n weft.in-three.two link set eth0 down")
    assert until(lambda: host.pings("one", "10.0.9.12"))


def test_a_store_whose_disk_is_full_says_so_and_goes_on_when_there_is_room(host: Host) -> None:
    labels = ", ".join(f"label{number}: {'v' * 40}" for number in range(150))  # more than is left of the last page of its file
    more = FABRIC + f"  three: {{host: kvm1, labels: {{{labels}}}, nics: [{{segment: db, ip: 10.0.9.13, attach: netns}}]}}\n"
    host.machine.run("dd if=/dev/zero of=/run/weft/disk/full bs=4k 2>/dev/null")
    before = host.machine.run(f"ovsdb-client dump {STORE} Weft Object Journal Fabric")
    code, said = host.apply(more)
    assert code == 1
    assert said.endswith("store.db: write failed: no space left on device: nothing was changed; make room on its disk, and say it again"), said
    assert "\n" not in said
    assert host.machine.run(f"ovsdb-client dump {STORE} Weft Object Journal Fabric") == before
    assert host.pings("one", "10.0.9.12")
    host.machine.run("rm /run/weft/disk/full")
    assert host.apply(more)[0] == 0
    assert until(lambda: host.pings("one", "10.0.9.13"))


def test_a_store_that_is_killed_with_its_disk_full_has_all_that_was_said(host: Host) -> None:
    host.machine.run("dd if=/dev/zero of=/run/weft/disk/full bs=4k 2>/dev/null")
    host.kill("store")
    host.start("store")
    assert until(lambda: "one.eth0" in host.wired())
    host.machine.run("rm /run/weft/disk/full")
    assert until(lambda: host.apply(FABRIC)[0] == 0)
    assert until(lambda: host.wired() == {"one.eth0", "two.eth0"})
