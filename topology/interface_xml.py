"""What a libvirt guest's own XML says of a NIC (https://libvirt.org/formatdomain.html#network-interfaces), for each way to attach it."""

import xml.etree.ElementTree as ET

from weft.topology.errors import WeftError
from weft.topology.libvirt_xml import network_name, pci_address
from weft.topology.model import Endpoint, Fabric


def interface(fabric: Fabric, endpoint: Endpoint, pci: str = "") -> str:
    """The ``<interface>`` of an endpoint. `pci`: where its virtual function is. Raises WeftError where libvirt has no such NIC."""
    segment = fabric.segments[endpoint.segment]
    match endpoint.attach:
        case "libvirt":
            return network_interface(endpoint.mac, network_name(fabric.name, endpoint.segment), segment.mtu)
        case "vf":
            return _function(endpoint, segment.vlan, pci)
        case "macvtap" | "tap":
            return _ready_made(endpoint)
        case "netns":
            raise WeftError(f"{endpoint.cable} is a veth into a namespace, which no machine of libvirt's opens: attach: libvirt")
    raise WeftError(f"{endpoint.cable} is port {endpoint.port}, which somebody else makes and knows the XML of")


def network_interface(mac: str, network: str, mtu: int) -> str:
    """Plugged into a network of libvirt's."""
    nic = _nic("network", mac)
    ET.SubElement(nic, "source", network=network)
    ET.SubElement(nic, "model", type="virtio")
    ET.SubElement(nic, "mtu", size=str(mtu))
    return _text(nic)


def _function(endpoint: Endpoint, vlan: int | None, pci: str) -> str:
    """By its PCI address. libvirt clears what it is not told when the machine starts: the VLAN too."""
    if not pci:
        raise WeftError(f"{endpoint.name}: the PCI address of its virtual function is not known yet: weft show nics says why")
    nic = _nic("hostdev", endpoint.mac)
    nic.set("managed", "yes")
    ET.SubElement(nic, "source").append(pci_address(pci))
    if vlan is not None:
        ET.SubElement(ET.SubElement(nic, "vlan"), "tag", id=str(vlan))
    return _text(nic)


def _ready_made(endpoint: Endpoint) -> str:
    """A tap or a macvtap that the agent makes, and libvirt leaves as it is."""
    nic = _nic("ethernet", endpoint.mac)
    ET.SubElement(nic, "target", dev=endpoint.port, managed="no")
    ET.SubElement(nic, "model", type="virtio")
    return _text(nic)


def _nic(kind: str, mac: str) -> ET.Element:
    nic = ET.Element("interface", type=kind)
    ET.SubElement(nic, "mac", address=mac)
    return nic


def _text(nic: ET.Element) -> str:
    ET.indent(nic)
    return ET.tostring(nic, encoding="unicode")
