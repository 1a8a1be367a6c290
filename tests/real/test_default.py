"""`weft up` without a file: what a new libvirt gives, to a guest that the host's owner plugs in."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.real.alone import ROOT, Alone, alone
from tests.real.test_up import HOST
from tests.real.waiting import until

pytestmark = pytest.mark.real

MAC = "52:54:00:aa:bb:02"
GUEST = f"""
ip netns add vnet
ip link add vnet0 type veth peer name eth0 netns vnet
ip link set vnet0 up
ip -n vnet link set eth0 address {MAC}
ip -n vnet link set eth0 up
ip -n vnet link set lo up
ip netns exec vnet ethtool -K eth0 tx off tso off gso off >/dev/null
ovs-vsctl add-port br-weft vnet0 -- set interface vnet0 external_ids:port-profile=default 'external_ids:attached-mac="{MAC}"'
"""
SCRIPT = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address replace $ip/$mask dev $interface
ip route replace default via $router
echo "$ip $router $dns $mtu"
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Alone]:
    with alone(network=True) as machine:
        assert machine.run(HOST) == ""
        running = machine.start(str(ROOT / ".venv/bin/weft"), "up", "--host", "kvm1")
        try:
            yield machine
        finally:
            machine.run("kill -TERM $(pgrep -xf '.*weft up .*')")
            running.communicate(timeout=30)


def stranger(machine: Alone) -> dict[str, str]:
    try:
        rows = json.loads(machine.run(".venv/bin/weft show guests --json 2>/dev/null"))
    except ValueError:
        return {}
    return next((row for row in rows if row["attach"] == "stranger"), {})


@pytest.fixture(scope="module")
def guest(host: Alone) -> Alone:
    assert until(lambda: "br-weft" in host.run("ovs-vsctl list-br"))
    assert host.run(GUEST) == ""
    assert until(lambda: stranger(host).get("state") == "wired")
    host.run(f"cat >/run/weft/udhcpc <<'END'\n{SCRIPT}END\nchmod +x /run/weft/udhcpc")
    return host


def test_the_hosts_nic_and_address_are_as_they_were(host: Alone) -> None:
    assert until(lambda: "br-weft" in host.run("ovs-vsctl list-br"))
    assert "203.0.113.11/24" in host.run("ip -br address show nic0")
    assert host.run("ovs-vsctl list-br") == "br-weft\n"


def test_the_file_is_there_to_be_changed(host: Alone) -> None:
    assert "192.168.122.0/24" in host.run("cat /etc/weft/default.yaml")
    assert "1 host, 1 segment, 0 guests" in host.run(".venv/bin/weft check /etc/weft/default.yaml")


def test_a_guest_gets_an_address_and_reaches_the_world_behind_the_hosts(guest: Alone) -> None:
    said = guest.run("ip netns exec vnet udhcpc -i eth0 -f -q -n -t 20 -T 1 -s /run/weft/udhcpc 2>&1")
    assert "192.168.122.1 192.168.122.1" in said, said
    assert " 0% packet loss" in guest.run("ip netns exec vnet ping -q -c 2 -i 0.2 -W 2 203.0.113.1")
    watched = guest.start("ip", "netns", "exec", "far", "timeout", "10", "tcpdump", "-lnc1", "-i", "nic0", "icmp[0] == 8")
    time.sleep(1)
    guest.run("ip netns exec vnet ping -q -c 3 -i 0.2 -W 2 203.0.113.1")
    assert "203.0.113.11 > 203.0.113.1" in watched.communicate(timeout=20)[0]


def test_a_guest_resolves_what_its_host_resolves(guest: Alone) -> None:
    serve = "dnsmasq -d -C /dev/null --no-resolv --no-hosts --address=/shop.test/198.51.100.7 --listen-address=203.0.113.1 --bind-interfaces"
    far = guest.start("ip", "netns", "exec", "far", *serve.split())
    try:
        guest.run("echo nameserver 203.0.113.1 >/run/weft/resolv.conf; mount --bind /run/weft/resolv.conf /etc/resolv.conf")
        asked = "ip netns exec vnet dig +short +time=1 +tries=1 @192.168.122.1 shop.test"
        assert until(lambda: guest.run(asked) == "198.51.100.7\n"), guest.run(asked)
    finally:
        guest.run("kill $(pgrep -xf '.*dnsmasq .*shop.test.*')")
        far.communicate(timeout=20)


def test_nothing_from_outside_reaches_the_guest(guest: Alone) -> None:
    guest.run("ip netns exec far ip route add 192.168.122.0/24 via 203.0.113.11")
    address = guest.run("ip -n vnet -4 -br address show eth0").split()[-1].partition("/")[0]
    assert "100% packet loss" in guest.run(f"ip netns exec far ping -q -c 2 -i 0.2 -W 1 {address}")
