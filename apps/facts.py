"""What hosts reported, as far as flows depend on it."""

import json
from collections.abc import Mapping
from ipaddress import IPv4Address

from weft.apps.compile import Facts, UplinkFact

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
