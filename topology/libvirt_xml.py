"""libvirt's view of a fabric: each segment as a libvirt network, in the XML of https://libvirt.org/formatnetwork.html.

A network of ours carries its mark in ``<metadata>``: the fabric and the segment. libvirt keeps it, adds what it makes up itself (a uuid, a
MAC, ``stp`` and ``delay`` of the bridge), and orders attributes its own way: what is the same is told by `same`.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import NamedTuple

MARK = "urn:weft:network"
"""XML namespace of the mark."""
ADDED = {"uuid", "mac"}
"""Elements that libvirt makes up where they are missing."""
ADDED_TO = {"bridge": {"stp", "delay"}, "forward": {"dev"}}
"""Attributes that it makes up."""


class Mark(NamedTuple):
    fabric: str
    segment: str


def network_name(fabric: str, segment: str) -> str:
    return f"{fabric}-{segment}"


def bridge_network(fabric: str, segment: str, bridge: str) -> str:
    """The network whose guests are plugged into `bridge`, an Open vSwitch's: their ports say the segment by ``port-profile``."""
    port = ET.Element("virtualport", type="openvswitch")
    ET.SubElement(port, "parameters", profileid=segment)
    return marked_network(fabric, segment, (ET.Element("forward", mode="bridge"), ET.Element("bridge", name=bridge), port))


def marked_network(fabric: str, segment: str, body: Iterable[ET.Element], name: str = "") -> str:
    """A network with our mark and this body, called FABRIC-SEGMENT or `name`."""
    ET.register_namespace("weft", MARK)
    network = ET.Element("network")
    ET.SubElement(network, "name").text = name or network_name(fabric, segment)
    metadata = ET.SubElement(network, "metadata")
    ET.SubElement(metadata, f"{{{MARK}}}network", fabric=fabric, segment=segment)
    network.extend(body)
    ET.indent(network)
    return ET.tostring(network, encoding="unicode")


def mark_of(text: str) -> Mark | None:
    """Whose a network is; None: not weft's."""
    found = ET.fromstring(text).find(f"metadata/{{{MARK}}}network")
    return None if found is None else Mark(found.get("fabric", ""), found.get("segment", ""))


def same(meant: str, found: str) -> bool:
    """Whether libvirt's definition of a network says what is meant, and nothing else but what libvirt adds."""
    return _canonical(ET.fromstring(meant)) == _canonical(ET.fromstring(found))


def _canonical(element: ET.Element) -> tuple[object, ...]:
    ignored = ADDED_TO.get(element.tag, set())
    attributes = tuple(sorted((key, value) for key, value in element.attrib.items() if key not in ignored and key != "connections"))
    inside = sorted((_canonical(child) for child in element if child.tag not in ADDED), key=repr)
    return element.tag, attributes, (element.text or "").strip(), tuple(inside)
