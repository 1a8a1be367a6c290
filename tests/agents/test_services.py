"""What the service namespace is set to, as text for ip(8) and nft(8)."""

from ipaddress import ip_network

from weft.agents.service_steps import Served, SetServices, Way
from weft.agents.services import Route, _nft, _routes, _rules, _tables

OFFICE = Served("s.office", "physnet", "nat", ("192.168.122.1/24", "fd00:122::1/64"))
BRANCH = Served("s.branch", "physnet", "routed", ("192.168.2.1/24",), (("10.20.0.0/16", "192.168.2.254"),), ("192.168.2.10",))
DB = Served("s.db", None, "isolated", ("10.0.9.1/24",))
HOST_ROUTES = (("203.0.113.0/24", ""), ("default", "203.0.113.1"), ("2001:db8::/64", ""), ("default", "2001:db8::1"))
PHYSNET = Way("physnet", "x.physnet", "0e:00:00:00:00:11", "203.0.113.11/24", HOST_ROUTES, "2001:db8::11/64")


def step(*segments: Served, ways: tuple[Way, ...] = (PHYSNET,)) -> SetServices:
    return SetServices("svc", segments, ways)


def routes(version: int, made: SetServices, uplink: str = "physnet") -> dict[str, str]:
    """Of an uplink's table."""
    return {route.network: how for route, how in _routes(version, made) if route.table == str(_tables(made)[uplink])}


def test_segments_that_leave_know_the_uplink_and_each_other_and_no_isolated_one() -> None:
    known = routes(4, step(OFFICE, BRANCH, DB))
    assert known["default"] == "via 203.0.113.1 dev x.physnet"
    assert known["203.0.113.0/24"] == "dev x.physnet"
    assert known["192.168.122.0/24"] == "dev s.office"
    assert known["192.168.2.0/24"] == "dev s.branch"
    assert known["10.20.0.0/16"] == "via 192.168.2.254 dev s.branch"
    assert not any(ip_network("10.0.9.0/24").overlaps(ip_network(net)) for net in known if net != "default")


def test_an_isolated_segment_looks_nowhere() -> None:
    assert [rule for rule in _rules(step(OFFICE, DB)) if "s.db" in rule] == ["rule add iif s.db prohibit pref 100"]


def test_without_an_ipv6_address_of_the_host_there_is_no_way_out_over_ipv6() -> None:
    without = Way("physnet", "x.physnet", PHYSNET.mac, PHYSNET.address, HOST_ROUTES[:2])
    assert routes(6, step(OFFICE, ways=(without,))) == {"fd00:122::/64": "dev s.office"}
    assert routes(6, step(OFFICE))["default"] == "via 2001:db8::1 dev x.physnet"


def test_where_a_wire_has_a_segments_network_each_guest_has_a_route() -> None:
    same = Served("s.same", "physnet", "routed", ("203.0.113.129/24",), (), ("203.0.113.130",))
    known = routes(4, step(same))
    assert (known["203.0.113.0/24"], known["203.0.113.130"]) == ("dev x.physnet", "dev s.same")
    assert Route("main", "203.0.113.130") in dict(_routes(4, step(same)))


def test_two_uplinks_have_a_table_each() -> None:
    other = Way("other", "x.other", "0e:00:00:00:00:12", "198.51.100.11/24", (("198.51.100.0/24", ""),))
    second = Served("s.second", "other", "nat", ("192.168.123.1/24",))
    made = step(OFFICE, second, ways=(PHYSNET, other))
    assert "default" not in routes(4, made, "other")
    assert "198.51.100.0/24" not in routes(4, made, "physnet")
    assert len({rule.split("lookup ")[1] for rule in _rules(made) if "lookup" in rule}) == 2


def test_only_what_is_translated_shares_an_address_for_its_pings() -> None:
    hidden = [line for line in _nft(step(OFFICE, BRANCH), "").splitlines() if "snat" in line]
    assert len(hidden) == 2
    assert "ip saddr { 192.168.122.0/24 }" in hidden[0]
    assert "ip6 saddr { fd00:122::/64 }" in hidden[1]
    assert not any("192.168.2.0/24" in line for line in hidden)


def test_a_translated_segment_gets_answers_alone_from_others() -> None:
    let = [line.strip() for line in _nft(step(OFFICE, BRANCH), "").splitlines() if "accept" in line]
    assert 'iifname { "s.branch", "s.office" } oifname "s.branch" accept' in let
    assert not any('"s.branch"' in line and 'oifname "s.office"' in line for line in let)


def test_what_leaves_by_the_host_itself_has_a_table_with_that_alone() -> None:
    default = Served("s.default", "host", "nat", ("192.168.123.1/24",))
    made = SetServices("svc", (OFFICE, default), (PHYSNET,), "x.host")
    assert routes(4, made, "host")["default"] == "via 169.254.122.9 dev x.host"
    assert routes(4, made)["default"] == "via 203.0.113.1 dev x.physnet"
    assert dict(_routes(4, made))[Route("main", "default")] == "via 203.0.113.1 dev x.physnet"
    assert 'iifname "s.default" oifname "x.host" accept' in _nft(made, "")
