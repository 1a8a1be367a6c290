"""Neighbours as the kernel tells them: those alone that it keeps asking for, and every change of theirs."""

import select
import subprocess
from collections.abc import Iterator

import pytest

from tests.real.threefold import until
from weft.agents import spaces
from weft.agents.nexthops import Nexthops
from weft.agents.service_steps import Served, SetServices, Way
from weft.agents.services import set_services

pytestmark = pytest.mark.real

NEAR, FAR = "weft.nexthops.svc", "weft.nexthops.wire"
NAMES = {7: "x.physnet"}
"""Index of the way out in `NEAR`."""
MAC, OTHER = "0e:00:00:00:cc:01", "0e:00:00:00:cc:02"
GATEWAY, SIX = "203.0.113.1", "2001:db8::1"


def ip(space: str, *words: str) -> str:
    return subprocess.run(["ip", "-n", space, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def wire() -> Iterator[None]:
    """A way out, and a machine on its other end."""
    for space in (NEAR, FAR):
        spaces.remove(space)
        spaces.make(space)
    ip(NEAR, *f"link add x.physnet index 7 type veth peer name eth0 address {MAC} netns {FAR}".split())
    ip(NEAR, "link", "add", "s.office", "type", "veth", "peer", "name", "guest")
    for address in (f"{GATEWAY}/24", "203.0.113.2/24", f"{SIX}/64"):
        ip(FAR, "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
    ip(FAR, "link", "set", "eth0", "up")
    yield
    for space in (NEAR, FAR):
        spaces.remove(space)


def set_up(gateway: str = GATEWAY) -> None:
    """As an agent does it for a host with this default route, and one segment."""
    routes = (("203.0.113.0/24", ""), ("default", gateway), ("2001:db8::/64", ""), ("default", SIX))
    way = Way("physnet", "x.physnet", "0e:00:00:00:cc:09", "203.0.113.9/24", routes, "2001:db8::9/64")
    set_services(SetServices(NEAR, (Served("s.office", "physnet", "nat", ("192.168.122.1/24",)),), (way,)))


@pytest.fixture
def nexthops(wire: None) -> Iterator[Nexthops]:
    made = Nexthops()
    made.follow(NEAR, spaces.inode(NEAR))
    yield made
    made.follow(NEAR, 0)


def told(nexthops: Nexthops) -> dict[str, str]:
    nexthops.heard()
    return nexthops.macs(NAMES).get("x.physnet", {})


def test_gateways_are_told_though_nothing_is_sent_to_them(nexthops: Nexthops) -> None:
    set_up()
    assert until(lambda: told(nexthops) == {GATEWAY: MAC, SIX: MAC}, 20)


def test_who_begins_later_knows_what_was_said_before(nexthops: Nexthops) -> None:
    set_up()
    assert until(lambda: GATEWAY in told(nexthops))
    later = Nexthops()
    later.follow(NEAR, spaces.inode(NEAR))
    known = later.macs(NAMES)
    later.follow(NEAR, 0)
    assert known["x.physnet"][GATEWAY] == MAC


def test_another_mac_is_news_and_other_neighbours_are_none(nexthops: Nexthops) -> None:
    set_up()
    assert until(lambda: len(told(nexthops)) == 2, 20)
    ip(NEAR, "neigh", "replace", "203.0.113.2", "lladdr", MAC, "dev", "x.physnet", "nud", "stale")
    assert select.select([nexthops], [], [], 5)[0]
    assert not nexthops.heard()
    ip(FAR, "link", "set", "eth0", "address", OTHER)
    assert until(nexthops.heard, 30)
    assert OTHER in told(nexthops).values()
    assert until(lambda: told(nexthops) == {GATEWAY: OTHER, SIX: OTHER}, 30)


def test_a_gateway_that_is_gone_is_not_told_until_it_is_back(nexthops: Nexthops) -> None:
    set_up()
    assert until(lambda: GATEWAY in told(nexthops))
    ip(FAR, "address", "delete", f"{GATEWAY}/24", "dev", "eth0")
    assert until(lambda: GATEWAY not in told(nexthops), 30)
    ip(FAR, "address", "add", f"{GATEWAY}/24", "dev", "eth0")
    assert until(lambda: told(nexthops).get(GATEWAY) == MAC, 30)


def test_a_host_that_has_another_gateway_now_forgets_the_first(nexthops: Nexthops) -> None:
    set_up()
    assert until(lambda: GATEWAY in told(nexthops))
    set_up("203.0.113.2")
    assert until(lambda: told(nexthops).keys() == {"203.0.113.2", SIX}, 20)
    assert GATEWAY not in ip(NEAR, "neigh", "show", "dev", "x.physnet")


def test_a_namespace_that_is_made_anew_is_listened_to_anew(nexthops: Nexthops) -> None:
    set_up()
    assert until(lambda: GATEWAY in told(nexthops))
    spaces.remove(NEAR)
    nexthops.follow(NEAR, spaces.inode(NEAR))
    assert told(nexthops) == {}
