"""What `weft show` shows: one function a word, from the fabric and what was reported of it to rows with stable keys."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from weft.apps.facts import Facts, States, expired, facts
from weft.apps.strangers import placed
from weft.apps.why import switches
from weft.cli.leases import Lease, leases, nobodys, of_endpoint, of_mac
from weft.cli.nics import nics
from weft.cli.tables import Row
from weft.topology import names
from weft.topology.model import Endpoint, Fabric, Host, Uplink
from weft.topology.overlay import joined
from weft.topology.rows import network_keys


@dataclass(frozen=True, slots=True)
class Seen:
    """A fabric beside what is reported of it. `switches`: by datapath id in 16 hexadecimal digits."""

    fabric: Fabric
    states: States = field(default_factory=dict)
    switches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    alive: Mapping[str, bool] = field(default_factory=dict)
    """By host: its agent was heard of lately."""
    counts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What policies counted, by name."""

    def state(self, host: str, key: str) -> tuple[str, str]:
        """State and reason of one object of a host; ``waiting`` where its agent has not reported it."""
        if key not in self.states.get(host, {}):
            return "waiting", "the agent has not reported it"
        reported = self.said(host, key)
        return reported.get("state", "waiting"), reported.get("reason", "")

    def said(self, host: str, key: str) -> Mapping[str, Any]:
        """All that a host's agent says of one object; empty where it has not reported it."""
        told: Mapping[str, Any] = json.loads(self.states.get(host, {}).get(key, "{}"))
        return told

    @property
    def facts(self) -> Facts:
        """As of now."""
        return facts(self.states, expired(self.fabric, datetime.now(UTC)))

    def switch(self, dpid: int) -> Mapping[str, Any]:
        return self.switches.get(f"{dpid:016x}", {})


def hosts(seen: Seen) -> Iterator[Row]:
    for host in seen.fabric.hosts.values():
        wires = {name: ": ".join(filter(None, seen.state(host.name, f"uplink/{name}"))) for name in host.uplinks}
        yield {
            "host": host.name,
            "address": str(host.address) if host.address else "",
            "agent": "ok" if seen.alive.get(host.name) else "down",
            "bridge": host.bridge,
            "switch": "ok" if seen.switch(host.dpid).get("connected") else "down",
            "uplinks": [f"{name} {state}" for name, state in wires.items()],
            "libvirt": _libvirt(seen, host),
            "guests": sum(guest.host == host.name for guest in seen.fabric.guests.values()),
        }


def _libvirt(seen: Seen, host: Host) -> str:
    """``ok`` where it has all networks, else what it lacks; empty where the file does not ask for it."""
    if host.libvirt is None:
        return ""
    told: dict[str, None] = {}
    for name in (f"libvirt/{host.name}", *network_keys(seen.fabric, host)):
        state, reason = seen.state(host.name, name)
        told |= {": ".join(filter(None, (state, reason))): None} if state != "wired" or reason else {}
    return "; ".join(told) or "ok"


def guests(seen: Seen) -> Iterator[Row]:
    """Endpoints of the file, guests that it does not name, by their port, and whoever else has an address by DHCP."""
    given = leases(seen.states)
    shown: list[Lease] = []
    where = placed(seen.fabric, seen.facts)
    for endpoint in where.endpoints.values():
        state, reason = endpoint_state(seen, endpoint)
        own = of_endpoint(given, endpoint)
        shown += own
        yield {
            "endpoint": endpoint.name,
            "guest": "",  # its name begins the endpoint's
            "host": endpoint.host,
            "segment": endpoint.segment,
            "mac": endpoint.mac,
            "ips": [str(address.ip) for address in endpoint.addresses],
            "attach": endpoint.attach,
            "state": state,
            "reason": reason,
            "lease": list(map(str, own)),
        }
    for row, own in _strangers(seen, given):
        shown += own
        yield row
    yield from (nobodys(lease) for lease in given if lease not in shown)


