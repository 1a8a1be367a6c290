"""Which address a service has, and that nobody else gets it."""

from tests.topology.sound import SOUND, fabric, faults
from tests.topology.test_resolve import guest, overlay
from weft.topology.hostrow import MemberSpec, ServiceSpec
from weft.topology.rows import host_rows
from weft.topology.warnings import warnings

DB = SOUND + "services: [{name: front, segment: db, listen: tcp/3306, to: db1, port: 3307}]\n"


def address(text: str, name: str = "front") -> str:
    return str(next(service.address for service in fabric(text).services if service.name == name))


def test_an_address_says_its_segment():
    (service,) = fabric(SOUND + "services: [{name: front, address: 10.0.9.200, listen: tcp/80, to: db1}]").services
    assert (service.segment, service.port, service.to_port) == ("db", 80, 80)


def test_a_segment_gives_an_address_that_follows_from_the_services_name():
    assert address(DB) == address(DB)
    assert address(DB) != address(DB.replace("name: front", "name: back"), "back")
    assert address(DB).startswith("10.0.9.")


def test_a_derived_address_goes_around_the_guests_that_the_file_gives_one():
    held = address(DB)
    assert address(DB.replace("ip: 10.0.9.5", f"ip: {held}")) != held


def test_guests_derived_addresses_go_around_it():
    derived = str(fabric(overlay(guest("a"))).endpoints["a.eth0"].addresses[0].ip)
    shared = overlay(guest("a")) + f"services: [{{name: s, address: {derived}, listen: tcp/80, to: a}}]\n"
    assert str(fabric(shared).endpoints["a.eth0"].addresses[0].ip) != derived


def test_a_small_subnet_is_shared_to_the_last_address():
    some = "".join(f"  - {{name: s{number}, segment: db, listen: tcp/80, to: a}}\n" for number in range(4))
    text = overlay(guest("a"), "[10.0.9.0/29]") + "services:\n" + some
    assert len({service.address for service in fabric(text).services}) == 4
    assert any("no address is left" in said for said in faults(text + some.replace("name: s", "name: t")))


def test_a_member_is_asked_by_its_own_host_and_the_gateway_has_the_address():
    rows = host_rows(fabric(DB))
    at = address(DB)
    assert rows["kvm2"]["member/front/db1.eth0"] == MemberSpec("front", "db1.eth0", "s.db", "10.0.9.1", "10.0.9.5", 3307)
    assert [key for key in rows["kvm1"] if key.startswith("member/")] == []
    for row in rows.values():
        assert isinstance(spec := row["service/db"], ServiceSpec)
        assert (spec.addresses, spec.shared) == (("10.0.9.1/24",), (f"{at}/32",))


def test_a_service_without_members_is_a_warning():
    text = SOUND + "services: [{name: front, segment: db, listen: tcp/80, to: {tier: none}}]\n"
    assert 'shop.yaml:12: service "front": no guest of segment "db" is behind it' in list(warnings(fabric(text)))


def test_only_the_nics_in_its_segment_are_members():
    (service,) = fabric(SOUND + "services: [{name: front, segment: db, listen: tcp/80, to: web1}]\n").services
    assert service.members == ("web1.eth1",)


WRONG = (
    "services:\n  - {name: a, listen: tcp/80, to: web1}\n  - {name: b, segment: offic, listen: sctp/80, to: web1}\n"
    "  - {name: c, segment: lan, address: 10.0.9.200, listen: tcp/80, to: web1}\n"
    "  - {name: d, segment: db, address: 192.168.122.9, listen: tcp/80, to: db1}\n"
    "  - {name: e, address: 10.0.9.255, listen: tcp/80, to: db1.eth0}\n  - {name: f, address: 10.0.9.1, listen: tcp/80, to: db}\n"
    "  - {name: g, address: 10.0.9.5, listen: tcp/80, to: db}\n  - {name: h, address: 10.0.9.7, listen: tcp/80, to: office}\n"
    "  - {name: i, address: 10.0.9.7, listen: tcp/80, port: 0, to: any}\n  - {name: j, segment: db, listen: tcp/80, to: web1.eth0}\n"
    "  - {name: k, address: 10.0.9.7, listen: tcp/80, to: 10.0.9.4}\n"
)
SAID = [
    '11: endpoint "db1.eth0": ip 10.0.9.5 is already that of service "g"',
    '13: service "a": needs one of segment and address',
    '14: service "b": listen sctp/80: only tcp and udp can be shared',
    '14: service "b": there is no segment "offic", did you mean "office"?',
    '15: service "c": "web1" is not in segment "lan"',
    '15: service "c": segment "lan" is bridged: it has no gateway of weft\'s to answer for a shared address',
    '16: service "d": address 192.168.122.9 is outside 10.0.9.0/24 of segment "db"',
    '17: service "e": address 10.0.9.255 is not an address of 10.0.9.0/24 that a machine can have',
    '18: service "f": address 10.0.9.1 is the gateway\'s in segment "db"',
    '20: service "h": "office" is another segment than "db", which address and members are in',
    '21: service "i": port 0 is not 1-65535',
    '22: service "j": "web1.eth0" is not in segment "db"',
    '23: service "k": "10.0.9.4" is not something that answers: name guests, endpoints, labels or segment "db"',
    '23: service "k": tcp/80 of 10.0.9.7 is shared on line 20 already',
]


def test_what_cannot_be_shared_is_said_at_its_line():
    assert faults(SOUND + WRONG) == SAID
