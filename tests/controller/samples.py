"""One flow at least for every field and every kind of action that weft has: what the encoder is held against."""

from ipaddress import ip_address, ip_network

from weft.apps.flow import (
    CONTROLLER,
    FLOOD,
    IN_PORT,
    LOCAL,
    NORMAL,
    Action,
    Bits,
    Bucket,
    BySender,
    Clone,
    Conjunction,
    Ct,
    Cut,
    DecTtl,
    Flow,
    Given,
    Goto,
    Group,
    Larger,
    Learn,
    LearnLoad,
    LearnMatch,
    Match,
    Meter,
    Move,
    Nat,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    Set,
    ToGroup,
    ToMeter,
    apart,
    match,
)
from weft.topology.names import LEARNED_COOKIE

V4, V6, MAC = ip_address("10.1.2.3"), ip_address("fd00::1"), "0a:02:03:04:05:06"
NET4, NET6 = ip_network("10.0.0.0/8"), ip_network("fd00::/64")
IS4: dict[str, Given] = {"eth_type": 0x0800}
IS6: dict[str, Given] = {"eth_type": 0x86DD}

MATCHES: tuple[dict[str, Given], ...] = (
    {},
    {"in_port": 1},
    {f"reg{n}": n + 1 for n in range(8)},
    {"reg0": (0x10, 0xF0), "reg1": (0x500, 0xF0F)},
    {"metadata": 7},
    {"metadata": (7, 0xFF), "tun_id": (9, 0xFFFFFF)},
    {"tun_id": 9},
    {"in_port": 1, "eth_dst": MAC, "eth_src": MAC, "eth_type": 0x88CC},
    {"eth_dst": (1 << 40, 1 << 40)},
    {"vlan_vid": 0},
    {"vlan_vid": 0x1005},
    {"vlan_vid": (0x1000, 0x1000)},
    {"vlan_vid": 0x1005, "vlan_pcp": 3},
    {"ip_src": V4},
    {"ip_src": NET4, "ip_dst": ip_network("11.0.0.0/16"), "ip_dscp": 5},
    {**IS4, "ip_proto": 17},
    {**IS4, "nw_ttl": 3},
    {"ipv6_src": V6},
    {"ipv6_dst": NET6},
    {**IS4, "tcp_src": 5, "tcp_dst": (0x10, 0xFFF0)},
    {**IS6, "tcp_src": 5},
    {**IS6, "tcp_src": 5, "tcp_dst": 6, "tcp_flags": (0, 2)},
    {"ip_src": V4, "tcp_flags": 0x12, "ct_state": "+trk+new"},
    {"ip_src": V4, "udp_src": 5, "udp_dst": 7},
    {"icmp_type": 8, "icmp_code": 0},
    {"icmpv6_type": 133, "icmpv6_code": 0},
    {"icmpv6_type": 135, "nd_target": V6, "nd_sll": MAC},
    {"nd_tll": MAC},
    {"nd_target": (0xFD << 120, 0xFF << 120), "icmpv6_type": 136},
    {"arp_op": 1, "arp_spa": V4, "arp_tpa": NET4, "arp_sha": MAC, "arp_tha": MAC},
    {"ct_state": "+trk+new-inv", "ct_zone": 5, "ct_mark": 7, "ct_label": 9},
    {"ct_state": 0x21},
    {"ct_state": "+trk-inv", "ct_nw_src": V4, "ct_nw_dst": NET4, "ct_nw_proto": 6, "ct_tp_src": 7, "ct_tp_dst": (0x10, 0xFFF0)},
    {"ct_state": "+trk-inv", "ct_zone": 5, "ct_ipv6_src": V6, "ct_ipv6_dst": NET6, "ct_nw_proto": 58, "ct_label": 9},
    {"ct_state": "+trk-inv", "ct_nw_proto": 17, "ct_tp_dst": 53},
    {"conj_id": 7},
    {"conj_id": 7, "in_port": 1, "reg1": 5},
    {"ct_mark": (1, 1), "ct_label": (1 << 100, 1 << 100)},
    {"in_port": 1, "metadata": 5, "tun_id": 6, "reg0": 1, "reg3": (4, 4), "reg7": 7, "eth_dst": MAC, "eth_src": MAC, "vlan_vid": 0x1005,
     "vlan_pcp": 3, "ip_src": V4, "ip_dst": V4, "ip_dscp": 3, "nw_ttl": 7, "tcp_src": 1, "tcp_dst": 2, "ct_state": "+trk", "ct_zone": 5,
     "ct_mark": 7, "ct_label": 9},
    {"ipv6_src": V6, "ipv6_dst": V6, "ip_dscp": 3, "nw_ttl": 7, "nd_target": V6, "nd_sll": (5, 7)},
)  # fmt: skip

