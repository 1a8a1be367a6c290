"""Ports on the integration bridge that the file does not name: plugged in by libvirt, or by hand. What is behind them may be a guest of the
file, which is known by its MAC (`weft.apps.strangers`).

Such a port says whose it is in the ``external_ids`` of its interface: ``port-profile``, the name of its segment, and ``attached-mac``, the
MAC of the guest behind it. libvirt writes both for an interface with ``<virtualport type='openvswitch'>`` and a ``profileid``, and as
``iface-id`` the interface's id.
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
    named = {spec.port for spec in wanted.values() if isinstance(spec, EndpointSpec) and spec.attach != "libvirt"}
    for port in seen.ports.values():
        if port.bridge in bridges and port.profile and not port.ours and port.name not in named:
            yield port


def stranger_states(wanted: Mapping[str, Spec], seen: Observed) -> Iterator[tuple[str, str]]:
    """By ``stranger/PORT``: state and reason, segment and MAC; of a guest of libvirt its name, whether it runs, and whether it left."""
    for port in strangers(wanted, seen):
        state, reason = "wired", ""
        if not MAC.fullmatch(port.attached_mac):
            state, reason = "waiting", "external_ids:attached-mac of its interface does not say its guest's MAC"
        elif port.error or (port.ofport or -1) < 0:
            state, reason = "failed", port.error or f"Open vSwitch cannot open {port.name}"
        mac = port.attached_mac if state == "wired" else ""
        said: dict[str, object] = {"state": state, "reason": reason, "segment": port.profile, "mac": mac}
        said |= {"pin": port.pin} if port.pin else {}
        domain = seen.virt.domains.get(port.vm) if seen.virt else None
        if domain:
            said |= {"guest": domain.name, "runs": domain.running} | ({"left": True} if domain.left else {})
        elif seen.virt and port.vm:
            said["runs"] = False  # libvirt adds the port first: one that comes from another host runs there until libvirt says otherwise
        yield f"stranger/{port.name}", json.dumps(said, separators=(",", ":"))


def plugged_state(spec: EndpointSpec, wanted: Mapping[str, Spec], seen: Observed) -> tuple[str, str]:
    """Of an endpoint that libvirt plugs in: it is the port with its interface id, where the file says one, else with its MAC, whatever that
    is called."""
    ports = [port for port in strangers(wanted, seen) if (port.pin == spec.pin if spec.pin else port.attached_mac == spec.mac)]
    port = next((port for port in ports if port.profile == spec.segment), None)
    if port is not None and port.attached_mac != spec.mac:
        return "failed", f"libvirt has it with MAC {port.attached_mac or 'none'}, the file says {spec.mac}: give it `mac:`"
    if port is not None:
        return ("wired", "") if not port.error and (port.ofport or -1) > 0 else ("failed", port.error or f"Open vSwitch cannot open {port.name}")
    if ports:
        return "failed", f"libvirt has it in the network of segment {ports[0].profile}, the file says {spec.segment}"
    if seen.virt and seen.virt.reason:
        return "waiting", seen.virt.reason
    domain = next((domain for domain in seen.virt.domains.values() if domain.name == spec.guest), None) if seen.virt else None
    if domain is None:
        return "waiting", f"libvirt has no guest {spec.guest} here"
    if not domain.alive:
        return "waiting", f"guest {spec.guest} is not started"
    return "waiting", f"guest {spec.guest} has no NIC with {f'interface id {spec.pin}' if spec.pin else f'MAC {spec.mac}'}"
