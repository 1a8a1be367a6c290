"""Message templates, held against os-ken's serialisation."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.controller import osken
from weft.apps.flow import ALL
from weft.controller import wire
from weft.controller.reactive import both, forget, packet_in
from weft.topology.names import LEARNED_COOKIE

versions = pytest.mark.parametrize("version", wire.VERSIONS)


def test_hello_offers_1_3_and_1_4() -> None:
    parsed = osken.PARSERS[5].OFPHello.parser(None, 5, 0, 16, 7, bytearray(wire.hello(7)))
    assert [sorted(element.versions) for element in parsed.elements] == [[4, 5]]


@pytest.mark.parametrize(
    ("header", "bitmap", "spoken"),
    [(6, [1, 4, 5, 6], 5), (6, [1, 4], 4), (5, None, 5), (4, None, 4), (1, None, None), (6, [1, 6], None), (200, None, 5)],
)
def test_the_highest_common_version_is_spoken(header, bitmap, spoken) -> None:
    element = b"" if bitmap is None else struct.pack("!HHI", 1, 8, sum(1 << version for version in bitmap))
    assert wire.common_version(wire.message(header, wire.HELLO, 1, element)) == spoken


@versions
def test_requests_are_what_os_ken_makes_of_them(version) -> None:
    p, o, dp = osken.PARSERS[version], osken.NUMBERS[version], osken.datapath(version)
    same = osken.serialised
    assert wire.set_config(version, 3) == same(p.OFPSetConfig(dp, 0, 0xFFFF), 3)
    assert wire.set_config(version, 3, fragments=True) == same(p.OFPSetConfig(dp, 3, 0xFFFF), 3)
    assert wire.role_request(version, 3, 1 << 40) == same(p.OFPRoleRequest(dp, o.OFPCR_ROLE_MASTER, 1 << 40), 3)
    assert wire.message(version, wire.BARRIER_REQUEST, 3) == same(p.OFPBarrierRequest(dp), 3)
    assert wire.message(version, wire.ECHO_REQUEST, 3, b"x") == same(p.OFPEchoRequest(dp, b"x"), 3)
    assert wire.message(version, wire.FEATURES_REQUEST, 3) == same(p.OFPFeaturesRequest(dp), 3)
    assert wire.multipart_request(version, 3, wire.MP_DESC) == same(p.OFPDescStatsRequest(dp, 0), 3)
    assert wire.multipart_request(version, 3, wire.MP_PORT_DESC)[:16] == same(p.OFPPortDescStatsRequest(dp, 0), 3)[:2] + struct.pack(
        "!HIHHI", 16, 3, 13, 0, 0
    )
    assert wire.multipart_request(version, 3, wire.MP_GROUP_DESC)[8:] == same(p.OFPGroupDescStatsRequest(dp, 0), 3)[8:16]
    dump = p.OFPFlowStatsRequest(dp, 0, o.OFPTT_ALL, o.OFPP_ANY, o.OFPG_ANY, 5, 6, p.OFPMatch())
    assert wire.flow_dump(version, 3, 5, 6) == same(dump, 3)


@versions
@given(port=st.integers(1, 0xFFFFFF00), data=st.binary(max_size=100))
def test_a_packet_out_is_what_os_ken_makes_of_it(version, port, data) -> None:
    p, o, dp = osken.PARSERS[version], osken.NUMBERS[version], osken.datapath(version)
    theirs = p.OFPPacketOut(dp, o.OFP_NO_BUFFER, port, [p.OFPActionOutput(ALL, 0xFFFF)], data)
    assert wire.packet_out(version, 9, port, ALL, data) == osken.serialised(theirs, 9)


def test_bundle_messages_are_what_os_ken_makes_of_them() -> None:
    p, o, dp = osken.PARSERS[5], osken.NUMBERS[5], osken.datapath(5)
    for kind in (wire.BUNDLE_OPEN, wire.BUNDLE_COMMIT, wire.BUNDLE_DISCARD):
        assert wire.bundle_control(5, 9, 7, kind) == osken.serialised(p.OFPBundleCtrlMsg(dp, 7, kind, 3, []), 9)
    inner = p.OFPBarrierRequest(dp)
    inner.set_xid(9)
    theirs = p.OFPBundleAddMsg(dp, 7, o.OFPBF_ATOMIC | o.OFPBF_ORDERED, inner, [])
    assert wire.bundled(7, wire.message(5, wire.BARRIER_REQUEST, 9)) == osken.serialised(theirs, 9)


@versions
@given(vlan=st.integers(0, 4095), mac=st.binary(min_size=6, max_size=6), out=st.integers(1, 100), data=st.binary(min_size=14, max_size=80))
def test_the_learning_apps_answer_is_what_os_ken_makes_of_it(version, vlan, mac, out, data) -> None:
    p, o, dp = osken.PARSERS[version], osken.NUMBERS[version], osken.datapath(version)
    text = mac.hex(":")
    vid = vlan | 0x1000 if vlan else 0
    match = p.OFPMatch(_ordered_fields=[("in_port", 3), ("eth_src", text), ("eth_dst", "0a:00:00:00:00:01"), ("vlan_vid", vid)])
    actions = [p.OFPActionOutput(out, 0)]
    flow = p.OFPFlowMod(
        dp, LEARNED_COOKIE, 0, 0, o.OFPFC_ADD, 60, 0, 10, o.OFP_NO_BUFFER, o.OFPP_ANY, o.OFPG_ANY, 0,
        match=match, instructions=[p.OFPInstructionActions(o.OFPIT_APPLY_ACTIONS, actions)],
    )  # fmt: skip
    packet = p.OFPPacketOut(dp, o.OFP_NO_BUFFER, 3, actions, data)
    ours = both(version, (3, vlan, mac, bytes.fromhex("0a0000000001")), out, data)
    assert ours == osken.serialised(flow, 0) + osken.serialised(packet, 0)


def test_forgetting_a_mac_deletes_learned_flows_only() -> None:
    p, o, dp = osken.PARSERS[5], osken.NUMBERS[5], osken.datapath(5)
    match = p.OFPMatch(_ordered_fields=[("eth_dst", "0a:00:00:00:00:01"), ("vlan_vid", 0x1005)])
    theirs = p.OFPFlowMod(
        dp, LEARNED_COOKIE, (1 << 64) - 1, 0, o.OFPFC_DELETE, 0, 0, 0, o.OFP_NO_BUFFER, o.OFPP_ANY, o.OFPG_ANY, match=match
    )
    assert forget(5, 5, bytes.fromhex("0a0000000001")) == osken.serialised(theirs, 0)


def frame(tag: int | None) -> bytes:
    head = bytes.fromhex("0a0000000001 0a0000000002")
    return head + (b"" if tag is None else struct.pack("!HH", 0x8100, tag)) + b"\x08\0" + bytes(30)


@versions
@pytest.mark.parametrize("extra", [{}, {"metadata": 5, "tunnel_id": 9}])
@pytest.mark.parametrize("tag", [None, 0, 5, 0xA005])
def test_a_packet_in_of_os_ken_is_understood(version, extra, tag) -> None:
    p, o, dp = osken.PARSERS[version], osken.NUMBERS[version], osken.datapath(version)
    match = bytearray()
    p.OFPMatch(in_port=7, **extra).serialize(match, 0)
    body = struct.pack("!IHBBQ", o.OFP_NO_BUFFER, 50, 0, 0, 0) + bytes(match) + b"\0\0" + frame(tag)
    message = b"before" + wire.message(version, wire.PACKET_IN, 1, body)
    port, vlan, target, source, begin = packet_in(message + b"after", 6, len(message))
    assert (port, vlan, target.hex(), source.hex()) == (7, (tag or 0) & 0xFFF, "0a0000000001", "0a0000000002")
    assert message[begin:] == frame(tag) and dp


@given(st.binary(max_size=120))
def test_a_packet_in_of_garbage_is_refused(body) -> None:
    message = wire.message(5, wire.PACKET_IN, 1, body)
    with suppress(wire.Malformed, struct.error):
        *_, begin = packet_in(message, 0, len(message))
        assert begin + 14 <= len(message)


@versions
def test_ports_of_os_ken_are_understood(version) -> None:
    p = osken.PARSERS[version]
    if version == wire.V1_3:
        body = struct.pack("!I4x6s2x16s8I", 3, bytes(6), b"web1-eth0", 0, 0, 0, 0, 0, 0, 0, 0)
        assert p.OFPPort.parser(body, 0).name == b"web1-eth0"
    else:
        body = struct.pack("!IH2x6s2x16sII", 3, 72, bytes(6), b"web1-eth0", 0, 0) + struct.pack("!HH4x6I", 0, 32, *[0] * 6)
        assert p.OFPPort.parser(body, 0).name == b"web1-eth0"
    assert list(wire.ports(version, body * 2)) == [("web1-eth0", 3, 0)] * 2
    with pytest.raises(wire.Malformed):
        list(wire.ports(version, body[:-8]))
