"""What a guest's own XML says of its NICs, for each way to attach one."""

import xml.etree.ElementTree as ET

import pytest

from tests.topology.sound import fabric
from weft.topology.errors import WeftError
from weft.topology.interface_xml import interface

GUESTS = """\
fabric: shop
hosts:
  kvm1:
    libvirt: qemu:///system
    uplinks: {physnet: {nics: [ens1]}}
    sriov: {ens2: {vfs: 2, uplink: physnet}}
    macvtap: {ens3: {uplink: physnet}}
segments:
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  flat: {mode: bridged, uplink: physnet}
guests:
  web: {host: kvm1, nics: [{segment: lan, mac: "52:54:00:00:00:01", attach: libvirt}]}
  fast: {host: kvm1, nics: [{segment: lan, mac: "52:54:00:00:00:01", attach: {vf: ens2}}]}
  bare: {host: kvm1, nics: [{segment: flat, mac: "52:54:00:00:00:01", attach: {vf: ens2}}]}
  plain: {host: kvm1, nics: [{segment: lan, mac: "52:54:00:00:00:01", attach: {macvtap: ens3}}]}
  tap: {host: kvm1, nics: [{segment: lan, mac: "52:54:00:00:00:01"}]}
  space: {host: kvm1, nics: [{segment: lan, attach: netns}]}
  theirs: {host: kvm1, nics: [{segment: lan, attach: {port: vnet7}}]}
"""
LINES = GUESTS.splitlines(keepends=True)
PCI = "0000:01:10.6"


def said(guest: str, pci: str = "") -> str:
    """In a file with this guest alone, so that all may have the same MAC."""
    head = LINES[: LINES.index("guests:\n") + 1]
    found = fabric("".join([*head, *(line for line in LINES if line.startswith(f"  {guest}:"))]))
    return interface(found, found.endpoints[f"{guest}.eth0"], pci)


MAC = "<mac address='52:54:00:00:00:01'/>"
XML = {
    "web": f"<interface type='network'>{MAC}<source network='shop-lan'/><model type='virtio'/><mtu size='1500'/></interface>",
    "fast": f"<interface type='hostdev' managed='yes'>{MAC}<source><address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x6'/>"
    "</source><vlan><tag id='5'/></vlan></interface>",
    "bare": f"<interface type='hostdev' managed='yes'>{MAC}<source><address type='pci' domain='0x0000' bus='0x01' slot='0x10' function='0x6'/>"
    "</source></interface>",
    "plain": f"<interface type='ethernet'>{MAC}<target dev='plain-eth0' managed='no'/><model type='virtio'/></interface>",
    "tap": f"<interface type='ethernet'>{MAC}<target dev='tap-eth0' managed='no'/><model type='virtio'/></interface>",
}


@pytest.mark.parametrize("guest", XML)
def test_each_way_to_attach_has_its_xml(guest: str) -> None:
    assert ET.canonicalize(said(guest, PCI), strip_text=True) == ET.canonicalize(XML[guest])


@pytest.mark.parametrize(
    ("guest", "why"),
    [
        ("fast", "fast.eth0: the PCI address of its virtual function is not known yet: weft show nics says why"),
        ("space", "space.eth0 is a veth into a namespace, which no machine of libvirt's opens: attach: libvirt"),
        ("theirs", "theirs.eth0 is port vnet7, which somebody else makes and knows the XML of"),
    ],
)
def test_what_has_none_is_said(guest: str, why: str) -> None:
    with pytest.raises(WeftError, match=f"^{why}$"):
        said(guest)
