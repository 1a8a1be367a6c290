"""What is derived where the file leaves it open, and that it depends on names alone."""

import pytest

from tests.topology.sound import SOUND, fabric
from weft.topology import names
from weft.topology.resolve_segments import segment_ids


def addresses(text: str, lab: bool = False) -> dict[str, list[str]]:
    return {name: [str(address) for address in endpoint.addresses] for name, endpoint in fabric(text, lab).endpoints.items()}


def overlay(guests: str, subnets: str = "[10.0.9.0/24]") -> str:
    return f"fabric: shop\nhosts: {{kvm1: {{}}}}\nsegments: {{db: {{mode: isolated, subnets: {subnets}, ra: false}}}}\nguests:\n{guests}"


def guest(name: str, nic: str = "{segment: db}") -> str:
    return f"  {name}: {{host: kvm1, nics: [{nic}]}}\n"


def test_the_same_file_gives_the_same_fabric():
    assert fabric(SOUND) == fabric(SOUND)


def test_addresses_follow_from_names_whatever_their_order():
    some = [guest(f"g{number}") for number in range(20)]
    assert addresses(overlay("".join(some))) == addresses(overlay("".join(reversed(some))))


def test_what_is_given_is_kept_and_what_is_derived_goes_around_it():
    derived = addresses(overlay(guest("a")))["a.eth0"][0]
    around = addresses(overlay(guest("a") + guest("b", f"{{segment: db, ip: {derived.partition('/')[0]}}}")))
    assert around["b.eth0"] == [derived]
    assert around["a.eth0"] != [derived]


def test_a_small_subnet_is_filled_to_the_last_address():
    held = addresses(overlay("".join(guest(f"g{number}") for number in range(5)), "[10.0.9.0/29]"))
    assert {address for (address,) in held.values()} == {f"10.0.9.{number}/29" for number in range(2, 7)}


def test_an_ipv6_address_is_formed_from_the_mac_as_a_kernel_does():
    made = fabric(overlay(guest("a", '{segment: db, mac: "52:54:00:00:09:05"}'), '["fd00:9::/64"]'))
    assert [str(address) for address in made.endpoints["a.eth0"].addresses] == ["fd00:9::5054:ff:fe00:905/64"]


def test_a_nic_has_one_address_of_each_family_and_those_it_asks_for():
    both = '[10.0.9.0/24, 10.0.8.0/24, "fd00:9::/64"]'
    asking = guest("b", "{segment: db, ip: [10.0.8.5, 10.0.9.5]}") + guest("c", '{segment: db, ip: "fd00:9::7"}')
    held = addresses(overlay(guest("a") + asking, both))
    assert [address.partition("/")[2] for address in held["a.eth0"]] == ["24", "64"]
    assert held["a.eth0"][0].startswith("10.0.9.")
    assert held["b.eth0"][:2] == ["10.0.8.5/24", "10.0.9.5/24"]
    assert held["b.eth0"][2].startswith("fd00:9::")
    assert held["c.eth0"][0] == "fd00:9::7/64"
    assert len(held["c.eth0"]) == 2


def test_nothing_is_derived_on_a_network_where_others_hand_out_addresses():
    bridged = SOUND.replace("vlan: 5", "vlan: 5, subnets: [10.5.0.0/24]")
    assert addresses(bridged.replace("{segment: db, ip: 10.0.9.5}", "{segment: lan}"))["db1.eth0"] == []


def test_an_address_with_its_prefix_length_needs_no_subnet():
    assert addresses(SOUND.replace("{segment: db, ip: 10.0.9.5}", "{segment: lan, ip: 10.5.0.1/24}"))["db1.eth0"] == ["10.5.0.1/24"]


def test_ids_are_distinct_and_those_of_other_segments_stay():
    many = [f"s{number}" for number in range(3000)]
    ids = segment_ids("shop", many)
    assert len(set(ids.values())) == 3000
    assert all(0 < number < 1 << 24 for number in ids.values())
    assert segment_ids("shop", reversed(many)) == ids
    assert segment_ids("shop", many[:5]) == {name: ids[name] for name in many[:5]}


def test_two_names_that_hash_alike_get_different_ids():
    seen: dict[int, str] = {}
    number = 0
    while (key := names.digest(f"segment/shop/s{number}", 24)) not in seen:
        seen[key] = f"s{number}"
        number += 1
    first, second = sorted((seen[key], f"s{number}"))
    assert segment_ids("shop", (second, first)) == {first: key, second: key + 1}


def test_names_of_fabrics_keep_ids_and_macs_apart():
    one, other = fabric(SOUND), fabric(SOUND.replace("fabric: shop", "fabric: shop2"))
    assert one.segments["db"].id != other.segments["db"].id
    assert one.endpoints["db1.eth0"].mac != other.endpoints["db1.eth0"].mac
    assert one.hosts["kvm1"].dpid != other.hosts["kvm1"].dpid


