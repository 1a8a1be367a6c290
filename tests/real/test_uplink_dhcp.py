"""A real host whose address the wire's DHCP gives: a lease, another one, a client that is killed, and a NAT segment behind it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.alone import ROOT, Alone, alone
from tests.real.test_up import HOST
from tests.real.waiting import until

pytestmark = pytest.mark.real

FABRIC = """
fabric: given
segments: {office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}}
hosts: {kvm1: {uplinks: {physnet: {nics: [nic0], address: dhcp}}}}
guests: {web: {host: kvm1, nics: [{segment: office, attach: netns}]}}
"""
BARE = HOST.replace("ip address add 203.0.113.11/24 dev nic0\n", "").replace("ip route add default via 203.0.113.1\n", "")
SERVER = """
umask 022; mkdir -p /run/weft/server; cd /run/weft/server
exec ip netns exec far dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --interface=nic0 --dhcp-leasefile=/run/weft/server/leases \
  --dhcp-authoritative --dhcp-range={first},{first},120 --dhcp-option=option:router,203.0.113.1 --pid-file=/run/weft/server/pid --user=root
"""


class Place:
    def __init__(self, machine: Alone) -> None:
        self.machine = machine
        self.server: subprocess.Popen[str] | None = None

    def serve(self, first: str) -> None:
        if self.server is not None:
            self.machine.run("kill $(cat /run/weft/server/pid)")
            self.server.communicate(timeout=30)
        self.server = self.machine.start("sh", "-c", SERVER.format(first=first))

    def has(self, address: str) -> bool:
        return address in self.machine.run("ip -4 -br address show wx-physnet")

    def uplink(self) -> str:
        rows = json.loads(self.machine.run(".venv/bin/weft show links --json 2>/dev/null") or "[]")
        return next((row["reason"] for row in rows if row["kind"] == "uplink"), "")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    file = Path(tmp_path_factory.mktemp("given")) / "given.yaml"
    file.write_text(FABRIC)
    with alone(network=True) as machine:
        assert machine.run(BARE) == ""
        machine.run("ip netns exec far ethtool -K nic0 tx off")  # no wire carries what is not summed up yet
        running = machine.start(str(ROOT / ".venv/bin/weft"), "up", str(file), "--host", "kvm1")
        here = Place(machine)
        yield here
    for process in (running, here.server):  # they ended with their machine
        if process is not None:
            process.communicate()


def test_as_long_as_no_server_answers_the_uplink_says_so(place: Place) -> None:
    assert until(lambda: "no DHCP server on physnet has answered yet" in place.uplink())


def test_the_host_gets_an_address_and_a_way_out_and_its_guests_leave_behind_it(place: Place) -> None:
    place.serve("203.0.113.70")
    assert until(lambda: place.has("203.0.113.70/24"))
    assert "default via 203.0.113.1 dev wx-physnet" in place.machine.run("ip route")
    leave = "ip netns exec weft.given.web ping -q -c 1 -W 1 203.0.113.1"
    assert until(lambda: " 0% packet loss" in place.machine.run(leave))


def test_a_client_that_is_killed_comes_back_and_the_address_stays_meanwhile(place: Place) -> None:
    before = place.machine.run("cat /run/weft/given/dhcp/wx-physnet.pid").strip()
    place.machine.run(f"kill -9 {before}")
    assert place.has("203.0.113.70/24")
    assert until(lambda: place.machine.run("cat /run/weft/given/dhcp/wx-physnet.pid").strip() not in ("", before))
    assert place.has("203.0.113.70/24")


def test_another_lease_replaces_the_first(place: Place) -> None:
    place.serve("203.0.113.80")
    place.machine.run("kill -USR2 $(cat /run/weft/given/dhcp/wx-physnet.pid); kill -USR1 $(cat /run/weft/given/dhcp/wx-physnet.pid)")
    assert until(lambda: place.has("203.0.113.80/24") and not place.has("203.0.113.70/24"))
