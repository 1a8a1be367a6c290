"""libvirt's view of a fabric: each segment as a libvirt network, in the XML of https://libvirt.org/formatnetwork.html. So are its pools: a
network that gives guests macvtaps on a NIC for each of its segments, and one that gives them virtual functions for all segments of a card.

A network of ours carries its mark in ``<metadata>``: the fabric, the segment, the NIC of a pool. libvirt keeps it, adds what it makes up
itself (a uuid, a MAC, ``stp`` and ``delay`` of the bridge), and orders attributes its own way: what is the same is told by `same`.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import NamedTuple

MARK = "urn:weft:network"
"""XML namespace of the mark."""
ET.register_namespace("weft", MARK)
ADDED = {"uuid", "mac"}
"""Elements that libvirt makes up where they are missing."""
ADDED_TO = {"bridge": {"stp", "delay"}, "forward": {"dev"}}
"""Attributes that it makes up."""


class Mark(NamedTuple):
    fabric: str
    segment: str
    nic: str = ""
    """Of a pool: the NIC that its guests hang on."""

    def __str__(self) -> str:
        parts = (f"segment {self.segment}" if self.segment else "", f"NIC {self.nic}" if self.nic else "")
        return f"{' on '.join(filter(None, parts))} of fabric {self.fabric}"


def network_name(fabric: str, segment: str) -> str:
    return f"{fabric}-{segment}"


def pool_name(fabric: str, nic: str, segment: str = "") -> str:
    """Of the macvtaps on a NIC for one segment; without, of its virtual functions."""
    return "-".join(filter(None, (fabric, segment, nic)))


def bridge_network(fabric: str, segment: str, bridge: str) -> str:
    """The network whose guests are plugged into `bridge`, an Open vSwitch's: their ports say the segment by ``port-profile``."""
    port = ET.Element("virtualport", type="openvswitch")
    ET.SubElement(port, "parameters", profileid=segment)
    body = (ET.Element("forward", mode="bridge"), ET.Element("bridge", name=bridge), port)
    return _marked(network_name(fabric, segment), Mark(fabric, segment), body)


def device_network(fabric: str, segment: str, nic: str, lower: str) -> str:
    """The network whose guests get a macvtap on `lower`, which is `nic` or a VLAN of it."""
    forward = ET.Element("forward", mode="bridge")
    ET.SubElement(forward, "interface", dev=lower)
    return _marked(pool_name(fabric, nic, segment), Mark(fabric, segment, nic), (forward,))


def card_network(fabric: str, nic: str, vlans: Mapping[str, int | None]) -> str:
    """The network whose guests get virtual functions of a NIC, so far without any (`with_functions`). `vlans`: of segments, each a portgroup;
    who names none is in the first."""
    groups = [ET.Element("portgroup", name=segment) for segment in vlans]
    groups[0].set("default", "yes")
    for group, vlan in zip(groups, vlans.values(), strict=True):
        if vlan is not None:
            ET.SubElement(ET.SubElement(group, "vlan"), "tag", id=str(vlan))
    return _marked(pool_name(fabric, nic), Mark(fabric, "", nic), (ET.Element("forward", mode="hostdev", managed="yes"), *groups))


def with_functions(text: str, addresses: Iterable[str]) -> str:
    """A `card_network` with the virtual functions at these PCI addresses (``0000:01:10.0``)."""
    network = ET.fromstring(text)
    forward = network.find("forward")
    assert forward is not None
    forward.extend(pci_address(address) for address in addresses)
    ET.indent(network)
    return ET.tostring(network, encoding="unicode")


def pci_address(address: str) -> ET.Element:
    domain, bus, slot, function = address.replace(".", ":").split(":")
    return ET.Element("address", type="pci", domain=f"0x{domain}", bus=f"0x{bus}", slot=f"0x{slot}", function=f"0x{function}")


def _marked(name: str, mark: Mark, body: Iterable[ET.Element]) -> str:
    network = ET.Element("network")
    ET.SubElement(network, "name").text = name
    metadata = ET.SubElement(network, "metadata")
    said = {"fabric": mark.fabric, "segment": mark.segment, "nic": mark.nic}
    ET.SubElement(metadata, f"{{{MARK}}}network", {key: value for key, value in said.items() if value})
    network.extend(body)
    ET.indent(network)
    return ET.tostring(network, encoding="unicode")


def mark_of(text: str) -> Mark | None:
    """Whose a network is; None: not weft's."""
    found = ET.fromstring(text).find(f"metadata/{{{MARK}}}network")
    return None if found is None else Mark(*(found.get(key, "") for key in Mark._fields))


def same(meant: str, found: str) -> bool:
    """Whether libvirt's definition of a network says what is meant, and nothing else but what libvirt adds."""
    return _canonical(ET.fromstring(meant)) == _canonical(ET.fromstring(found))


def _canonical(element: ET.Element) -> tuple[object, ...]:
    ignored = ADDED_TO.get(element.tag, set())
    attributes = tuple(sorted((key, value) for key, value in element.attrib.items() if key not in ignored and key != "connections"))
    inside = sorted((_canonical(child) for child in element if child.tag not in ADDED), key=repr)
    return element.tag, attributes, (element.text or "").strip(), tuple(inside)