@pytest.mark.parametrize(
    ("old", "new", "lan", "office"),
    [
        ("", "", 1500, 1442),
        ("nics: [ens1]}}}\nseg", "nics: [ens1], mtu: 1400}}}\nseg", 1400, 1342),
        ("nics: [ens1]", "nics: [ens1], mtu: 9000", 9000, 8942),
        ("nics: [ens1]}}}\nseg", "nics: [ens1], mtu: 9000}}}\nseg", 1500, 1442),
        ("uplink: physnet}", "uplink: physnet, mtu: 1280}", 1500, 1280),
        ("vlan: 5", "vlan: 5, mtu: 1400", 1400, 1442),
    ],
)
def test_the_mtu_is_what_the_underlay_leaves(old, new, lan, office):
    made = fabric(SOUND.replace(old, new) if old else SOUND)
    assert (made.segments["lan"].mtu, made.segments["office"].mtu) == (lan, office)


def test_a_tunnel_over_ipv6_takes_more():
    made = fabric(SOUND.replace("10.10.10.1/24", '"fd00::1/64"').replace("10.10.10.2/24", '"fd00::2/64"'))
    assert made.segments["office"].mtu == 1422


def test_the_mtu_of_the_tunnels_is_that_of_the_uplink_with_the_underlay_address():
    two = "{storage: {nics: [ens2], mtu: 1300}, physnet: {nics: [ens1], address: 10.10.10.1/24, mtu: 9000}}"
    text = SOUND.replace("{physnet: {nics: [ens1]}}", two, 1).replace("nics: [ens1]}}}\nseg", "nics: [ens1], mtu: 9000}}}\nseg")
    assert fabric(text).segments["office"].mtu == 8942


def test_strangers_live_on_bridged_segments_and_where_a_guest_may_spoof():
    assert {name for name, segment in fabric(SOUND).segments.items() if segment.strangers} == {"lan"}
    spoofing = SOUND.replace("ip: 10.0.9.5", "spoof: true")
    assert {name for name, segment in fabric(spoofing).segments.items() if segment.strangers} == {"lan", "db"}


def test_the_gateway_is_the_first_address_or_the_one_that_is_given():
    assert str(fabric(SOUND).segments["db"].subnets[0].gateway) == "10.0.9.1"
    given = SOUND.replace("[10.0.9.0/24]", "[10.0.9.0/24], gateway: 10.0.9.254")
    assert str(fabric(given).segments["db"].subnets[0].gateway) == "10.0.9.254"


def test_a_lab_plugs_guests_into_namespaces_and_a_real_host_into_taps():
    text = SOUND.replace("ip: 10.0.9.5", "attach: tap").replace("ip: 10.0.9.4", "attach: {port: vnet7}")
    kinds = [{endpoint.name: endpoint.attach for endpoint in fabric(text, lab).endpoints.values()} for lab in (False, True)]
    assert kinds[0] == {"web1.eth0": "tap", "web1.eth1": "port", "db1.eth0": "tap"}
    assert kinds[1] == {"web1.eth0": "netns", "web1.eth1": "port", "db1.eth0": "tap"}
    assert fabric(text).endpoints["web1.eth1"].port == "vnet7"


def test_a_lab_gives_a_host_without_uplinks_a_wire_for_its_tunnels():
    text = overlay(guest("a"))
    assert fabric(text).hosts["kvm1"].uplinks == {}
    uplink = fabric(text, lab=True).hosts["kvm1"].uplinks["underlay"]
    assert (uplink.bridge, uplink.nics, uplink.address) == ("wx-underlay", ("under0",), "keep")
    assert set(fabric(SOUND, lab=True).hosts["kvm1"].uplinks) == {"physnet"}


def test_a_lab_has_an_outside_also_where_the_file_says_none():
    assert fabric(SOUND).lab is None
    assert str(fabric(SOUND, lab=True).lab.outside) == "203.0.113.0/24"


def test_every_object_knows_its_line():
    text = "fabric: shop\nhosts:\n  kvm1:\n    uplinks:\n      physnet:\n        nics: [ens1]\nsegments:\n  lan:\n    mode: bridged\n"
    text += "    uplink: physnet\nguests:\n  web1:\n    host: kvm1\n    nics:\n      - segment: lan\n"
    made = fabric(text)
    assert str(made.hosts["kvm1"].source) == "shop.yaml:3"
    assert str(made.hosts["kvm1"].uplinks["physnet"].source) == "shop.yaml:5"
    assert str(made.segments["lan"].source) == "shop.yaml:8"
    assert str(made.guests["web1"].source) == "shop.yaml:12"
    assert str(made.endpoints["web1.eth0"].source) == "shop.yaml:15"
