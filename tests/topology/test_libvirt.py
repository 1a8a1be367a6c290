"""What of libvirt a file may ask for, what each host gets of it, and how two definitions of a network are compared."""

import pytest

from tests.topology.sound import SOUND, fabric, faults
from weft.topology.hostrow import EndpointSpec, LibvirtSpec, NetworkSpec
from weft.topology.libvirt_xml import Mark, bridge_network, mark_of, same
from weft.topology.rows import host_rows

PLUGGED = SOUND.replace("kvm2: {", "kvm2: {libvirt: qemu:///system, ").replace("ip: 10.0.9.5", "attach: libvirt, ip: 10.0.9.5")
OWN = PLUGGED.replace("qemu:///system", '"qemu+unix:///system?socket=/run/one/libvirt-sock"')


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("qemu", 'libvirt "qemu" is no URI of libvirt: qemu:///system is the usual one'),
        ("qemu+ssh://root@kvm9/system", "libvirt qemu+ssh://root@kvm9/system is not on the host itself: qemu:///system, or "),
        ("test:///default", "libvirt test:///default is not on the host itself"),
        ("qemu:///session", "libvirt qemu:///session is a user's own, which has no networks on bridges: qemu:///system"),
    ],
)
def test_a_uri_that_cannot_be_meant_is_refused(uri: str, complaint: str) -> None:
    (said,) = faults(PLUGGED.replace("qemu:///system", f'"{uri}"'))
    assert said.startswith(f'4: host "kvm2": {complaint}')


def test_a_guest_of_libvirt_needs_it_on_its_host_and_one_segment() -> None:
    without = SOUND.replace("ip: 10.0.9.5", "attach: libvirt")
    assert faults(without) == ['11: endpoint "db1.eth0": host "kvm2" has no libvirt: give it libvirt: qemu:///system']
    trunk = PLUGGED.replace("segment: db, attach: libvirt, ip: 10.0.9.5", "trunk: {native: db, tags: {5: lan}}, attach: libvirt")
    assert faults(trunk) == ['11: endpoint "db1.eth0": libvirt plugs a NIC into one segment, not into a trunk: attach: {port: NAME}']


PIN = "6E8E1C2A-0d4f-4c39-9a57-2f1b0c7d9e11"
PINNED = PLUGGED.replace("attach: libvirt", f"attach: {{libvirt: {{interfaceid: {PIN}}}}}")


def test_a_guest_of_libvirt_may_be_known_by_the_id_of_its_interface() -> None:
    endpoint = fabric(PINNED).endpoints["db1.eth0"]
    assert (endpoint.attach, endpoint.pin) == ("libvirt", PIN.lower())
    row = host_rows(fabric(PINNED))["kvm2"]["endpoint/db1.eth0"]
    assert isinstance(row, EndpointSpec) and row.pin == PIN.lower()
    assert fabric(PLUGGED).endpoints["db1.eth0"].pin == ""


def test_an_interface_id_is_a_uuid_and_one_nics_alone() -> None:
    (said,) = faults(PINNED.replace(PIN, "port7"))
    assert "is not a UUID as" in said
    nic = f"{{segment: db, attach: {{libvirt: {{interfaceid: {PIN}}}}}}}"
    twice = PINNED.replace("nics: [{segment: db, attach", f"nics: [{nic}, {{segment: db, attach")
    assert faults(twice) == [f'11: endpoint "db1.eth1": interface id {PIN.lower()} is already that of "db1.eth0": each NIC has its own']


def test_a_host_has_a_network_for_every_segment_that_its_guests_can_be_in() -> None:
    rows = host_rows(fabric(PLUGGED))
    assert rows["kvm2"]["libvirt/kvm2"] == LibvirtSpec("qemu:///system", "shop")
    found = {spec.name for spec in rows["kvm2"].values() if isinstance(spec, NetworkSpec)}
    assert found == {f"shop-{name}" for name in fabric(PLUGGED).segments}
    assert not [spec for spec in rows["kvm1"].values() if isinstance(spec, NetworkSpec | LibvirtSpec)]
    elsewhere = PLUGGED.replace("[ens1]}}}", "[ens1]}, far: {nics: [ens9]}}}", 1).replace("uplink: physnet, vlan", "uplink: far, vlan")
    assert "network/shop-lan" not in host_rows(fabric(elsewhere))["kvm2"]


def test_a_lab_leaves_this_machines_libvirt_alone_and_a_namespace_stands_for_the_guest() -> None:
    inside = fabric(PLUGGED, lab=True)
    assert (inside.hosts["kvm2"].libvirt, inside.endpoints["db1.eth0"].attach) == (None, "netns")
    own = fabric(OWN, lab=True)
    assert (own.hosts["kvm2"].libvirt, own.endpoints["db1.eth0"].attach) == ("qemu+unix:///system?socket=/run/one/libvirt-sock", "libvirt")
    assert fabric(PLUGGED).endpoints["db1.eth0"].attach == "libvirt"


LIBVIRTS = """
<network connections='1'>
  <name>shop-db</name>
  <uuid>5b4d9bf5-6f8b-4f2e-9d0a-6d3a1f0d7b11</uuid>
  <metadata>
    <w:network xmlns:w="urn:weft:network" segment="db" fabric="shop"/>
  </metadata>
  <forward mode='bridge'/>
  <bridge name='br-weft'/>
  <virtualport type='openvswitch'>
    <parameters profileid='db'/>
  </virtualport>
</network>
"""


def test_a_definition_is_the_same_whatever_libvirt_adds_to_it() -> None:
    meant = bridge_network("shop", "db", "br-weft")
    assert same(meant, LIBVIRTS)
    assert mark_of(LIBVIRTS) == mark_of(meant) == Mark("shop", "db")
    for was, now in (("br-weft", "br0"), ("profileid='db'", "profileid='lan'"), ("<forward mode='bridge'/>", ""), ('fabric="shop"', "")):
        assert not same(meant, LIBVIRTS.replace(was, now))
    assert not same(meant, LIBVIRTS.replace("</network>", "<vlan><tag id='5'/></vlan></network>"))
    assert mark_of(LIBVIRTS.replace("urn:weft:network", "urn:other")) is None