OUT, KEY = Bits("reg2", 0, 16), Bits("reg0", 0, 24)
SRC, DST = Bits("eth_src", 0, 48), Bits("eth_dst", 0, 48)
REMEMBER = (LearnMatch(KEY, KEY), LearnMatch(DST, SRC), LearnLoad(OUT, Bits("in_port", 0, 16)), LearnLoad(Bits("reg1", 4, 4), 3))
TAG = Bits("vlan_vid", 0, 12)

ANYWHERE: tuple[tuple[Action, ...], ...] = (
    (),
    *((Output(port),) for port in (1, LOCAL, CONTROLLER, NORMAL, IN_PORT, FLOOD, OUT, Bits("reg2", 0, 32))),
    (Output(1, 0), Output(2)),
    (Set("reg1", 5), Set("metadata", 5), Set("tun_id", 9), Set("eth_dst", 5)),
    (Set("reg1", 0x50, 0xF0), Set("reg1", 0x501, 0xF0F), Set("tun_id", 9, 0xFF), Set("eth_src", 5, 0xFF), Set("metadata", 6, 0xFFFE)),
    (PushVlan(), Set("vlan_vid", 0x1005), Set("vlan_pcp", 3), Output(1)),
    (Move(SRC, DST), Move(KEY, Bits("tun_id", 0, 24)), Move(Bits("in_port", 0, 16), OUT), Move(TAG, Bits("reg1", 0, 12))),
    (Move(Bits("ct_label", 0, 32), Bits("reg1", 0, 32)), Move(Bits("ct_mark", 0, 32), Bits("reg1", 0, 32))),
    (Set("reg2", 1), Resubmit(5), Set("reg2", 2), Resubmit(5), Goto(6)),
    (Goto(9),),
    (ToMeter(1), Set("reg1", 5), Goto(9)),
    (ToGroup(1),),
    (BySender(3, OUT), BySender(1, Bits("reg7", 16, 16))),
    (Conjunction(7, 0, 3), Conjunction(0x12345678, 1, 2)),
    (Cut(1, 100), Output(2)),
    (Larger(1456, Bits("reg0", 0, 1)), Larger(9014, Bits("reg7", 31, 1)), Resubmit(5)),
    (Clone(()), Clone((Set("tun_id", 7), Set("in_port", 9), Output(1))), Clone((PushVlan(), Set("vlan_vid", 0x1005), Cut(2, 64))), Goto(9)),
    (apart(Resubmit(6)),),
    (Learn(7, 1, LEARNED_COOKIE, REMEMBER, idle_timeout=300),),
    (Learn(7, 1, LEARNED_COOKIE, REMEMBER, idle_timeout=300, limit=1000),),
    (Learn(7, 1, 5, (*REMEMBER, LearnMatch(TAG, TAG), LearnMatch(Bits("reg7", 0, 5), 3)), 300, 5, delete_learned=True), Output(1)),
)  # fmt: skip
TRACKED: tuple[tuple[Action, ...], ...] = (
    (DecTtl(), Set("ip_src", int(V4)), Set("ip_dst", 1, 0xFF), Set("ip_dscp", 5), Set("nw_ttl", 5)),
    (Move(Bits("ip_src", 0, 32), Bits("reg1", 0, 32)), Move(Bits("nw_ttl", 0, 8), Bits("reg1", 0, 8)), Output(1)),
    (Ct(5),),
    (Ct(5, table=3),),
    (Ct(5, commit=True), Output(1)),
    (Ct(Bits("ct_zone", 0, 16), commit=True), Goto(4)),
    (Ct(Bits("reg0", 0, 16), table=4, commit=True, force=True),),
    (Ct(5, commit=True, exec=(Set("ct_mark", 9), Set("ct_mark", 8, 0xF8), Set("ct_label", 9), Set("ct_label", 1 << 100, 1 << 100))),),
    (Ct(5, commit=True, exec=(Move(Bits("reg0", 0, 32), Bits("ct_mark", 0, 32)), Move(OUT, Bits("ct_label", 64, 16)))),),
    (Ct(5, table=3, nat=Nat()),),
    (Ct(5, commit=True, nat=Nat(src=V4)),),
    (Ct(5, commit=True, nat=Nat(src=ip_address("0.0.0.0"))),),
    (Ct(5, commit=True, table=4, nat=Nat(src=V4, port=1024, last=32767)),),
    (Ct(5, commit=True, table=4, nat=Nat(dst=V4, port=80)),),
    (Ct(5, commit=True, nat=Nat(src=V4, port=80), exec=(Set("ct_mark", 1),)),),
)
TRACKED6: tuple[tuple[Action, ...], ...] = (
    (DecTtl(), Set("ipv6_src", int(V6)), Set("ipv6_dst", 5, (1 << 64) - 1), Set("ipv6_dst", 5, (1 << 100) - 1)),
    (Move(Bits("ipv6_src", 0, 32), Bits("reg1", 0, 32)), Set("nw_ttl", 3), Output(1)),
    (Ct(5, commit=True, nat=Nat(src=V6)),),
    (Ct(5, commit=True, nat=Nat(src=V6, port=3)),),
    (Ct(5, commit=True, table=4, nat=Nat(src=V6, port=1024, last=32767)),),
)
ACTIONS: tuple[tuple[dict[str, Given], tuple[tuple[Action, ...], ...]], ...] = (
    ({}, ANYWHERE),
    (IS4, TRACKED),
    (IS6, TRACKED6),
    ({"vlan_vid": 0x1007}, ((PopVlan(),), (PopVlan(), PushVlan(), Set("vlan_vid", 0x1009)))),
    ({"eth_type": 0x0806}, (
        (Set("arp_op", 2), Set("arp_sha", 2), Set("arp_tha", 2, 0xFF), Set("arp_spa", 2)),
        (Move(Bits("arp_spa", 0, 32), Bits("arp_tpa", 0, 32)), Move(Bits("arp_sha", 0, 48), Bits("arp_tha", 0, 48))),
    )),
    ({**IS4, "ip_proto": 6}, ((Set("tcp_src", 2), Set("tcp_dst", 3), Move(Bits("tcp_src", 0, 16), Bits("tcp_dst", 0, 16))),)),
    ({**IS4, "ip_proto": 17}, ((Set("udp_src", 2), Set("udp_dst", 3), Move(Bits("udp_src", 0, 16), Bits("udp_dst", 0, 16))),)),
    ({"icmp_type": 8}, ((Set("icmp_type", 0), Set("icmp_code", 3), Move(Bits("icmp_type", 0, 8), Bits("reg1", 0, 8))),)),
    ({"icmpv6_type": 135}, ((Set("nd_target", 2), Set("nd_sll", 2), Move(Bits("nd_sll", 0, 48), DST)),)),
)  # fmt: skip