def _strangers(seen: Seen, given: list[Lease]) -> Iterator[tuple[Row, list[Lease]]]:
    """Guests that the file does not name, by host and port, and what they were given."""
    known = {endpoint.mac for endpoint in seen.fabric.endpoints.values() if endpoint.attach == "libvirt"}
    for host, objects in seen.states.items():
        for key, text in objects.items():
            kind, _, port = key.partition("/")
            said = json.loads(text) if kind == "stranger" else {"mac": ""}
            if kind == "stranger" and host in seen.fabric.hosts and said["mac"] not in known:
                own = of_mac(given, said["segment"], said["mac"])
                row = {
                    "endpoint": f"{host}/{port}",
                    "guest": said.get("guest", ""),
                    "host": host,
                    "segment": said["segment"],
                    "mac": said["mac"],
                    "ips": [lease.address for lease in own],
                    "attach": "stranger",
                    **_stranger_state(seen, said),
                    "lease": list(map(str, own)),
                }
                yield row, own


def _stranger_state(seen: Seen, said: Mapping[str, str]) -> dict[str, str]:
    if said["segment"] not in seen.fabric.segments:
        return {"state": "failed", "reason": f'there is no segment "{said["segment"]}"'}
    return {"state": said["state"], "reason": said["reason"]}


def endpoint_state(seen: Seen, endpoint: Endpoint) -> tuple[str, str]:
    """An endpoint is wired when its port is there and its switch has the flows for it; on a NIC itself it has no need of a switch. Where
    libvirt plugged it in on another host than the file says, that host knows its port by its name.
    """
    meant = seen.fabric.endpoints[endpoint.name].host
    moved = endpoint.host != meant
    state, reason = seen.state(endpoint.host, f"stranger/{endpoint.port}" if moved else endpoint.row)
    if moved and not reason:
        reason = f"the file has it on {meant}"
    if endpoint.direct:
        return state, reason
    switch = seen.switch(seen.fabric.hosts[endpoint.host].dpid)
    if state == "wired" and not switch:
        return "waiting", "no controller has reported its switch"
    if state == "wired" and not switch.get("synced"):
        return "waiting", "its switch does not have its flows yet"
    return state, reason


def segments(seen: Seen) -> Iterator[Row]:
    for segment in seen.fabric.segments.values():
        yield {
            "segment": segment.name,
            "mode": segment.mode,
            "id": segment.id,
            "subnets": [str(subnet.network) for subnet in segment.subnets],
            "gateways": [str(subnet.gateway) for subnet in segment.subnets] if segment.served else [],
            "uplink": segment.uplink or "",
            "vlan": segment.vlan,
            "mtu": segment.mtu,
            "guests": len(seen.fabric.members(segment.name)),
        }


def switch_rows(seen: Seen) -> Iterator[Row]:
    known = switches(seen.fabric)
    for dpid, (host, bridge, _) in known.items():
        yield _switch(f"{dpid:016x}", host, bridge, seen.switch(dpid))
    for text, reported in seen.switches.items():
        if int(text, 16) not in known:
            yield _switch(text, "", reported.get("bridge", ""), reported)


def _switch(dpid: str, host: str, bridge: str, reported: Mapping[str, Any]) -> Row:
    connected = bool(reported.get("connected"))
    return {
        "dpid": dpid,
        "host": host,
        "bridge": bridge,
        "connected": connected,
        "flows": reported.get("flows", 0),
        "state": ("in sync" if reported.get("synced") else "behind") if connected else "down",
        "drift": reported.get("drift", ""),
    }


def links(seen: Seen) -> Iterator[Row]:
    for host in seen.fabric.hosts.values():
        for uplink in host.uplinks.values():
            yield from _nics(seen, host.name, uplink)
        for other in seen.fabric.hosts.values() if joined(seen.fabric) and host.address else ():
            if other.name != host.name and other.address:
                state, reason = _tunnel(seen, host.name, other.name)
                port = f"{host.bridge}/{names.tunnel_port(other.name)}"
                yield _link(host.name, port, seen.fabric.overlay, other.name, state, reason)


