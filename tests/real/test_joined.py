"""A Linux bridge that the host has and keeps, as an uplink's neighbour: real packets through it, and nothing of it but one port is weft's."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.labs import Lab, lab
from tests.real.uplink import Uplinked, until, uplinked

pytestmark = pytest.mark.real

FILE = """
fabric: joined
segments:
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  flat: {mode: bridged, uplink: physnet}
  office: {mode: nat, uplink: host, subnets: [192.168.122.0/24], span: host}
hosts:
  kvm1: {uplinks: {physnet: {bridge: br0}}}
  kvm2: {uplinks: {physnet: {nics: [ens224]}}}
guests:
  lan1: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.1/24}]}
  lan2: {host: kvm2, nics: [{segment: lan, ip: 10.5.0.2/24}]}
  flat1: {host: kvm1, nics: [{segment: flat, ip: 203.0.113.51/24}]}
  flat2: {host: kvm2, nics: [{segment: flat, ip: 203.0.113.52/24}]}
  web1: {host: kvm1, nics: [{segment: office}]}
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("joined") / "joined.yaml"
    file.write_text(FILE)
    with lab(file, "joined") as here:
        yield here


def ports(real: Lab) -> set[str]:
    told = json.loads(real.exec("kvm1", "ip", "-json", "link", "show", "master", "br0").stdout or "[]")
    return {link["ifname"] for link in told}


def test_every_ping_is_answered_or_not_as_the_flows_say(real: Lab) -> None:
    pings = json.loads(real.run("lab", "ping", real.fabric, "--json"))
    answers = {(ping["from"], ping["to"]): ping["answered"] for ping in pings}
    assert answers["lan1", "lan2.eth0"] and answers["flat1", "outside"] and answers["outside", "flat1.eth0"] and answers["web1", "outside"]
    assert [ping for ping in pings if ping["expected"] != ping["answered"]] == []


def test_the_host_reaches_its_guests_and_they_reach_it_by_its_own_bridge(real: Lab) -> None:
    assert real.pings("kvm1", "203.0.113.51")
    assert real.pings("flat1", "203.0.113.11")
    assert ports(real) == {"e.physnet", "n.physnet"}
    assert not [line for line in real.exec("kvm1", "ip", "-br", "address").stdout.splitlines() if line.startswith("wx-") and "/" in line]


def test_the_host_downloads_from_a_guest_at_full_frames(real: Lab) -> None:
    """Checksums that the kernel leaves unfinished are finished before Open vSwitch gets the frame."""
    served = "import socket; s = socket.create_server(('', 8080)); c, _ = s.accept(); c.sendall(bytes(1 << 20)); c.close()"
    real.exec("flat1", "sh", "-c", f'python3 -c "{served}" >/dev/null 2>&1 &')
    until(lambda: ":8080" in real.exec("flat1", "ss", "-tln").stdout)
    got = real.exec("kvm1", "python3", "-c", (
        "import socket; s = socket.create_connection(('203.0.113.51', 8080), 5); n = 0\n"
        "while d := s.recv(65536): n += len(d)\nprint(n)"
    ))  # fmt: skip
    assert got.stdout.strip() == str(1 << 20), got.stderr


def test_a_port_that_somebody_takes_out_comes_back(real: Lab) -> None:
    real.exec("kvm1", "ip", "link", "set", "n.physnet", "nomaster")
    until(lambda: "n.physnet" in ports(real))
    until(lambda: real.pings("flat1", "203.0.113.1"))
    real.exec("kvm1", "ip", "link", "del", "n.physnet")
    until(lambda: "n.physnet" in ports(real))
    until(lambda: real.pings("lan1", "10.5.0.2"))


def test_a_linux_bridge_that_goes_is_said_and_taken_again_when_it_comes(real: Lab) -> None:
    real.exec("kvm1", "ip", "link", "set", "br0", "name", "br9")
    until(lambda: "there is no Linux bridge br0" in real.run("show", "hosts", "--fabric", real.fabric))
    real.exec("kvm1", "ip", "link", "set", "br9", "name", "br0")
    until(lambda: "physnet wired" in real.run("show", "hosts", "--fabric", real.fabric).splitlines()[1])
    until(lambda: real.pings("flat1", "203.0.113.1"))


def test_what_is_released_leaves_the_linux_bridge_as_it_was() -> None:
    """The host gets to its store by it all the while."""
    with uplinked(within=30) as here:
        for line in (
            "link add br0 type bridge forward_delay 0", "link set br0 up", "address flush dev nic0", "link set nic0 master br0",
            "address add 203.0.113.11/24 brd + dev br0", "route add default via 203.0.113.1",
        ):  # fmt: skip
            here.ovs.inside("ip", *line.split())
        before = as_it_is(here)
        here.apply("physnet: {bridge: br0}")
        here.start()
        until(lambda: here.state().get("state") == "wired")
        assert as_it_is(here) == before
        assert {"j.physnet", "n.physnet"} <= links(here)
        here.apply("")
        until(lambda: not {"j.physnet", "n.physnet", "wx-physnet"} & links(here))
        assert as_it_is(here) == before
        assert here.told() == {}


def as_it_is(here: Uplinked) -> object:
    """What the host would notice of a change of its own bridge."""
    told = json.loads(here.ovs.inside("ip", "-json", "-details", "address", "show", "dev", "br0"))[0]
    kept = {key: told[key] for key in ("mtu", "address", "flags", "operstate")}
    return kept, sorted(each["local"] for each in told["addr_info"]), here.ovs.inside("ip", "route"), here.reaches()


def links(here: Uplinked) -> set[str]:
    return {link["ifname"] for link in json.loads(here.ovs.inside("ip", "-json", "link"))}
