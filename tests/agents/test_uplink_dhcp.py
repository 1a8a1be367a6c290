"""An uplink whose address the wire's DHCP gives: asked for once it carries packets, changed when the lease does, gone with it."""

from dataclasses import replace

import pytest

from tests.agents.hosts import HOST, Host
from tests.fabrics import EVERY_SEGMENT, fabric
from weft.agents import steps as s
from weft.agents.observed import HERE, Leased
from weft.agents.plan import Wanted
from weft.agents.states import states
from weft.topology.rows import host_rows

ALONE = "kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [nic0]}}}"
GIVEN = "198.51.100.7/24"


def wanted(address: str) -> Wanted:
    text = EVERY_SEGMENT.replace(ALONE, ALONE.replace("nics: [nic0]", f"nics: [nic0], address: {address}"))
    return host_rows(fabric(text))[HOST]


ASKS, FIXED, NONE = wanted("dhcp"), wanted("203.0.113.40/24"), wanted("none")


def machine(*before: Wanted) -> Host:
    host = Host()
    host.links[HERE]["nic0"] = replace(host.links[HERE]["nic0"], addresses=(), routes=())
    for each in before:
        host.converge(each)
    return host


def test_the_host_has_the_address_that_it_was_given_and_its_gateway() -> None:
    local = machine(ASKS).links[HERE]["wx-physnet"]
    assert (local.addresses, local.routes) == ((GIVEN,), (("default", "198.51.100.1"),))


def test_it_asks_when_the_uplink_carries_packets_and_not_before() -> None:
    done = [type(action.step) for action in machine().converge(ASKS)]
    assert done.count(s.AskAddress) == 1
    assert done.index(s.AskAddress) > done.index(s.BaseFlows)


def test_a_client_that_ended_or_hears_nothing_any_more_is_started_again_and_the_address_stays() -> None:
    host = machine(ASKS)
    for state in ({}, {"wx-physnet": replace(host.leased["wx-physnet"], hears=False)}):
        host.leased = dict(state)
        assert [type(action.step) for action in host.converge(ASKS)] == [s.AskAddress]
        assert host.links[HERE]["wx-physnet"].addresses == (GIVEN,)


def test_another_lease_takes_the_former_address_away_and_one_that_ended_leaves_none() -> None:
    host = machine(ASKS)
    host.leased["wx-physnet"] = Leased("198.51.100.9/24", "198.51.100.1", (GIVEN,), True)
    host.converge(ASKS)
    assert host.links[HERE]["wx-physnet"].addresses == ("198.51.100.9/24",)
    host.leased["wx-physnet"] = Leased("", "", (GIVEN, "198.51.100.9/24"), True)
    host.converge(ASKS)
    assert host.links[HERE]["wx-physnet"].addresses == ()


def test_as_long_as_nobody_answers_the_uplink_says_so() -> None:
    host = machine(ASKS)
    host.leased["wx-physnet"] = Leased("", "", (), True)
    assert "no DHCP server on physnet has answered yet" in states(ASKS, host.observe(), {})["uplink/physnet"]


@pytest.mark.parametrize("then", [FIXED, NONE], ids=["fixed", "none"])
def test_an_address_of_ones_own_ends_the_client_and_what_it_was_given(then: Wanted) -> None:
    host = machine(ASKS, then)
    assert not host.leased
    assert host.links[HERE]["wx-physnet"].addresses == (("203.0.113.40/24",) if then is FIXED else ())


@pytest.mark.parametrize("then", [ASKS, FIXED, {}], ids=["asks", "fixed", "released"])
@pytest.mark.parametrize("before", [NONE, ASKS, FIXED], ids=["none", "asks", "fixed"])
def test_an_agent_that_is_killed_between_any_two_steps_comes_to_the_same(before: Wanted, then: Wanted) -> None:
    expected = machine(before, then)
    for after in range(len(machine(before).plan(then).actions)):
        host = machine(before)
        for action in host.plan(then).actions[:after]:
            host.do(action)
        host.converge(then)
        assert (host.leased, host.links[HERE].get("wx-physnet")) == (expected.leased, expected.links[HERE].get("wx-physnet"))
