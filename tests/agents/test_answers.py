"""Which dnsmasq runs on a host, and what it is told."""

import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.agents.hosts import Host
from tests.asking import SERVED
from tests.fabrics import fabric
from weft.agents import steps as s
from weft.agents.dnsmasq import leases, mac_of
from weft.agents.dnsmasq_files import conf, files
from weft.agents.observed import Answering, Lease, Port
from weft.agents.plan import Wanted
from weft.agents.service_steps import Answer, StopAnswering
from weft.agents.states import states
from weft.topology.hostrow import DhcpSpec
from weft.topology.rows import host_rows

STRANGER = Lease("192.168.122.101", "0e:00:00:00:00:77", 1795530183, "")


def wanted(text: str = SERVED, host: str = "kvm1") -> Wanted:
    return host_rows(fabric(text, lab=True))[host]


def spec(segment: str, text: str = SERVED, host: str = "kvm1") -> DhcpSpec:
    found = wanted(text, host)[f"dhcp/{segment}"]
    assert isinstance(found, DhcpSpec)
    return found


def told(segment: str, text: str = SERVED, host: str = "kvm1") -> list[str]:
    return conf(spec(segment, text, host)).splitlines()


def read(segment: str, kind: str, host: str = "kvm1") -> list[str]:
    return dict(files(spec(segment, host=host), ["192.0.2.53"]))[kind].splitlines()


@pytest.fixture
def host() -> Host:
    made = Host()
    made.converge(wanted())
    return made


def steps(host: Host, now: Wanted) -> list[s.Step]:
    return [action.step for action in host.converge(now)]


# ---- who runs


def test_each_segment_that_has_something_to_say_has_a_process_of_its_own_and_is_left_alone_then(host: Host) -> None:
    assert set(host.answering) == {"office", "six", "auto", "shut", "wide"}
    assert host.plan(wanted()).actions == []
    said = {key: json.loads(text) for key, text in states(wanted(), host.observe(), {}).items()}
    assert {said[f"service/{segment}"]["state"] for segment in ("office", "six", "auto", "mute", "wide")} == {"wired"}


def test_one_that_was_killed_comes_back_and_the_others_stay(host: Host) -> None:
    del host.answering["office"]
    said = json.loads(states(wanted(), host.observe(), {})["service/office"])
    assert (said["state"], said["reason"]) == ("waiting", "dnsmasq does not run yet")
    assert [step.segment for step in steps(host, wanted()) if isinstance(step, Answer)] == ["office"]


def test_a_guest_more_is_read_by_the_running_process(host: Host) -> None:
    more = SERVED.replace("guests:", "guests:\n  web4: {host: kvm2, nics: [{segment: office}]}")
    assert [(step.segment, step.again) for step in steps(host, wanted(more)) if isinstance(step, Answer)] == [("office", True)]


def test_another_lease_time_starts_it_again(host: Host) -> None:
    again = [step for step in steps(host, wanted(SERVED.replace("lease: 5m", "lease: 10m"))) if isinstance(step, Answer)]
    assert [(step.segment, step.again) for step in again] == [("office", False)]


def test_another_resolver_is_read_again_where_questions_are_forwarded_and_nowhere_else(host: Host) -> None:
    host.resolvers = ("192.0.2.99",)
    assert [(step.segment, step.again) for step in steps(host, wanted()) if isinstance(step, Answer)] == [("office", True), ("wide", True)]


def test_an_interface_that_was_made_anew_gets_a_new_process(host: Host) -> None:
    host.answering["six"] = replace(host.answering["six"], started_with="")
    assert [(step.segment, step.again) for step in steps(host, wanted()) if isinstance(step, Answer)] == [("six", False)]


def test_a_strangers_lease_of_an_address_that_becomes_a_guests_ends(host: Host) -> None:
    host.answering["office"] = replace(host.answering["office"], leases=(STRANGER,))
    assert host.plan(wanted()).actions == []
    steps(host, wanted(SERVED.replace("ip: 192.168.122.12}", "ip: 192.168.122.101}")))
    assert host.answering["office"].leases == ()


def test_a_segment_that_says_nothing_any_more_has_no_process(host: Host) -> None:
    silent = SERVED.replace("auto: {mode: isolated,", "auto: {ra: false, mode: isolated,")
    assert StopAnswering("auto") in steps(host, wanted(silent))
    assert set(host.answering) == {"office", "six", "shut", "wide"}


def test_nothing_is_started_on_a_port_that_cannot_be_had() -> None:
    host = Host()
    only = {key: one for key, one in wanted().items() if key != "service/office"}
    host.converge(only)
    assert set(host.answering) == {"six", "auto", "shut", "wide"}


def test_where_the_file_has_no_guest_it_runs_as_long_as_somebody_is_plugged_in() -> None:
    empty = SERVED.partition("guests:")[0] + "lab: {outside: 203.0.113.0/24}\n"
    host, now = Host(), wanted(empty)
    host.converge(now)
    assert not host.answering
    assert json.loads(states(now, host.observe(), {})["service/office"])["state"] == "wired"
    host.ports["vnet0"] = Port("vnet0", "br-weft", False, "", {}, 9, "", profile="office", attached_mac="52:54:00:00:00:01")
    host.converge(now)
    assert set(host.answering) == {"office"}
    del host.ports["vnet0"]
    host.converge(now)
    assert not host.answering


def test_leases_are_reported_by_address_and_change_with_them_alone(host: Host) -> None:
    host.answering["office"] = replace(host.answering["office"], leases=(STRANGER,))
    said = states(wanted(), host.observe(), {})
    assert json.loads(said["lease/office/192.168.122.101"])["mac"] == STRANGER.mac
    assert states(wanted(), host.observe(), {}) == said


