"""What happens to a host that is up: hardware goes and comes, hands and other programs change things. Nothing of the host's is lost."""

from dataclasses import replace

import pytest

from tests.agents.hosts import CONTROLLER, FABRIC, HOST, NIC, Host
from tests.fabrics import EVERY_SEGMENT, fabric
from weft.agents import steps as s
from weft.agents.observed import HERE
from weft.agents.plan import Wanted, plan
from weft.topology.rows import host_rows


def wanted() -> Wanted:
    return host_rows(fabric(EVERY_SEGMENT, lab=True))[HOST]


@pytest.fixture
def host() -> Host:
    made = Host()
    made.converge(wanted())
    return made


def test_a_nic_that_is_gone_for_a_moment_keeps_its_bridge_and_the_hosts_addresses(host: Host) -> None:
    before = host.observe()
    nic = host.links[HERE].pop("nic0")
    assert next(action.step for action in host.converge(wanted())) == s.RemovePort("wx-physnet", "nic0")
    assert host.bridges.keys() == before.bridges.keys()
    assert set(host.links[HERE]["wx-physnet"].addresses) == set(NIC.addresses)
    host.links[HERE]["nic0"] = nic
    host.converge(wanted())
    assert set(host.bridges["wx-physnet"].ports) == set(before.bridges["wx-physnet"].ports)
    assert (host.links, host.deaf, host.based) == (before.links, before.deaf, before.based)


def test_a_device_that_went_and_came_between_two_looks_comes_back_as_a_new_port(host: Host) -> None:
    seen = replace(host.observe(), renewed=frozenset({"nic0"}))
    planned = plan(FABRIC, HOST, wanted(), seen, CONTROLLER)
    assert [type(action.step) for action in planned.actions if action.object == "nic0"] == [s.RemovePort]
    for action in planned.actions:
        host.do(action)
    assert s.AddPort("wx-physnet", "nic0") in [action.step for action in host.converge(wanted())]


def test_addresses_stay_on_a_nic_that_open_vswitch_cannot_open() -> None:
    host = Host()
    for _ in range(3):
        for action in host.plan(wanted()).actions:
            host.do(action)
        if "nic0" in host.ports:
            host.ports["nic0"] = replace(host.ports["nic0"], ofport=-1, error="could not open network device nic0")
    assert host.links[HERE]["nic0"].addresses == NIC.addresses
    assert "203.0.113.11/24" not in host.links[HERE]["wx-physnet"].addresses


def test_the_addresses_follow_the_nic_before_anything_else_is_done() -> None:
    host = Host()
    while "nic0" not in host.ports:
        for action in host.plan(wanted()).actions:
            host.do(action)
    kinds = [type(action.step) for action in host.plan(wanted()).actions]
    assert kinds[: kinds.index(s.MoveAddresses)] in ([], [s.Deafen])


def test_the_kernel_hears_a_nic_until_open_vswitch_has_it() -> None:
    host = Host()
    before = []
    for action in host.converge(wanted()):
        before.append(action)
        if isinstance(action.step, s.AddPort) and action.step.name == "nic0":
            break
    assert not [action for action in before if isinstance(action.step, s.Deafen) and "nic0" in action.step.names]


def test_a_link_that_is_made_anew_comes_back_as_a_new_port(host: Host) -> None:
    del host.links[HERE]["web1-eth0"]
    steps = [action.step for action in host.converge(wanted())]
    ours = [step for step in steps if getattr(step, "name", "") == "web1-eth0"]
    assert [type(step) for step in ours] == [s.RemovePort, s.MakeVeth, s.AddPort]
    deafened = [step for step in steps if isinstance(step, s.Deafen)]
    assert ["web1-eth0" in step.names for step in deafened] == [True]


def test_a_bridge_whose_controller_is_set_gets_its_base_flow_in_the_same_breath(host: Host) -> None:
    bridge = host.bridges["wx-physnet"]
    host.do(s.Action("change", "wx-physnet", "", s.SetBridge("wx-physnet", bridge.dpid, "tcp:192.0.2.1:6653", bridge.mac)))
    assert [action.step for action in host.converge(wanted())][1:] == [s.BaseFlows("wx-physnet", "x.physnet")]
