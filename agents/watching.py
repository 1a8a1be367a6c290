"""What watches a fabric: both ends of each tunnel one another (BFD, 802.1ag), collectors every bridge (sFlow, NetFlow, IPFIX).

Open vSwitch does both by itself; the agent sets it up and reads what it says. It writes that a link went down or up, and no
counters: a state that changes by itself all the time would be written into the store all the time.
"""

from collections.abc import Iterator, Mapping

from weft.agents import steps as s
from weft.agents.observed import Health, Observed
from weft.agents.steps import Action
from weft.topology.hostrow import MonitorSpec, Spec, TunnelSpec

INTERVAL = 1000
"""Milliseconds between two words of a tunnel's end. Three that are missing are a fault (RFC 5880, 6.8.4; 802.1ag, 20.1: 3.5)."""
BFD = {"enable": "true", "min_tx": str(INTERVAL), "min_rx": str(INTERVAL)}
RECORDS = 10
"""Seconds after which a flow that goes on is told of."""
TABLES = {"sflow": "sFlow", "netflow": "NetFlow", "ipfix": "IPFIX"}

Wanted = Mapping[str, Spec]


# ---- collectors


def settings(spec: MonitorSpec) -> dict[str, object]:
    """The columns of the monitor's row in Open vSwitch's database (ovs-vswitchd.conf.db(5))."""
    to: dict[str, object] = {"targets": [spec.target]}
    if spec.kind == "sflow":
        return to | {"sampling": spec.sampling, "header": 128, "polling": RECORDS, "agent": spec.agent or None}
    if spec.kind == "netflow":
        return to | {"active_timeout": RECORDS}
    return to | {"sampling": spec.sampling, "cache_active_timeout": RECORDS, "cache_max_flows": 8192}


def foreign(spec: MonitorSpec, seen: Observed) -> str:
    """Why a monitor cannot be had: somebody else's is there; empty: it can."""
    for name in spec.bridges:
        found = seen.bridges[name].monitors.get(spec.kind) if name in seen.bridges else None
        if found and not found.ours:
            return f"bridge {name} has {TABLES[spec.kind]} of somebody else's: ovs-vsctl clear bridge {name} {spec.kind}"
    return ""


def monitors(wanted: Wanted, able: Wanted, bridges: set[str], seen: Observed) -> Iterator[Action]:
    """`bridges`: those that are there once the bridges of this plan are made."""
    for key, spec in able.items():
        for name in spec.bridges if isinstance(spec, MonitorSpec) else ():
            assert isinstance(spec, MonitorSpec)
            found = seen.bridges[name].monitors.get(spec.kind) if name in seen.bridges else None
            if name in bridges and (found is None or dict(found.settings) != settings(spec)):
                step = s.SetMonitor(name, spec.kind, tuple(settings(spec).items()))
                yield Action("change" if found else "add", name, f"{TABLES[spec.kind]} to {spec.target}", step, key)
    told = {(name, spec.kind) for spec in wanted.values() if isinstance(spec, MonitorSpec) for name in spec.bridges}
    for name in bridges & seen.bridges.keys():
        for kind, there in seen.bridges[name].monitors.items():
            if there.ours and (name, kind) not in told:
                yield Action("remove", name, TABLES[kind], s.RemoveMonitor(name, kind))


def monitor_state(spec: MonitorSpec, seen: Observed) -> tuple[str, str]:
    for name in spec.bridges:
        if name not in seen.bridges or spec.kind not in seen.bridges[name].monitors:
            return "waiting", f"bridge {name} does not have it yet"
    return "wired", ""


# ---- tunnels


def columns(kind: str, mpid: int) -> dict[str, object]:
    """Of an Interface, for one way of watching."""
    interval = {"cfm_interval": str(INTERVAL)} if kind == "cfm" else {}
    return {"bfd": BFD if kind == "bfd" else {}, "cfm_mpid": mpid if kind == "cfm" else None, "other_config": interval}


def watches(able: Wanted, added: set[str], seen: Observed) -> Iterator[Action]:
    """For the tunnels that are there, and those `added` by this plan."""
    for key, spec in able.items():
        if not isinstance(spec, TunnelSpec):
            continue
        health = seen.ports[spec.port].health if spec.port in seen.ports and spec.port not in added else Health()
        meant = columns(spec.watch, spec.mpid)
        if (spec.port in seen.ports or spec.port in added) and (health.bfd, health.mpid) != (
            meant["bfd"],
            meant["cfm_mpid"],
        ):
            yield Action("change", spec.port, f"watched by {spec.watch}", s.SetWatch(spec.port, spec.watch, spec.mpid), key)


def link_state(spec: TunnelSpec, health: Health) -> tuple[str, str]:
    """Whether the other end is heard, and why not: ``up``, ``down``; empty where nobody watches."""
    if spec.watch == "bfd":
        status = health.bfd_status
        if status.get("state") == "up":
            return "up", ""
        return "down", _bfd_reason(status)
    if spec.watch == "cfm":
        if health.fault is False and spec.remote_mpid in health.remotes:
            return "up", ""
        heard = f", heard MPIDs {', '.join(map(str, health.remotes)) or 'none'} and not {spec.remote_mpid}"
        missing = "" if spec.remote_mpid in health.remotes else heard
        return "down", f"cfm {' '.join(health.faults) or 'fault'}{missing}"
    return "", ""


def _bfd_reason(status: Mapping[str, str]) -> str:
    if not status:
        return "bfd does not run yet"
    said = [f"bfd {status.get('state', 'down')}"]
    for whose, key in (("", "diagnostic"), ("the other end says ", "remote_diagnostic")):
        if status.get(key, "No Diagnostic") != "No Diagnostic":
            said.append(f"{whose}{status[key]}")
    return ", ".join(said)
