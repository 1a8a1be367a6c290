"""Overlays of vxlan and gre: full-size packets, and tunnels watched by 802.1ag and by BFD."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.labs import Lab, lab
from weft.topology.overlay import OVERHEAD

pytestmark = pytest.mark.real

TEXT = """
fabric: {name}
overlay: {{type: {type}, watch: {watch}}}
hosts:
  kvm1: {{address: 10.10.10.1/24, uplinks: {{physnet: {{nics: [ens224]}}}}}}
  kvm2: {{address: 10.10.10.2/24, uplinks: {{physnet: {{nics: [ens224]}}}}}}
segments:
  db: {{mode: isolated, subnets: [10.0.9.0/24]}}
guests:
  a: {{host: kvm1, nics: [{{segment: db, ip: 10.0.9.11}}]}}
  b: {{host: kvm2, nics: [{{segment: db, ip: 10.0.9.12}}]}}
lab: {{outside: 203.0.113.0/24}}
"""
OVERLAYS = {"vxlan": "cfm", "gre": "bfd"}


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Lab]]:
    name = f"trf{request.param}"
    file: Path = tmp_path_factory.mktemp(name) / f"{name}.yaml"
    file.write_text(TEXT.format(name=name, type=request.param, watch=OVERLAYS[request.param]))
    with lab(file, name) as here:
        yield request.param, here


def test_guests_have_the_mtu_that_is_left_and_packets_of_that_size_pass_whole(overlay: tuple[str, Lab]) -> None:
    kind, real = overlay
    mtu = 1500 - OVERHEAD[kind][4]
    assert f" mtu {mtu} " in real.exec("a", "ip", "link", "show", "eth0").stdout
    assert real.pings("a", "10.0.9.12", "-M", "do", "-s", str(mtu - 28))
    assert not real.pings("a", "10.0.9.12", "-M", "do", "-s", str(mtu - 27))


def test_one_byte_more_would_not_pass_the_tunnel(overlay: tuple[str, Lab]) -> None:
    """The number is the tunnel's, and not only smaller than it must be."""
    kind, real = overlay
    mtu = 1500 - OVERHEAD[kind][4]
    for guest in ("a", "b"):
        real.exec(guest, "ip", "link", "set", "eth0", "mtu", "1500")
    try:
        assert real.pings("a", "10.0.9.12", "-M", "do", "-s", str(mtu - 28))
        assert not real.pings("a", "10.0.9.12", "-M", "do", "-s", str(mtu - 27))
    finally:
        for guest in ("a", "b"):
            real.exec(guest, "ip", "link", "set", "eth0", "mtu", str(mtu))


def test_full_size_tcp_crosses_the_overlay(overlay: tuple[str, Lab]) -> None:
    _, real = overlay
    server = real.start("b", "iperf3", "-s", "-1")
    try:
        done = real.exec("a", "sh", "-c", "for n in 1 2 3 4 5 6 7 8 9 10; do iperf3 -c 10.0.9.12 -n 2M && exit; sleep 0.3; done; exit 1")
    finally:
        server.kill()
        server.communicate()
    assert done.returncode == 0, done.stdout + done.stderr


def until(real: Lab, state: str) -> list[str]:
    """The reasons, once all tunnels are in a state."""
    tunnels = []
    for _ in range(60):
        tunnels = [row for row in real.show("links") if row["kind"] != "uplink"]
        if tunnels and {row["state"] for row in tunnels} == {state}:
            return [row["reason"] for row in tunnels]
        time.sleep(0.5)
    raise AssertionError(tunnels)


def test_a_tunnel_is_down_while_its_cable_is_pulled_and_up_afterwards(overlay: tuple[str, Lab]) -> None:
    kind, real = overlay
    assert {row["kind"] for row in real.show("links")} == {"uplink", kind}
    assert until(real, "up") == ["", ""]
    real.run("lab", "fail", "link", "kvm2", "--fabric", real.fabric)
    assert all(reason.startswith(OVERLAYS[kind]) for reason in until(real, "down"))
    real.run("lab", "heal", "link", "kvm2", "--fabric", real.fabric)
    until(real, "up")
    assert real.pings("a", "10.0.9.12")
