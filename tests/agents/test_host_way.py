"""The way out through the host itself: for a nat segment with `uplink: host`."""

import json
from dataclasses import replace

import pytest

from tests.agents.hosts import Host
from tests.fabrics import fabric
from weft.agents.observed import HERE
from weft.agents.plan import Wanted
from weft.agents.service_steps import SetHostWay
from weft.agents.states import states
from weft.topology.rows import host_rows

FABRIC = """
fabric: test
segments:
  default: {mode: nat, subnets: [192.168.122.0/24], uplink: host}
hosts:
  kvm1: {}
guests:
  web: {host: kvm1, nics: [{segment: default}]}
"""


def wanted() -> Wanted:
    return host_rows(fabric(FABRIC))["kvm1"]


STEPS = len(Host().converge(wanted()))


def test_no_nic_is_touched_and_the_host_hears_its_end_of_the_link() -> None:
    host = Host()
    nic = host.links[HERE]["nic0"]
    host.converge(wanted())
    assert host.links[HERE]["nic0"] == nic
    assert host.host_way and "x.host" not in host.deaf
    assert json.loads(states(wanted(), host.observe(), {})["way/host"])["state"] == "wired"
    assert host.plan(wanted()).actions == []


@pytest.mark.parametrize("after", range(STEPS))
def test_it_goes_from_any_point(after: int) -> None:
    host, fresh = Host(), Host()
    for action in host.plan(wanted()).actions[:after]:
        host.do(action)
    host.converge({})
    assert host.links[HERE].keys() == fresh.links[HERE].keys() and host.host_way == ""


def test_a_network_that_the_host_has_elsewhere_is_refused_and_the_rest_is_done() -> None:
    host = Host()
    virbr0 = replace(host.links[HERE]["docker0"], name="virbr0", routes=(("192.168.122.0/24", ""),))
    host.links[HERE]["virbr0"] = virbr0
    done = host.converge(wanted())
    assert not any(isinstance(action.step, SetHostWay) for action in done)
    assert "192.168.122.0/24 is in use on virbr0" in host.plan(wanted()).failures["way/host"][1]
    assert "web-eth0" in host.ports
