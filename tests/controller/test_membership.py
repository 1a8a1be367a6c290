"""What guests say of multicast groups: os-ken's frames are understood, and no bytes do harm."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.lib.packet import ethernet, icmpv6, igmp, ipv4, ipv6, packet, vlan

from tests.fabrics import TWO_HOSTS, fabric
from weft.controller.membership import Query, Report, checksum, queries, said
from weft.controller.snooping import FORGET, GROUPS_MOST, KNOWN_MOST, Members, packet_in
from weft.topology.model import Endpoint

G4, G6 = "239.1.2.3", "ff15::123"


def frame4(*upper: object, tag: int | None = None) -> bytes:
    tags = [vlan.vlan(vid=tag, ethertype=0x0800)] if tag else []
    return made(ethernet.ethernet("01:00:5e:01:02:03", "02:00:00:00:00:01", 0x8100 if tag else 0x0800), *tags,
                ipv4.ipv4(src="10.0.9.5", dst=G4, proto=2, ttl=1, option=b"\x94\x04\0\0", header_length=6), *upper)  # fmt: skip


def frame6(upper: object, hop_limit: int = 1, src: str = "fe80::1") -> bytes:
    """With the router alert put in by hand: behind an extension header os-ken takes the wrong protocol into the checksum."""
    head = ipv6.ipv6(nxt=58, hop_limit=hop_limit, src=src, dst="ff02::16")
    plain = made(ethernet.ethernet("33:33:00:00:00:16", "02:00:00:00:00:01", 0x86DD), head, upper)
    length = (int.from_bytes(plain[18:20], "big") + 8).to_bytes(2, "big")
    return plain[:18] + length + b"\0" + plain[21:54] + bytes((58, 0, 5, 2, 0, 0, 1, 0)) + plain[54:]


def made(*headers: object) -> bytes:
    whole = packet.Packet()
    for header in headers:
        whole.add_protocol(header)
    whole.serialize()
    return bytes(whole.data)


def v3(*records: tuple[int, list[str]]) -> igmp.igmpv3_report:
    return igmp.igmpv3_report(records=[igmp.igmpv3_report_group(kind, 0, 0, G4, list(sources)) for kind, sources in records])


def mld2(*records: tuple[int, list[str]]) -> icmpv6.icmpv6:
    made = [icmpv6.mldv2_report_group(kind, 0, 0, G6, list(sources)) for kind, sources in records]
    return icmpv6.icmpv6(type_=143, data=icmpv6.mldv2_report(records=made))


JOIN4, LEAVE4, JOIN6, LEAVE6 = (Report(ip_address(group), joined) for group in (G4, G6) for joined in (True, False))
FRAMES = {
    "IGMPv1 joins": (frame4(igmp.igmp(0x12, 0, 0, G4)), (JOIN4,)),
    "IGMPv2 joins": (frame4(igmp.igmp(0x16, 0, 0, G4)), (JOIN4,)),
    "IGMPv2 leaves": (frame4(igmp.igmp(0x17, 0, 0, G4)), (LEAVE4,)),
    "IGMPv2 asks": (frame4(igmp.igmp(0x11, 100, 0, "0.0.0.0")), (Query(True),)),
    "IGMPv2 asks for one group": (frame4(igmp.igmp(0x11, 100, 0, G4)), (Query(False),)),
    "IGMPv3 joins": (frame4(v3((4, []))), (JOIN4,)),
    "IGMPv3 answers": (frame4(v3((2, []))), (JOIN4,)),
    "IGMPv3 leaves": (frame4(v3((3, []))), (LEAVE4,)),
    "IGMPv3 wants one sender": (frame4(v3((1, ["10.0.9.9"]))), (JOIN4,)),
    "IGMPv3 wants another sender, and one no more": (frame4(v3((5, ["10.0.9.9"]), (6, ["10.0.9.8"]))), (JOIN4,)),
    "IGMPv3 asks": (frame4(igmp.igmpv3_query()), (Query(True),)),
    "IGMP behind a tag": (frame4(igmp.igmp(0x16, 0, 0, G4), tag=5), (JOIN4,)),
    "IGMP of no group": (frame4(igmp.igmp(0x16, 0, 0, "10.0.9.7")), ()),
    "MLDv1 joins": (frame6(icmpv6.icmpv6(131, data=icmpv6.mld(0, G6))), (JOIN6,)),
    "MLDv1 leaves": (frame6(icmpv6.icmpv6(132, data=icmpv6.mld(0, G6))), (LEAVE6,)),
    "MLDv1 asks": (frame6(icmpv6.icmpv6(130, data=icmpv6.mld(0, "::"))), (Query(True),)),
    "MLDv2 joins": (frame6(mld2((4, []))), (JOIN6,)),
    "MLDv2 leaves": (frame6(mld2((3, []))), (LEAVE6,)),
    "MLDv2 wants one sender": (frame6(mld2((1, ["fd00::1"]))), (JOIN6,)),
    "MLD from afar": (frame6(mld2((4, [])), hop_limit=64), ()),
    "MLD from no neighbour": (frame6(mld2((4, [])), src="fd00::5"), ()),
}


@pytest.mark.parametrize("case", FRAMES)
def test_what_is_said_of_groups_is_understood(case: str) -> None:
    frame, expected = FRAMES[case]
    assert said(frame) == expected


@pytest.mark.parametrize("case", FRAMES)
def test_half_of_it_says_nothing(case: str) -> None:
    frame, expected = FRAMES[case]
    whole = next((length for length in range(len(frame) + 1) if said(frame[:length])), len(frame))  # os-ken fills up to 60 bytes
    assert not expected or not any(frame[whole:])
    assert all(said(frame[:length]) == expected for length in range(whole, len(frame)))


@given(st.sampled_from([frame for frame, expected in FRAMES.values() if expected]), st.integers(0, 200), st.integers(1, 255))
def test_a_wrong_byte_says_nothing_or_the_same_of_the_same_groups(frame: bytes, place: int, flip: int) -> None:
    """Checksums find what is wrong in the message itself; the headers before it are not all under one."""
    at = place % len(frame)
    wrong = frame[:at] + bytes((frame[at] ^ flip,)) + frame[at + 1 :]
    assert said(wrong) in ((), said(frame))


HEAD4, HEAD6 = bytes(12) + bytes.fromhex("0800460000200000000001") + b"\2", bytes(12) + bytes.fromhex("86dd60000000002000") + b"\1"


@given(st.binary(max_size=200), st.sampled_from([b"", HEAD4, HEAD6]))
def test_no_bytes_do_harm(tail: bytes, head: bytes) -> None:
    said(head + tail)
    packet_in(head + tail)


@pytest.mark.parametrize("tag", [None, 5])
def test_our_queries_are_queries(tag: int | None) -> None:
    four, six = queries("02:00:00:00:00:01", tag, 2)
    assert said(four) == said(six) == (Query(True),)
    first, second = packet.Packet(four), packet.Packet(six)
    assert first.get_protocol(ipv4.ipv4).src == "0.0.0.0"
    assert (first.get_protocol(ipv4.ipv4).dst, first.get_protocol(ipv4.ipv4).ttl) == ("224.0.0.1", 1)
    assert checksum(four[len(four) - 36 : len(four) - 12]) == 0
    assert first.get_protocol(igmp.igmpv3_query).maxresp == 20
    assert second.get_protocol(ipv6.ipv6).src == "fe80::ff:fe00:1"
    assert second.get_protocol(icmpv6.icmpv6).data.maxresp == 2000
    assert (first.get_protocol(vlan.vlan) is not None) == (tag is not None)


# ---- what is made of it

GUESTS = fabric(
    TWO_HOSTS + "segments: {club: {mode: isolated, subnets: [10.0.9.0/24], multicast: snoop}}\n"
    "guests:\n  a: {host: kvm1, nics: [{segment: club}]}\n  b: {host: kvm1, nics: [{segment: club}]}\n"
    "  r: {host: kvm1, nics: [{segment: club, spoof: true}]}\n"
).endpoints
A, B, R = (GUESTS[f"{name}.eth0"] for name in "abr")


def held(members: Members) -> dict[str, set[str]]:
    return {str(group): set(names) for group, names in members.groups.items()}


def join(members: Members, endpoint: Endpoint, group: str = G4, now: float = 0) -> bool:
    return members.hear(endpoint, Report(ip_address(group), True), now)


def test_only_news_is_news() -> None:
    members = Members()
    assert join(members, A)
    assert not join(members, A)
    assert join(members, B)
    assert held(members) == {G4: {"a.eth0", "b.eth0"}}


def test_who_leaves_is_out_at_once_and_a_group_without_members_is_remembered() -> None:
    members = Members()
    join(members, A)
    assert members.hear(A, LEAVE4, 1)
    assert not members.hear(A, LEAVE4, 1)
    assert held(members) == {G4: set()}


def test_behind_a_router_guest_others_may_want_what_one_leaves() -> None:
    members = Members()
    join(members, R)
    assert not members.hear(R, LEAVE4, 1)
    assert held(members) == {G4: {"r.eth0"}}


def test_who_says_nothing_for_long_has_left() -> None:
    members = Members()
    join(members, A, now=0)
    join(members, B, now=10)
    assert not members.forget(FORGET - 1, {A.name, B.name})
    assert members.forget(FORGET + 1, {A.name, B.name})
    assert held(members) == {G4: {"b.eth0"}}
    assert members.forget(FORGET + 1, {A.name})


def test_what_is_for_the_link_is_not_remembered() -> None:
    members = Members()
    assert not join(members, A, "224.0.0.251")
    assert not join(members, A, "ff02::1:ff00:5")
    assert held(members) == {}


def test_one_endpoint_may_join_so_many_groups_and_nobody_elses_suffer() -> None:
    members = Members()
    for number in range(2 * GROUPS_MOST):
        join(members, A, str(ip_address("239.0.0.0") + number))
    assert len(members.groups) == GROUPS_MOST
    assert join(members, B, "239.9.9.9")


def test_so_many_groups_are_remembered() -> None:
    members = Members()
    for number in range(KNOWN_MOST + 10):
        group = ip_address("239.0.0.0") + number
        join(members, A, str(group))
        members.hear(A, Report(group, False), 0)
    assert len(members.groups) == KNOWN_MOST
