"""A host whose resolver is systemd-resolved, with name servers for its NIC alone: they go with the address, there and back."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.alone import ROOT, Alone, alone
from tests.real.test_up import HOST
from tests.real.test_uplink_dhcp import SERVER
from tests.real.waiting import until

pytestmark = pytest.mark.real

FABRIC = """
fabric: asked
segments: {{db: {{mode: isolated, subnets: [10.0.9.0/24]}}}}
hosts: {{kvm1: {{uplinks: {{{}}}}}}}
"""
KEEP, GIVEN = "physnet: {nics: [nic0]}", "physnet: {nics: [nic0], address: dhcp}"
RESOLVED = f"""
ln -sf {ROOT}/.peers/usr/bin/resolvectl /run/weft/resolvectl
for file in passwd group; do cp /etc/$file /run/weft/$file; done
echo 'systemd-resolve:x:64990:64990::/:/usr/sbin/nologin' >>/run/weft/passwd
echo 'systemd-resolve:x:64990:' >>/run/weft/group
for file in passwd group; do mount --bind /run/weft/$file /etc/$file; done
mkdir -p /run/systemd && mount -t tmpfs private /run/systemd && install -d -o 64990 -g 64990 /run/systemd/resolve
cat >/run/weft/bus.conf <<'BUS'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type><listen>unix:path=/run/weft/bus</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
BUS
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/weft/bus
dbus-daemon --config-file=/run/weft/bus.conf --nofork >/run/weft/bus.log 2>&1 &
for number in $(seq 100); do [ -S /run/weft/bus ] && break; sleep 0.05; done
exec {ROOT}/.peers/lib/systemd/systemd-resolved >/run/weft/resolved.log 2>&1
"""
WITH = "export PATH=/run/weft:$PATH DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/weft/bus; "


class Place:
    def __init__(self, machine: Alone, file: Path) -> None:
        self.machine, self.file = machine, file

    def told(self, link: str) -> list[str]:
        """Name servers and domains of a link."""
        said = self.machine.run(f"{WITH} resolvectl dns {link}; resolvectl domain {link}")
        return [word for line in said.splitlines() for word in line.partition("):")[2].split()]

    def apply(self, uplinks: str) -> None:
        self.file.write_text(FABRIC.format(uplinks))
        assert "applied" in self.machine.run(f".venv/bin/weft apply {self.file}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    file = Path(tmp_path_factory.mktemp("asked")) / "asked.yaml"
    file.write_text(FABRIC.format(""))
    processes: list[subprocess.Popen[str]] = []
    with alone(network=True) as machine:
        assert machine.run(HOST) == ""
        machine.run("ip netns exec far ethtool -K nic0 tx off")
        processes.append(machine.start("bash", "-c", RESOLVED))
        assert until(lambda: "(nic0)" in machine.run(f"{WITH} resolvectl dns nic0"))
        machine.run(f"{WITH} resolvectl dns nic0 192.0.2.53 2001:db8::53; resolvectl domain nic0 example.org '~corp.example'")
        processes.append(machine.start("bash", "-c", f"{WITH} cd {ROOT}; exec .venv/bin/weft up {file} --host kvm1"))
        assert until(lambda: "kvm1" in machine.run(".venv/bin/weft show hosts"))
        yield Place(machine, file)
    for process in processes:  # they ended with their machine
        process.communicate()


TOLD = ["192.0.2.53", "2001:db8::53", "example.org", "~corp.example"]


def test_the_name_servers_of_a_nic_go_onto_the_bridge_with_its_address(place: Place) -> None:
    place.apply(KEEP)
    assert until(lambda: "203.0.113.11/24" in place.machine.run("ip -br address show wx-physnet"))
    assert place.told("wx-physnet") == TOLD
    question = f"{WITH} resolvectl query --cache=no one.corp.example >/dev/null 2>&1 & timeout 20 tcpdump -c 1 -ni wx-physnet dst 192.0.2.53"
    assert "192.0.2.53.53" in place.machine.run(question)


def test_they_return_when_the_uplink_is_released(place: Place) -> None:
    place.machine.run(f"{WITH} resolvectl dns wx-physnet 192.0.2.54")
    place.apply("")
    assert until(lambda: "203.0.113.11/24" in place.machine.run("ip -br address show nic0"))
    assert until(lambda: "wx-physnet" not in place.machine.run("ip -br link"))
    assert place.told("nic0") == ["192.0.2.54", *TOLD[2:]]


def test_those_of_a_lease_are_the_bridges(place: Place) -> None:
    server = place.machine.start("sh", "-c", SERVER.format(first="203.0.113.70").rstrip() + " --dhcp-option=option:dns-server,198.51.100.53")
    place.machine.run("ip address flush dev nic0")
    place.apply(GIVEN)
    assert until(lambda: "203.0.113.70/24" in place.machine.run("ip -br address show wx-physnet"))
    assert until(lambda: place.told("wx-physnet")[:1] == ["198.51.100.53"])
    place.machine.run("kill $(cat /run/weft/server/pid)")
    server.communicate()