def matches() -> tuple[Match, ...]:
    return tuple(match(**given) for given in MATCHES)


def flows() -> tuple[Flow, ...]:
    """All of them, no two with the same table and priority; port 1 and group 1, meter 1 are spoken of."""
    why = ("sample",)
    plain = [Flow(0, 10 + n, one, (Output(1),), why) for n, one in enumerate(matches())]
    acting = [(match(**given), actions) for given, lists in ACTIONS for actions in lists]
    return (*plain, *(Flow(2, 10 + n, one, actions, why) for n, (one, actions) in enumerate(acting)))


GROUPS = (
    Group(1, "all", (Bucket((Output(1),)), Bucket((Set("reg1", 1), Output(2)))), ("sample",)),
    Group(2, "select", (Bucket((Output(1),), 5), Bucket((Output(2),))), ("sample",)),
    Group(3, "fast_failover", (Bucket((Output(1),), watch_port=1), Bucket((Output(2),), watch_port=2)), ("sample",)),
    Group(4, "indirect", (Bucket((Output(1),)),), ("sample",)),
    Group(5, "all", (), ("sample",)),
)
METERS = (
    Meter(1, 1000, 100, False, ("sample",)),
    Meter(2, 1000, 0, True, ("sample",)),
    Meter(3, 1000, 0, False, ("sample",)),
    Meter(4, 10, 5, True, ("sample",)),
)
