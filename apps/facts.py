"""What hosts reported, as far as flows depend on it."""

import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

from weft.apps.compile import Facts, UplinkFact
from weft.topology import names
from weft.topology.model import Fabric

SUPPOSED = IPv4Network("192.0.2.0/24")
"""Addresses for documentation (RFC 5737)."""
States = Mapping[str, Mapping[str, str]]
"""By host, the `state` map of its row in the store: object (``uplink/physnet``) to JSON text."""


def facts(states: States) -> Facts:
    """The uplinks that have a MAC and an address to translate to."""
    found: dict[tuple[str, str], UplinkFact] = {}
    for host, objects in states.items():
        for key, text in objects.items():
            kind, _, name = key.partition("/")
            if kind == "uplink" and (fact := _uplink(json.loads(text))):
                found[host, name] = fact
    return found


def _uplink(state: Mapping[str, str]) -> UplinkFact | None:
    mac, address = state.get("mac"), state.get("translate")
    return UplinkFact(mac, IPv4Address(address)) if mac and address else None


def supposed(fabric: Fabric) -> Facts:
    """Facts for a fabric whose hosts have not reported: every uplink with a MAC and an address of its own, for checks alone."""
    wires = [(host.name, name) for host in fabric.hosts.values() for name in host.uplinks]
    return {
        wire: UplinkFact(names.mac("supposed", "/".join(wire)), SUPPOSED[number % SUPPOSED.num_addresses])
        for number, wire in enumerate(wires)
    }
