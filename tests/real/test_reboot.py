"""A host that comes up again: its guests are wired before any store or controller is there, and the controller finds nothing to do."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.alone import ROOT, Alone, alone
from tests.real.waiting import until

pytestmark = pytest.mark.real

FABRIC = """
fabric: in-boot
segments:
  db: {mode: isolated, subnets: [10.0.9.0/24]}
  office: {mode: isolated, subnets: [192.168.122.0/24], dhcp: true}
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [nic0]}}}
  kvm2: {address: 10.10.10.2/24}
guests:
  one: {host: kvm1, labels: {tier: web}, nics: [{segment: db, ip: 10.0.9.11, attach: netns}]}
  two: {host: kvm1, nics: [{segment: db, ip: 10.0.9.12, attach: netns}, {segment: office, attach: netns}]}
  far: {host: kvm2, nics: [{segment: db, ip: 10.0.9.13}]}
policies:
  - {name: no-telnet, deny: tcp/23, from: any, to: db}
qos: [{endpoint: one.eth0, direction: out, rate: 100mbit, burst: 10mbit}]
"""

NIC = """
ip netns del far 2>/dev/null
ip link del nic0 2>/dev/null
set -e
ip netns add far
ip link add nic0 address 0e:00:00:00:00:01 type veth peer name nic0 netns far
ip -n far address add 203.0.113.1/24 dev nic0
ip -n far link set nic0 up
ip address add 203.0.113.11/24 dev nic0
ip link set nic0 up
ip route add default via 203.0.113.1
"""
DATABASE = "ovsdb-server /etc/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile --detach --no-chdir -vconsole:off"
SWITCHD = "ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach --no-chdir --log-file -vconsole:off >/dev/null 2>&1"
HOLD = "ovs-vsctl --no-wait set Open_vSwitch . other_config:flow-restore-wait=true external_ids:weft-hold=true"
STORE = "unix:/run/weft/in-boot/store.sock"
ALL_OFF = """
for pid in $(ps -eo pid= | grep -vx ' *1'); do [ $pid = $$ ] || kill -9 $pid 2>/dev/null; done
for space in $(ip netns list | cut -d' ' -f1); do ip netns del $space; done
for link in $(ls /sys/class/net); do [ $link = lo ] || ip link del $link 2>/dev/null; done
nft flush ruleset
rm -rf /run/weft/* /run/openvswitch/*
"""
"""What a reboot does to processes, namespaces, devices, rules and /run; the disk stays."""
KEPT = ["bridge.br-weft.json", "bridge.wx-physnet.json", "host.json"]
WEFT = str(ROOT / ".venv/bin/weft")


class Machine:
    def __init__(self, inside: Alone) -> None:
        self.inside = inside
        self.running: set[str] = set()

    def run(self, command: str) -> str:
        return self.inside.run(command)

    def start(self, *words: str) -> None:
        """A process of weft, its id and its log beside Open vSwitch's."""
        at = f"/var/log/openvswitch/{words[0]}"
        self.run(f"setsid sh -c 'echo $$ >{at}.pid; exec {WEFT} {' '.join(words)}' >>{at}.log 2>&1 </dev/null &")
        self.running.add(words[0])

    def open_vswitch(self, hold: bool) -> None:
        assert self.run(f"{DATABASE} >/dev/null 2>&1") == ""
        assert self.run(f"ovs-vsctl --no-wait init; {HOLD if hold else ''}") == ""
        assert self.run(SWITCHD) == ""

    def begin(self, file: Path) -> None:
        """The fabric applied, in sync, and written down."""
        assert self.run(NIC) == ""
        self.run("ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema")
        self.open_vswitch(hold=False)
        self.store()
        assert until(lambda: self.run(f"ls {STORE.removeprefix('unix:')} 2>/dev/null") != "")
        self.controller()
        self.agent()
        self.run(f"{WEFT} apply {file} --store {STORE} --wait 0")
        assert until(lambda: self.pings("one", "10.0.9.12"))
        assert until(self.synced)
        assert until(lambda: self.run("ls /var/lib/weft/agent/kvm1").split() == KEPT)
        assert until(lambda: self.run("grep -c cookie= /var/lib/weft/agent/kvm1/bridge.br-weft.json").strip() == f"{len(self.flows('br-weft'))}")

    def kill(self, *names: str) -> None:
        for name in names:
            self.run(f"kill -9 $(cat /var/log/openvswitch/{name}.pid)")
            self.running.discard(name)

    def log(self, name: str) -> str:
        return self.run(f"cat /var/log/openvswitch/{name}.log")

    def store(self) -> None:
        self.start("store", "--db", "/var/lib/weft/in-boot/store.db", "--listen", STORE)

    def controller(self) -> None:
        self.start("controller", "--store", STORE, "--listen", "unix:/run/weft/in-boot/controller.sock")

    def agent(self) -> None:
        self.start("agent", "--host", "kvm1", "--store", STORE)

    def reboot(self) -> None:
        """Off, and on again as far as the NIC: what starts then is the test's to say."""
        self.run(ALL_OFF)
        self.running.clear()
        assert self.run(NIC) == ""

    def pings(self, guest: str, address: str) -> bool:
        return " 0% packet loss" in self.run(f"ip netns exec weft.in-boot.{guest} ping -q -c 2 -i 0.2 -W 1 {address}")

    def synced(self) -> bool:
        said = self.run(f"{WEFT} show switches --store {STORE} --json 2>/dev/null")
        return said.startswith("[") and all(row["state"] == "in sync" for row in json.loads(said) if row["host"] == "kvm1")

    def flows(self, bridge: str) -> list[str]:
        return sorted(self.run(f"ovs-ofctl -OOpenFlow14 --no-stats dump-flows {bridge}").splitlines())

    def youngest(self, bridge: str) -> float:
        """Seconds since a flow was last added or changed."""
        return min(map(float, re.findall(r"duration=([0-9.]+)s", self.run(f"ovs-ofctl -OOpenFlow14 dump-flows {bridge}"))))

    def held(self) -> bool:
        said = self.run("ovs-vsctl --no-wait get Open_vSwitch . other_config external_ids")
        return "flow-restore-wait" in said or "weft-hold" in said


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    file = tmp_path_factory.mktemp("boot") / "boot.yaml"
    file.write_text(FABRIC)
    with alone(network=True) as inside:
        here = Machine(inside)
        here.begin(file)
        yield here


def test_after_a_reboot_guests_are_wired_with_no_store_and_no_controller_and_the_controller_changes_nothing(machine: Machine) -> None:
    before = {bridge: len(machine.flows(bridge)) for bridge in ("br-weft", "wx-physnet")}
    machine.reboot()
    machine.open_vswitch(hold=True)
    machine.agent()
    assert until(lambda: machine.pings("one", "10.0.9.12"), 10), machine.run("ovs-vsctl show")
    assert until(lambda: " 0% packet loss" in machine.run("ping -q -c 2 -i 0.2 -W 1 203.0.113.1"))
    assert until(lambda: not machine.held(), 5)
    assert {bridge: len(machine.flows(bridge)) for bridge in before} == before
    assert "203.0.113.11/24" in machine.run("ip -br address show wx-physnet")
    laid = {bridge: machine.flows(bridge) for bridge in before}
    began = time.monotonic()
    machine.store()
    machine.controller()
    assert until(machine.synced)
    time.sleep(1)
    assert {bridge: machine.flows(bridge) for bridge in before} == laid
    assert machine.youngest("br-weft") > time.monotonic() - began
    assert machine.pings("one", "10.0.9.12")


def test_what_was_laid_only_in_part_is_laid_whole_by_the_next_agent(machine: Machine) -> None:
    machine.kill("controller", "agent")
    whole = machine.flows("br-weft")
    machine.run("ovs-ofctl -OOpenFlow14 del-flows br-weft table=10")
    assert not machine.pings("one", "10.0.9.12")
    machine.agent()
    assert until(lambda: machine.flows("br-weft") == whole)
    assert machine.pings("one", "10.0.9.12")
    machine.controller()


def test_flows_that_are_other_than_what_was_kept_are_left_alone(machine: Machine) -> None:
    machine.kill("controller", "agent")
    machine.run("ovs-ofctl -OOpenFlow14 mod-flows br-weft cookie=0x7765667400000000/0xffffffff00000000,table=10,priority=100,actions=drop")
    newer = machine.flows("br-weft")
    machine.agent()
    assert until(lambda: "waiting" not in machine.run(f"{WEFT} show guests --store {STORE} | grep one.eth0"))
    time.sleep(8)
    assert machine.flows("br-weft") == newer
    machine.controller()
    assert until(lambda: machine.pings("one", "10.0.9.12"))


def test_a_wait_that_nobody_cleared_is_cleared_by_the_next_agent_and_one_of_somebody_else_is_not(machine: Machine) -> None:
    machine.run(HOLD)
    assert until(lambda: not machine.held())
    machine.kill("agent")
    machine.run(HOLD)
    machine.agent()
    assert until(lambda: not machine.held())
    machine.run("ovs-vsctl --no-wait set Open_vSwitch . other_config:flow-restore-wait=true")
    time.sleep(1)
    assert machine.held()
    machine.run("ovs-vsctl --no-wait remove Open_vSwitch . other_config flow-restore-wait")


def test_a_disk_that_is_full_is_one_line_and_what_is_wired_stays_so(machine: Machine) -> None:
    machine.kill("agent")
    machine.run("rm -r /var/lib/weft/agent/*; mount -t tmpfs -o size=4k,nr_inodes=2 full /var/lib/weft/agent; mkdir /var/lib/weft/agent/kvm1")
    machine.agent()
    assert until(lambda: "no space left on device" in machine.log("agent"))
    assert machine.pings("one", "10.0.9.12")
    time.sleep(11)
    lines = [line for line in machine.log("agent").splitlines() if "no space left" in line]
    assert 0 < len(lines) <= 3 and all("/var/lib/weft/agent/kvm1/" in line for line in lines)
    assert "Traceback" not in machine.log("agent")
    machine.run("umount /var/lib/weft/agent")
    assert until(lambda: machine.run("ls /var/lib/weft/agent/kvm1 2>/dev/null").split() == KEPT)
