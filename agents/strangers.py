"""Ports on the integration bridge that the file does not name: plugged in by libvirt, or by hand.

Such a port says whose it is in the ``external_ids`` of its interface: ``port-profile``, the name of its segment, and ``attached-mac``, the
MAC of the guest behind it. libvirt writes both for an interface with ``<virtualport type='openvswitch'>`` and a ``profileid``.
"""

import json
import re
from collections.abc import Iterator, Mapping

from weft.agents.observed import Observed, Port
from weft.topology.hostrow import BridgeSpec, EndpointSpec, Spec

MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")


def strangers(wanted: Mapping[str, Spec], seen: Observed) -> Iterator[Port]:
    """Those of a segment."""
    bridges = {spec.name for spec in wanted.values() if isinstance(spec, BridgeSpec)}
    named = {spec.port for spec in wanted.values() if isinstance(spec, EndpointSpec)}
    for port in seen.ports.values():
        if port.bridge in bridges and port.profile and not port.ours and port.name not in named:
            yield port


def stranger_states(wanted: Mapping[str, Spec], seen: Observed) -> Iterator[tuple[str, str]]:
    """By ``stranger/PORT``: state and reason, segment and MAC."""
    for port in strangers(wanted, seen):
        state, reason = "wired", ""
        if not MAC.fullmatch(port.attached_mac):
            state, reason = "waiting", "external_ids:attached-mac of its interface does not say its guest's MAC"
        elif port.error or (port.ofport or -1) < 0:
            state, reason = "failed", port.error or f"Open vSwitch cannot open {port.name}"
        mac = port.attached_mac if state == "wired" else ""
        said = {"state": state, "reason": reason, "segment": port.profile, "mac": mac}
        yield f"stranger/{port.name}", json.dumps(said, separators=(",", ":"))
