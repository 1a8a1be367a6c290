"""What an agent says of the gateways of its uplinks, and what flows are made from."""

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network

from tests.agents.hosts import HOST, NIC, Host
from tests.fabrics import EVERY_SEGMENT, fabric
from weft.agents.observed import HERE
from weft.agents.service_steps import Way
from weft.agents.services import _way
from weft.agents.states import states
from weft.apps.facts import UplinkFact, facts
from weft.topology.rows import host_rows

GATEWAY, MAC = "203.0.113.1", "0e:00:00:00:00:99"
WANTED = host_rows(fabric(EVERY_SEGMENT, lab=True))[HOST]


def fact(nexthops: dict[str, dict[str, str]]) -> UplinkFact:
    """Of physnet, by way of the store."""
    host = Host()
    host.converge(WANTED)
    said = states(WANTED, replace(host.observe(), nexthops=nexthops), {})
    assert json.loads(said["uplink/physnet"])["gateway"] == GATEWAY
    return facts({HOST: said}).uplinks[HOST, "physnet"]


def test_a_gateway_that_answers_is_told_with_its_mac_and_what_is_beside_it() -> None:
    found = fact({"x.physnet": {GATEWAY: MAC, "203.0.113.77": "0e:00:00:00:00:77"}})
    assert found.hops == ((ip_address(GATEWAY), MAC),)
    assert ip_network("203.0.113.0/24") in found.beside
    assert ip_network("10.10.10.0/24") in found.beside


def test_one_that_does_not_answer_is_not_told() -> None:
    assert fact({}).hops == ()
    assert fact({"x.other": {GATEWAY: MAC}}).hops == ()


def test_a_host_without_a_default_route_has_no_gateway_to_tell() -> None:
    host = Host()
    host.links[HERE]["nic0"] = replace(NIC, routes=())
    host.converge(WANTED)
    said = states(WANTED, replace(host.observe(), nexthops={"x.physnet": {GATEWAY: MAC}}), {})
    assert facts({HOST: said}).uplinks[HOST, "physnet"].hops == ()


def test_the_kernel_is_told_to_ask_for_the_gateways_by_itself() -> None:
    routes = (("203.0.113.0/24", ""), ("default", GATEWAY), ("10.0.0.0/8", "203.0.113.9"), ("default", "2001:db8::1"))
    lines = list(_way(Way("physnet", "x.physnet", NIC.mac, "203.0.113.11/24", routes, "2001:db8::11/64")))
    asked = [line.split()[2] for line in lines if "managed" in line]
    assert asked == [GATEWAY, "2001:db8::1"]
