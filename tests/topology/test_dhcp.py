"""What a file may ask of DHCP, router advertisements and DNS, and what each host is told of it."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topology.sound import SOUND, fabric, faults
from weft.topology import dhcp_options
from weft.topology.dhcp_rows import slices
from weft.topology.rows import host_rows

OFFICE = "mode: nat, subnets: [192.168.122.0/24]"
LAN = "mode: bridged, uplink: physnet, vlan: 5"


def of_office(said: str) -> list[str]:
    return faults(SOUND.replace(OFFICE, f"{OFFICE}, {said}"))


def of_db(said: str) -> list[str]:
    return faults(SOUND.replace("mode: isolated, subnets: [10.0.9.0/24]", f"mode: isolated, {said}"))


@pytest.mark.parametrize(
    "said",
    [
        "dhcp: true",
        "dns: true",
        "dhcp: {range: 192.168.122.1-192.168.122.254, lease: 2m}",
        'dhcp: {options: {ntp-server: "192.168.122.1,192.168.122.2", domain-name: example.org, default-ttl: 64}}',
        'dhcp: {options: {classless-static-route: "10.0.0.0/8,192.168.122.7"}}',
    ],
)
def test_what_makes_sense_is_accepted(said: str) -> None:
    assert of_office(said) == []


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("dhcp: {range: 10.0.0.5-10.0.0.9}", "dhcp range 10.0.0.5-10.0.0.9 is in none of its subnets"),
        ("dhcp: {lease: 30s}", "dhcp lease 30s is not 2m-49710d"),
        ("dhcp: {lease: 9999999d}", "dhcp lease 9999999d is not 2m-49710d"),
        ("dhcp: {options: {ntp-sevrer: 1.2.3.4}}", "dhcp option ntp-sevrer is not an option that dnsmasq knows (dnsmasq --help dhcp)"),
        ('dhcp: {options: {"42": 1.2.3.4}}', "dhcp option 42 is not an option that dnsmasq knows (dnsmasq --help dhcp)"),
        ("dhcp: {options: {mtu: 1400}}", "dhcp option mtu follows from the segment's mtu"),
        ("dhcp: {options: {netmask: 255.0.0.0}}", "dhcp option netmask follows from the segment's subnet"),
        (
            'dhcp: {options: {domain-name: "a\\nno-resolv"}}',
            "dhcp option domain-name has a sign in its value that dnsmasq's configuration cannot hold",
        ),
        (
            "dhcp: {options: {domain-name: 'a #b'}}",
            "dhcp option domain-name has a sign in its value that dnsmasq's configuration cannot hold",
        ),
        (
            'dhcp: {options: {ntp-server: "1.2.3.4,"}}',
            "dhcp option ntp-server has nothing between two commas of its value",
        ),
        ('dhcp: {options: {ntp-server: ""}}', "dhcp option ntp-server is empty"),
        (
            "dhcp: {options: {ntp-server: time.example.org}}",
            "dhcp option ntp-server time.example.org is not an address, or several with commas between them",
        ),
        ("dhcp: {options: {default-ttl: 256}}", "dhcp option default-ttl 256 is not a number of 1 byte"),
        (
            'dhcp: {options: {router: "fd00::1"}}',
            "dhcp option router fd00::1 is not an address, or several with commas between them",
        ),
        ("ra: true", "ra needs an IPv6 subnet"),
    ],
)
def test_what_makes_none_is_refused_in_one_line(said: str, what: str) -> None:
    assert of_office(said) == [f'7: segment "office": {what}']


def test_a_segment_without_subnets_has_nothing_to_serve() -> None:
    assert of_db("dns: true")[0] == '8: segment "db": dns needs a subnet whose gateway answers'
    assert of_db("dhcp: true")[0] == '8: segment "db": dhcp needs a subnet to give addresses of'


@pytest.mark.parametrize("key", ["dhcp", "dns", "ra"])
def test_the_physical_network_serves_a_bridged_segment(key: str) -> None:
    said = faults(SOUND.replace(LAN, f'{LAN}, subnets: ["fd00:5::/64"], {key}: true'))
    assert said == [f'6: segment "lan": {key} is the physical network\'s on a bridged segment: what serves that serves its guests']


def test_guests_form_addresses_in_a_64_only() -> None:
    wide = of_db('subnets: [10.0.9.0/24, "fd00:9::/112"]')
    assert wide == ['8: segment "db": router advertisements are for a /64, fd00:9::/112 is none: write ra: false']
    assert of_db('subnets: [10.0.9.0/24, "fd00:9::/112"], ra: false') == []
    assert of_db('subnets: [10.0.9.0/24, "fd00:9::/112"], dhcp: true') == []
    assert of_db('subnets: [10.0.9.0/24, "fd00:9::/56"], dhcp: true, ra: false') == [
        '8: segment "db": DHCPv6 is for a /64 or less, fd00:9::/56 is more'
    ]


# ---- options


def test_an_option_goes_to_the_family_that_its_addresses_are_of() -> None:
    both = {"ntp-server": "192.0.2.1,2001:db8::1", "dns-server": "2001:db8::53", "domain-search": "example.org", "root-path": "/srv"}
    assert list(dhcp_options.lines(both)) == [
        "option:ntp-server,192.0.2.1", "option6:ntp-server,[2001:db8::1]",
        "option6:dns-server,[2001:db8::53]",
        "option:domain-search,example.org", "option6:domain-search,example.org",
        "option:root-path,/srv",
    ]  # fmt: skip


# ---- ranges


RANGES = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(sorted)


@given(RANGES, st.integers(1, 40), st.sets(st.integers(0, 300), max_size=3))
def test_every_address_of_a_range_is_one_hosts_and_none_is_two(ends: list[int], hosts: int, taken: set[int]) -> None:
    base = int(ip_address("10.0.0.0"))
    first, last = (ip_address(base + end) for end in ends)
    gateways = {ip_address(base + one) for one in taken}
    given_away = [
        range(int(one), int(other) + 1) for place in range(hosts) for one, other in slices(first, last, place, hosts, gateways)
    ]
    every = [number for part in given_away for number in part]
    assert len(every) == len(set(every))
    assert set(every) == set(range(int(first), int(last) + 1)) - {int(gateway) for gateway in gateways}
    sizes = [(ends[1] - ends[0] + 1) * (place + 1) // hosts - (ends[1] - ends[0] + 1) * place // hosts for place in range(hosts)]
    assert max(sizes) - min(sizes) <= 1


def test_a_host_is_told_of_all_members_and_of_no_other_segments() -> None:
    text = SOUND.replace("mode: isolated,", "mode: isolated, dhcp: true, dns: true,")
    told = {host: row.get("dhcp/db") for host, row in host_rows(fabric(text)).items()}
    assert told["kvm1"] == told["kvm2"]
    assert [guest.split()[1:] for guest in told["kvm1"].guests] == [["web1", "10.0.9.4"], ["db1", "10.0.9.5"]]  # type: ignore[union-attr]
    assert "dhcp/office" not in host_rows(fabric(text))["kvm1"]
