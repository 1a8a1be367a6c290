"""What `weft check` says of an uplink that is a Linux bridge of the host's."""

import pytest

from tests.fabrics import fabric
from weft.topology.errors import WeftError

SOUND = """\
fabric: test
segments:
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  office: {mode: nat, uplink: other, subnets: [192.168.122.0/24]}
hosts:
  kvm1:
    uplinks:
      physnet: {bridge: br0}
      other: {nics: [nic0]}
guests:
  web1: {host: kvm1, nics: [{segment: lan}]}
"""
BR0 = "{bridge: br0}"
TAKEN = "on host \"kvm1\" is that of line {} already: choose another name"
AWAY = 'is Linux bridge "br0" on host "kvm1", with the host\'s address on that'
KEEPS = 'goes with nics: "br0" keeps its NICs and the host\'s address'
SPOILT = [
    (BR0, "{}", ['8: host "kvm1" uplink "physnet": needs nics, or bridge: a Linux bridge that the host has and keeps']),
    (BR0, "{bridge: br0, nics: [nic1]}", ['8: host "kvm1" uplink "physnet": has nics too: put them into "br0" yourself, or leave it out']),
    (BR0, "{bridge: br-weft}", [f'8: host "kvm1" uplink "physnet": its interface "br-weft" {TAKEN.format(6)}']),
    (BR0, "{bridge: br0, address: dhcp}", [f'8: host "kvm1" uplink "physnet": {KEEPS}']),
    (BR0, "{bridge: br0, address: keep}", [f'8: host "kvm1" uplink "physnet": {KEEPS}']),
    (BR0, "{bridge: br0, bond: lacp}", [f'8: host "kvm1" uplink "physnet": {KEEPS}']),
    ("{nics: [nic0]}", BR0,
     [f'4: segment "office": "other" {AWAY}: uplink: host leaves by it',
      f'9: host "kvm1" uplink "other": its interface "br0" {TAKEN.format(8)}']),
    ("nat, uplink: other", "routed, uplink: physnet", [f'4: segment "office": "physnet" {AWAY}: a bridged segment is on it']),
    ("{nics: [nic0]}", "{nics: [br0]}", [f'9: host "kvm1" uplink "other": its interface "br0" {TAKEN.format(8)}']),
]  # fmt: skip


def test_the_host_keeps_its_address_there() -> None:
    uplink = fabric(SOUND).hosts["kvm1"].uplinks["physnet"]
    assert (uplink.joins, uplink.address, uplink.devices) == ("br0", "none", ("br0",))


def test_address_none_may_be_said() -> None:
    assert fabric(SOUND.replace(BR0, "{bridge: br0, address: none}")).hosts["kvm1"].uplinks["physnet"].address == "none"


@pytest.mark.parametrize(("said", "instead", "complaints"), SPOILT)
def test_a_spoilt_file_is_refused_in_these_words(said: str, instead: str, complaints: list[str]) -> None:
    with pytest.raises(WeftError) as refused:
        fabric(SOUND.replace(said, instead))
    assert [line.partition("test.yaml:")[2] for line in refused.value.lines] == complaints
