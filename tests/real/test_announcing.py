"""A guest that the file puts on another host is announced from there: to its segment, and to switches and neighbours on the wire."""

import re
from collections.abc import Iterator

import pytest

from tests.real.hypervisors import until
from tests.real.labs import Lab, lab

pytestmark = pytest.mark.real

NAME = "announce"
FABRIC = """
fabric: announce
segments:
  flat: {mode: bridged, subnets: [203.0.113.0/24, "fd00:113::/64"], gateway: 203.0.113.1, uplink: physnet}
  lan: {mode: bridged, uplink: physnet, vlan: 7}
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [nic0]}}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [nic0]}}}
guests:
  one:
    host: kvm1
    nics:
      - {segment: flat, ip: [203.0.113.51, "fd00:113::51"], mac: "52:54:00:00:07:01"}
      - {segment: lan, ip: 10.7.0.1/24, mac: "52:54:00:00:07:02"}
  two: {host: kvm1, nics: [{segment: flat, ip: 203.0.113.52}]}
"""
SAID = {
    "flat": r"52:54:00:00:07:01 > ff:ff:ff:ff:ff:ff, ethertype ARP .*Request who-has 203\.0\.113\.51 tell 203\.0\.113\.51",
    "flat, IPv6": r"52:54:00:00:07:01 > 33:33:00:00:00:01, .*fd00:113::51 > ff02::1: .*neighbor advertisement, tgt is fd00:113::51",
    "lan": r"52:54:00:00:07:02 > ff:ff:ff:ff:ff:ff, ethertype 802\.1Q .*vlan 7, .*Request who-has 10\.7\.0\.1 tell 10\.7\.0\.1",
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file = tmp_path_factory.mktemp("announce") / "announce.yaml"
    file.write_text(FABRIC)
    with lab(file, NAME) as made:
        yield made


def test_outside_hears_where_a_guest_is_now_for_every_segment_and_address(here: Lab) -> None:
    (wire,) = set(re.findall(r"^\d+: ([^:@]+)[@:].*state UP", here.exec("outside", "ip", "-o", "link").stdout, re.M)) - {"lo"}
    only = "ether src 52:54:00:00:07:01 or ether src 52:54:00:00:07:02"
    log = here.file.with_name("heard")
    hears = here.start("outside", "sh", "-c", f"exec tcpdump -l -n -e -i {wire} {only} >{log} 2>&1")
    assert until(lambda: log.exists() and "listening on" in log.read_text(), 20)
    here.file.write_text(FABRIC.replace("one:\n    host: kvm1", "one:\n    host: kvm2"))
    here.run("apply", here.file)
    assert until(lambda: here.pings("one", "203.0.113.52"), 20)
    twice = lambda: all(len(re.findall(line, log.read_text())) >= 2 for line in SAID.values())  # noqa: E731
    heard = until(twice, 20)
    hears.terminate()
    hears.communicate(timeout=10)
    assert heard, log.read_text()
