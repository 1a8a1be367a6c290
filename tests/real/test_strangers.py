"""A guest that the file does not name, plugged in as libvirt plugs it in: real switch, real packets."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.labs import Lab, lab

pytestmark = pytest.mark.real

FABRIC = """
fabric: strange
segments:
  db: {mode: isolated, subnets: [10.0.9.0/24]}
hosts:
  kvm1: {address: 10.10.10.1/24}
  kvm2: {address: 10.10.10.2/24}
guests:
  one: {host: kvm1, nics: [{segment: db, ip: 10.0.9.11}]}
  two: {host: kvm2, nics: [{segment: db, ip: 10.0.9.12}]}
"""
MAC = "52:54:00:aa:bb:01"
SPACE = "weft.strange.guest"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("strange") / "strange.yaml"
    file.write_text(FABRIC)
    with lab(file, "strange") as here:
        plug(here)
        yield here


def plug(here: Lab) -> None:
    """A namespace behind a port that libvirt would have made."""
    ip = lambda *words: subprocess.run(["ip", *words], check=True)  # noqa: E731
    ip("netns", "add", SPACE)
    ip("-n", "weft.strange.kvm1", "link", "add", "vnet7", "type", "veth", "peer", "name", "eth0", "netns", SPACE)
    ip("-n", SPACE, "link", "set", "eth0", "address", MAC, "up")
    ip("-n", SPACE, "addr", "add", "10.0.9.77/24", "dev", "eth0")
    ip("-n", "weft.strange.kvm1", "link", "set", "vnet7", "up")
    subprocess.run(["ip", "netns", "exec", SPACE, "ethtool", "-K", "eth0", "tx", "off"], check=True, capture_output=True)
    ids = ("external_ids:port-profile=db", f'external_ids:attached-mac="{MAC}"')
    here.ovs("kvm1", "ovs-vsctl", "add-port", "br-weft", "vnet7", "--", "set", "interface", "vnet7", *ids)


def stranger(here: Lab) -> dict[str, object] | None:
    return next((row for row in here.show("guests") if row["attach"] == "stranger"), None)


def shown(here: Lab) -> dict[str, object]:
    for _ in range(100):
        if (row := stranger(here)) and row["state"] == "wired":
            return row
        time.sleep(0.1)
    raise AssertionError(stranger(here))


def test_it_is_shown_with_its_segment_and_mac(real: Lab) -> None:
    row = shown(real)
    assert (row["endpoint"], row["segment"], row["mac"]) == ("kvm1/vnet7", "db", MAC)


@pytest.mark.parametrize("guest", ["one", "two"])
def test_guests_here_and_on_another_host_reach_it(real: Lab, guest: str) -> None:
    shown(real)
    assert any(real.pings(guest, "10.0.9.77") for _ in range(5))


def test_it_goes_when_its_port_goes(real: Lab) -> None:
    real.ovs("kvm1", "ovs-vsctl", "del-port", "br-weft", "vnet7")
    for _ in range(100):
        if stranger(real) is None:
            break
        time.sleep(0.1)
    assert stranger(real) is None
    assert not any("vnet7" in flow or MAC in flow for flow in real.flows("kvm1"))
