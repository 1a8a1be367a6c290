"""Collectors and watched tunnels: set, changed, removed, and nobody else's touched."""

import json
from dataclasses import replace

import pytest

from tests.agents.hosts import HOST, Host
from tests.fabrics import EVERY_SEGMENT, fabric
from weft.agents import steps as s
from weft.agents.observed import Health, Monitoring
from weft.agents.plan import Wanted
from weft.agents.states import states
from weft.agents.watching import link_state
from weft.topology.hostrow import TunnelSpec
from weft.topology.rows import host_rows

MONITOR = 'monitor: {sflow: "192.0.2.9:6343", netflow: "192.0.2.9:2055", sampling: 10}\n'


def wanted(added: str = "", overlay: str = "") -> Wanted:
    return host_rows(fabric(overlay + EVERY_SEGMENT + added, lab=True))[HOST]


def monitors(host: Host) -> dict[str, list[str]]:
    return {name: sorted(bridge.monitors) for name, bridge in host.bridges.items() if bridge.monitors}


def test_collectors_are_told_by_every_bridge_and_by_none_when_they_go() -> None:
    host = Host()
    host.converge(wanted(MONITOR))
    assert monitors(host) == {"br-weft": ["netflow", "sflow"], "wx-physnet": ["netflow", "sflow"]}
    host.converge(wanted('monitor: {netflow: "192.0.2.9:2055"}\n'))
    assert monitors(host) == {"br-weft": ["netflow"], "wx-physnet": ["netflow"]}
    host.converge(wanted())
    assert monitors(host) == {}


def test_another_target_is_a_change_and_the_same_is_none() -> None:
    host = Host()
    host.converge(wanted(MONITOR))
    assert host.plan(wanted(MONITOR)).actions == []
    done = host.converge(wanted(MONITOR.replace("192.0.2.9:6343", "192.0.2.8:6343")))
    assert [(action.action, type(action.step)) for action in done] == [("change", s.SetMonitor)] * 2


def test_somebody_elses_monitor_stays_and_is_said() -> None:
    host = Host()
    host.converge(wanted())
    theirs = Monitoring(False, {"targets": ["127.0.0.1:9"]})
    host.bridges["br-weft"] = replace(host.bridges["br-weft"], monitors={"sflow": theirs})
    host.converge(wanted(MONITOR))
    assert host.bridges["br-weft"].monitors["sflow"] == theirs
    assert monitors(host) == {"br-weft": ["netflow", "sflow"], "wx-physnet": ["netflow"]}
    planned = host.plan(wanted(MONITOR))
    said = json.loads(states(wanted(MONITOR), host.observe(), planned.failures)["monitor/sflow"])
    assert said["state"] == "failed"
    assert said["reason"].endswith("ovs-vsctl clear bridge br-weft sflow")
    host.converge(wanted())
    assert host.bridges["br-weft"].monitors == {"sflow": theirs}


@pytest.mark.parametrize(("watch", "bfd", "cfm"), [("bfd", True, False), ("cfm", False, True), ("none", False, False)])
def test_a_tunnel_is_watched_as_the_file_says_also_when_that_changes(watch: str, bfd: bool, cfm: bool) -> None:
    host = Host()
    for first in ("cfm", "bfd", watch):
        host.converge(wanted(overlay=f"overlay: {{watch: {first}}}\n"))
    health = host.ports["t.kvm2"].health
    assert (bool(health.bfd), health.mpid is not None) == (bfd, cfm)
    assert "link" not in json.loads(states(wanted(overlay="overlay: {watch: none}\n"), host.observe(), {})["tunnel/kvm2"])


def test_the_ends_of_a_tunnel_know_each_others_number() -> None:
    rows = host_rows(fabric("overlay: {watch: cfm}\n" + EVERY_SEGMENT))
    one, other = rows["kvm1"]["tunnel/kvm2"], rows["kvm2"]["tunnel/kvm1"]
    assert isinstance(one, TunnelSpec)
    assert isinstance(other, TunnelSpec)
    assert (one.mpid, one.remote_mpid) == (other.remote_mpid, other.mpid)
    assert len({one.mpid, other.mpid} & set(range(1, 8192))) == 2


BFD, CFM = (TunnelSpec("t.kvm2", "br-weft", "geneve", "10.0.0.1", "10.0.0.2", watch, 5, 6) for watch in ("bfd", "cfm"))
EXPIRED = "Control Detection Time Expired"


@pytest.mark.parametrize(
    ("spec", "health", "said"),
    [
        (BFD, Health(bfd_status={"state": "up", "diagnostic": EXPIRED}), ("up", "")),
        (BFD, Health(bfd_status={"state": "down", "diagnostic": EXPIRED}), ("down", f"bfd down, {EXPIRED}")),
        (BFD, Health(bfd_status={"state": "init", "diagnostic": "No Diagnostic"}), ("down", "bfd init")),
        (BFD, Health(), ("down", "bfd does not run yet")),
        (CFM, Health(fault=False, remotes=(6,)), ("up", "")),
        (CFM, Health(fault=True, faults=("rdi",), remotes=(6,)), ("down", "cfm rdi")),
        (CFM, Health(fault=False, remotes=(7,)), ("down", "cfm fault, heard MPIDs 7 and not 6")),
        (CFM, Health(fault=True, faults=("recv",)), ("down", "cfm recv, heard MPIDs none and not 6")),
        (CFM, Health(), ("down", "cfm fault, heard MPIDs none and not 6")),
    ],
)
def test_a_link_is_up_when_the_other_end_is_heard(spec: TunnelSpec, health: Health, said: tuple[str, str]) -> None:
    assert link_state(spec, health) == said


def test_a_tunnel_of_another_kind_is_made_anew_and_watched_again() -> None:
    host = Host()
    for kind in ("geneve", "gre"):
        host.converge(wanted(overlay=f"overlay: {{type: {kind}}}\n"))
        assert host.ports["t.kvm2"].kind == kind
        assert host.ports["t.kvm2"].health.bfd