def test_a_host_that_can_ask_nobody_says_so(host: Host) -> None:
    host.resolvers = ()
    said = json.loads(states(wanted(), host.observe(), {})["service/office"])
    assert said["state"] == "wired"
    assert "loopback" in said["reason"]
    assert "reason" in said and json.loads(states(wanted(), host.observe(), {})["service/six"])["reason"] == ""


def test_leases_of_a_segment_that_is_not_wanted_are_not_reported(host: Host) -> None:
    host.answering["gone"] = Answering("", "", (STRANGER,))
    assert not [key for key in states(wanted(), host.observe(), {}) if key.startswith("lease/")]


# ---- what it is told


def test_a_known_guest_is_told_the_same_on_every_host() -> None:
    assert read("office", "guests", "kvm1") == read("office", "guests", "kvm2")
    assert read("office", "names", "kvm1") == read("office", "names", "kvm2")
    assert any(line.endswith(",192.168.122.11,web2") for line in read("office", "guests"))


def test_strangers_get_other_addresses_on_every_host() -> None:
    ranges = [line for host in ("kvm1", "kvm2") for line in told("office", host=host) if line.startswith("dhcp-range")]
    assert ranges == [
        "dhcp-range=192.168.122.100,192.168.122.109,255.255.255.0,300",
        "dhcp-range=192.168.122.110,192.168.122.119,255.255.255.0,300",
    ]


def test_without_a_range_only_guests_of_the_model_get_an_address() -> None:
    assert "dhcp-range=fd00:9::,static,64,3600" in told("six")


def test_guests_have_their_ipv6_address_by_mac() -> None:
    assert any(line.endswith(",[fd00:9::11],web2") for line in read("six", "guests"))


def test_the_mtu_is_given_whether_it_was_asked_for_or_not() -> None:
    assert "dhcp-option-force=option:mtu,1442" in told("office")


def test_an_isolated_segment_has_no_router_and_no_way_out_by_dns() -> None:
    assert "dhcp-option=option:router" in told("six")
    assert "ra-param=s.six,mtu:1442,200,0" in told("six")
    assert read("six", "resolvers") == []
    assert "no-resolv" in told("six")


def test_a_translated_segment_asks_the_hosts_resolvers_from_an_address_whose_answers_come_back() -> None:
    assert read("office", "resolvers") == ["server=192.0.2.53@169.254.122.2"]
    assert "dhcp-option=option:router" not in told("office")


def test_advertisements_alone_let_guests_form_their_own_address() -> None:
    assert "dhcp-range=fd00:a::,ra-only,64" in told("auto")
    assert "port=0" in told("auto")


def test_where_there_is_a_way_out_guests_take_the_gateway_for_their_router() -> None:
    assert [line for line in told("wide") if line.startswith("ra-param")] == ["ra-param=s.wide,mtu:1442,200,1800"]


def test_through_the_host_itself_names_are_asked_from_the_gateways_address() -> None:
    text = SERVED.replace("    uplink: physnet\n", "    uplink: host\n")
    assert dict(files(spec("office", text), ["192.0.2.53"]))["resolvers"] == "server=192.0.2.53@192.168.122.1\n"


def test_names_of_one_segment_are_not_known_in_another() -> None:
    assert not [line for line in read("six", "names") if "192.168.122" in line or "odd1" in line]


def test_every_address_of_a_range_is_one_hosts() -> None:
    text = SERVED.replace("range: 192.168.122.100-192.168.122.119", "range: 192.168.122.1-192.168.122.7")
    given = [spec("office", text, host).ranges for host in ("kvm1", "kvm2")]
    assert given == [("192.168.122.2-192.168.122.3",), ("192.168.122.4-192.168.122.7",)]  # .1 is the gateway


# ---- what it leaves


def test_a_lease_file_is_read_in_both_families() -> None:
    text = """\
1795530183 0e:00:00:00:00:77 192.168.122.107 * 01:0e:00:00:00:00:77
0 0a:af:76:51:df:f0 192.168.122.10 web1 01:0a:af:76:51:df:f0
duid 00:03:00:01:0a:6b:6c:a6:54:0e
1795533525 743502683 fd00:9::10 web1 00:03:00:01:0a:51:2c:50:f3:5b
1795533525 7435 fd00:9::11 web2 00:04:11:22:33:44:55:66:77:88
half a li"""
    assert list(leases(text)) == [
        Lease("192.168.122.107", "0e:00:00:00:00:77", 1795530183, ""),
        Lease("192.168.122.10", "0a:af:76:51:df:f0", 0, "web1"),
        Lease("fd00:9::10", "0a:51:2c:50:f3:5b", 1795533525, "web1"),
        Lease("fd00:9::11", "", 1795533525, "web2"),
    ]
    assert all(ip_address(lease.address) for lease in leases(text))


@pytest.mark.parametrize(
    ("duid", "mac"),
    [
        ("00:01:00:01:32:98:59:0a:0a:9a:5e:83:ed:0f", "0a:9a:5e:83:ed:0f"),
        ("00:03:00:01:0A:51:2c:50:f3:5b", "0a:51:2c:50:f3:5b"),
        ("00:02:00:00:7e:d9:01", ""),
        ("00:03:00:01", ""),
        ("", ""),
    ],
)
def test_a_client_is_known_by_the_mac_in_its_name_where_there_is_one(duid: str, mac: str) -> None:
    assert mac_of(duid) == mac
