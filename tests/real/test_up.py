"""A real host, as `weft up` finds it: Open vSwitch where Debian puts it, a NIC with the host's address and default route, taps."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.alone import ROOT, Alone, alone

pytestmark = pytest.mark.real

FABRIC = """
fabric: one
segments:
  db: {mode: isolated, subnets: [10.0.9.0/24]}
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [nic0]}}}
guests:
  web: {host: kvm1, nics: [{segment: db, ip: 10.0.9.11}, {segment: office}]}
  old: {host: kvm1, nics: [{segment: db, ip: 10.0.9.12, attach: {port: vnet7}}]}
"""

HOST = """
set -e
ip netns add far
ip link add nic0 type veth peer name nic0 netns far
ip -n far address add 203.0.113.1/24 dev nic0
ip -n far link set nic0 up
ip address add 203.0.113.11/24 dev nic0
ip link set nic0 up
ip route add default via 203.0.113.1
ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server /etc/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile --detach --no-chdir -vconsole:off >/dev/null 2>&1
ovs-vsctl --no-wait init
ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach --no-chdir --log-file -vconsole:off >/dev/null 2>&1
"""

GUEST = """
ip netns add vnet
ip link add vnet7 type veth peer name eth0 netns vnet
ip link set vnet7 up
ip -n vnet link set eth0 address {mac}
ip -n vnet address add 10.0.9.12/24 dev eth0
ip -n vnet link set eth0 up
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("up") / "one.yaml"
    file.write_text(FABRIC)
    return file


@pytest.fixture(scope="module")
def host(file: Path) -> Iterator[tuple[Alone, subprocess.Popen[str]]]:
    with alone(network=True) as machine:
        assert machine.run(HOST) == ""
        running = machine.start(str(ROOT / ".venv/bin/weft"), "up", str(file), "--host", "kvm1")
        try:
            yield machine, running
        finally:
            running.kill()
            running.communicate()


def guests(machine: Alone) -> dict[str, dict[str, Any]]:
    try:
        return {row["endpoint"]: row for row in json.loads(machine.run(".venv/bin/weft show guests --json 2>/dev/null"))}
    except ValueError:
        return {}


def becomes(machine: Alone, endpoint: str, state: str, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if guests(machine).get(endpoint, {}).get("state") == state:
            return True
        time.sleep(0.2)
    return False


def test_taps_are_wired_and_a_port_that_is_not_there_is_waited_for(host: tuple[Alone, subprocess.Popen[str]]) -> None:
    machine, _ = host
    assert becomes(machine, "web.eth0", "wired")
    assert becomes(machine, "web.eth1", "wired")
    assert "vnet7" in guests(machine)["old.eth0"]["reason"]


def test_the_host_keeps_its_address_and_its_way_out(host: tuple[Alone, subprocess.Popen[str]]) -> None:
    machine, _ = host
    assert becomes(machine, "web.eth0", "wired")
    assert "203.0.113.11/24" in machine.run("ip -br address show wx-physnet")
    assert "203.0.113.11/24" not in machine.run("ip -br address show nic0")
    assert " 0% packet loss" in machine.run("ping -q -c 2 -i 0.2 -W 2 203.0.113.1")


def test_a_port_that_comes_later_is_wired_and_reaches_the_gateway(host: tuple[Alone, subprocess.Popen[str]]) -> None:
    machine, _ = host
    assert becomes(machine, "old.eth0", "waiting")
    machine.run(GUEST.format(mac=guests(machine)["old.eth0"]["mac"]))
    assert becomes(machine, "old.eth0", "wired")
    assert " 0% packet loss" in machine.run("ip netns exec vnet ping -q -c 2 -i 0.2 -W 2 10.0.9.1")


def test_what_is_wired_stays_so_when_weft_ends(host: tuple[Alone, subprocess.Popen[str]]) -> None:
    machine, running = host
    assert becomes(machine, "old.eth0", "wired")
    pid = machine.run("pgrep -xf '.*weft up .*'").split()[0]
    machine.run(f"kill -TERM {pid}")
    assert running.wait(20) == 0
    assert " 0% packet loss" in machine.run("ip netns exec vnet ping -q -c 2 -i 0.2 -W 2 10.0.9.1")
    assert " 0% packet loss" in machine.run("ping -q -c 2 -i 0.2 -W 2 203.0.113.1")
