"""What `weft check` says of forwards and static routes."""

import pytest

from tests.fabrics import fabric
from weft.topology.errors import WeftError

SOUND = """\
fabric: test
segments:
  office:
    mode: nat
    subnets: [192.168.122.0/24, "fd00:122::/64"]
    ra: false
    uplink: physnet
    forwards:
      - {listen: tcp/8080, to: web1.eth0, port: 80}
      - {listen: udp/53, to: web1.eth0}
      - {listen: tcp/8080, to: web2.eth0, port: 80}
  branch: {mode: routed, subnets: [192.168.2.0/24], uplink: physnet, routes: [{to: 10.20.0.0/16, via: 192.168.2.9}]}
  db: {mode: isolated, subnets: [10.0.9.0/24]}
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [nic0]}}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [nic0]}}}
guests:
  web1: {host: kvm1, nics: [{segment: office}]}
  web2: {host: kvm2, nics: [{segment: office}]}
"""

ROUTE = "{to: 10.20.0.0/16, via: 192.168.2.9}"
SPOILT = [
    ("udp/53", "tcp/8080", ['10: segment "office": tcp/8080 on "physnet" of host "kvm1" is forwarded on line 9 already']),
    ("web2.eth0, port", "web1.eth0, port", ['11: segment "office": tcp/8080 on "physnet" of host "kvm1" is forwarded on line 9 already']),
    ("to: web2.eth0", "to: web3.eth0", ['11: segment "office": there is no endpoint "web3.eth0", did you mean "web2.eth0"?']),
    ("udp/53", "sctp/53",
     ['10: segment "office": sctp/53: sctp is not forwarded, Open vSwitch\'s userspace datapath does not follow its connections']),
    ("udp/53", "udp/6081", ['10: segment "office": udp/6081 is where the tunnels between hosts come in']),
    ("mode: nat", "mode: routed", [f'{line}: segment "office": forwards are for nat segments, this one is routed' for line in (9, 10, 11)]),
    (ROUTE, "{to: 10.20.0.0/16, via: 192.168.3.9}", ['12: segment "branch": route via 192.168.3.9, which is in none of its subnets']),
    (ROUTE, '{to: "fd00::/16", via: 192.168.2.9}',
     ['12: segment "branch": route to fd00::/16 via 192.168.2.9, which is of another version of IP']),
    (ROUTE, "{to: 192.168.2.128/25, via: 192.168.2.9}",
     ['12: segment "branch": route to 192.168.2.128/25, which is in its own subnet 192.168.2.0/24']),
    (ROUTE, f"{ROUTE}, {ROUTE}", ['12: segment "branch": route to 10.20.0.0/16 is said on line 12 already']),
    ("10.0.9.0/24]", "10.0.9.0/24], routes: [{to: 10.1.0.0/16, via: 10.0.9.9}]",
     ['13: segment "db": routes are for nat and routed segments, this one is isolated']),
]  # fmt: skip


def test_forwards_to_guests_of_different_hosts_may_listen_on_one_port() -> None:
    assert len(fabric(SOUND).segments["office"].forwards) == 3


@pytest.mark.parametrize(("said", "instead", "complaints"), SPOILT)
def test_a_spoilt_file_is_refused_in_these_words(said: str, instead: str, complaints: list[str]) -> None:
    assert SOUND.count(said) == 1
    with pytest.raises(WeftError) as refused:
        fabric(SOUND.replace(said, instead))
    assert [line.partition("test.yaml:")[2] for line in refused.value.lines] == complaints


def test_a_forward_needs_a_guest_with_an_ipv4_address() -> None:
    taken = SOUND.replace("192.168.122.0/24", "192.168.122.0/30")
    with pytest.raises(WeftError) as refused:
        fabric(taken)
    assert any("which has no IPv4 address" in line for line in refused.value.lines)