def _nics(seen: Seen, host: str, uplink: Uplink) -> Iterator[Row]:
    """An uplink's NICs, each with what its agent says of it."""
    state, reason = seen.state(host, f"uplink/{uplink.name}")
    reported = seen.said(host, f"uplink/{uplink.name}").get("nics", {})
    for nic in uplink.nics:
        said = reported.get(nic, {})
        yield {
            **_link(host, f"{uplink.bridge}/{nic}", "uplink", uplink.name, state, reason),
            "link": said.get("link", ""),
            "bond": "" if uplink.bond == "none" else uplink.bond,
            "active": bool(said.get("active")),
            "partner": said.get("partner", ""),
            "mtu": said.get("mtu"),
        }


def _tunnel(seen: Seen, host: str, other: str) -> tuple[str, str]:
    """A tunnel that is made is up or down, as its end on `host` hears the other; where nobody watches it, it is wired."""
    key = f"tunnel/{other}"
    reported = seen.said(host, key)
    return (reported["link"], reported["link_reason"]) if "link" in reported else seen.state(host, key)


def _link(host: str, port: str, kind: str, to: str, state: str, reason: str) -> Row:
    """What only NICs have is empty: the bond that one is in, whether traffic goes by it, its LACP partner."""
    own = {"link": "", "bond": "", "active": False, "partner": "", "mtu": None}
    return {"host": host, "port": port, "kind": kind, "to": to, "state": state, "reason": reason, **own}


def macs(seen: Seen) -> Iterator[Row]:
    for endpoint in seen.fabric.endpoints.values():
        yield {"segment": endpoint.segment, "mac": endpoint.mac, "whose": endpoint.name, "host": endpoint.host, "port": endpoint.port}
    for segment in seen.fabric.segments.values():
        if segment.served:
            port = names.service_port(segment.name)
            yield {"segment": segment.name, "mac": segment.gateway_mac, "whose": "gateway", "host": "every", "port": port}


def policies(seen: Seen) -> Iterator[Row]:
    """In the order of the file, which is the order in which they decide. Counted is every packet of every connection that one decided."""
    over = seen.facts.expired
    for policy in seen.fabric.policies:
        counted = seen.counts.get(policy.name, {})
        yield {
            "policy": policy.name,
            "verdict": policy.verdict,
            "service": str(policy.service),
            "from": policy.sender.said,
            "to": policy.receiver.said,
            "until": policy.until.isoformat() if policy.until else "",
            "state": "expired" if policy.name in over else "active",
            "packets": counted.get("packets", 0),
            "bytes": counted.get("octets", 0),
            "source": str(policy.source),
        }


def services(seen: Seen) -> Iterator[Row]:
    for service in seen.fabric.services:
        yield {
            "service": service.name,
            "segment": service.segment,
            "address": str(service.address),
            "listen": f"{service.protocol}/{service.port}",
            "port": service.to_port,
            "sticky": "client" if service.sticky else "",
            "members": [" ".join(_member(seen, service.name, name)) for name in service.members],
        }


def _member(seen: Seen, service: str, name: str) -> tuple[str, ...]:
    """Endpoint, ``alive``, ``dead``, ``waiting`` or ``unknown``, and why it is dead or unknown."""
    host = seen.fabric.endpoints[name].host
    if not seen.alive.get(host):
        return name, "unknown", f"(nothing was heard of the agent of {host} lately)"
    state, reason = seen.state(host, f"member/{service}/{name}")
    words = {"wired": "alive", "failed": "dead"}
    return (name, words.get(state, state), *((f"({reason})",) if state == "failed" else ()))


VIEWS: Mapping[str, Callable[[Seen], Iterator[Row]]] = {
    "hosts": hosts,
    "guests": guests,
    "segments": segments,
    "policies": policies,
    "switches": switch_rows,
    "links": links,
    "macs": macs,
    "services": services,
    "nics": lambda seen: nics(seen.fabric, seen.states),
}
