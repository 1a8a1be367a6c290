"""The packet and metadata fields weft matches and sets: name, width, OXM header, prerequisites.

Names and meaning are those of ovs-fields(7); class and number are the OXM header's (OpenFlow 1.3.5, 7.2.3.2). The order is the one
in which Open vSwitch writes a match back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

BASIC = 0x8000
NXM0 = 0x0000
NXM1 = 0x0001
EXT = 0x8001  # "packet registers" of OpenFlow 1.5, xreg0 ...
ONF = 0xFFFF  # experimenter fields; all of ours are the ONF's

ARP = 0x0806
IP = 0x0800
IPV6 = 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    bits: int
    oxm_class: int
    number: int
    needs: tuple[tuple[str, int], ...] = ()
    """Prerequisites that follow from the field alone; `match()` adds them."""

    @property
    def octets(self) -> int:
        return (self.bits + 7) // 8

    @property
    def ones(self) -> int:
        return (1 << self.bits) - 1


_ARP = (("eth_type", ARP),)
_IP = (("eth_type", IP),)
_IPV6 = (("eth_type", IPV6),)
_CT4, _CT6 = _IP, _IPV6  # and a ct_state that says "tracked and not invalid", which has a mask
_ICMP6 = (("eth_type", IPV6), ("ip_proto", ICMPV6))

FIELDS: Mapping[str, Field] = {
    f.name: f
    for f in (
        Field("conj_id", 32, NXM1, 37),
        Field("in_port", 32, BASIC, 0),
        Field("eth_src", 48, BASIC, 4),
        Field("eth_dst", 48, BASIC, 3),
        Field("eth_type", 16, BASIC, 5),
        Field("vlan_vid", 13, BASIC, 6),
        Field("vlan_pcp", 3, BASIC, 7),
        Field("ip_src", 32, BASIC, 11, _IP),
        Field("ip_dst", 32, BASIC, 12, _IP),
        Field("ipv6_src", 128, BASIC, 26, _IPV6),
        Field("ipv6_dst", 128, BASIC, 27, _IPV6),
        Field("ip_dscp", 6, BASIC, 8),
        Field("nw_ttl", 8, NXM1, 29),
        Field("ip_proto", 8, BASIC, 10),
        Field("tcp_src", 16, BASIC, 13, (("ip_proto", TCP),)),
        Field("tcp_dst", 16, BASIC, 14, (("ip_proto", TCP),)),
        Field("tcp_flags", 12, ONF, 42, (("ip_proto", TCP),)),
        Field("udp_src", 16, BASIC, 15, (("ip_proto", UDP),)),
        Field("udp_dst", 16, BASIC, 16, (("ip_proto", UDP),)),
        Field("icmp_type", 8, BASIC, 19, (*_IP, ("ip_proto", ICMP))),
        Field("icmp_code", 8, BASIC, 20, (*_IP, ("ip_proto", ICMP))),
        Field("icmpv6_type", 8, BASIC, 29, _ICMP6),
        Field("icmpv6_code", 8, BASIC, 30, _ICMP6),
        Field("nd_target", 128, BASIC, 31, _ICMP6),
        Field("nd_sll", 48, BASIC, 32, (*_ICMP6, ("icmpv6_type", 135))),
        Field("nd_tll", 48, BASIC, 33, (*_ICMP6, ("icmpv6_type", 136))),
        Field("arp_op", 16, BASIC, 21, _ARP),
        Field("arp_spa", 32, BASIC, 22, _ARP),
        Field("arp_tpa", 32, BASIC, 23, _ARP),
        Field("arp_sha", 48, BASIC, 24, _ARP),
        Field("arp_tha", 48, BASIC, 25, _ARP),
        Field("tun_id", 64, BASIC, 38),
        *(Field(f"reg{n}", 32, NXM1, n) for n in range(8)),
        Field("ct_state", 32, NXM1, 105),
        Field("ct_zone", 16, NXM1, 106),
        Field("ct_mark", 32, NXM1, 107),
        Field("ct_label", 128, NXM1, 108),
        Field("ct_nw_src", 32, NXM1, 120, _CT4),
        Field("ct_ipv6_src", 128, NXM1, 122, _CT6),
        Field("ct_nw_dst", 32, NXM1, 121, _CT4),
        Field("ct_ipv6_dst", 128, NXM1, 123, _CT6),
        Field("ct_nw_proto", 8, NXM1, 119),
        Field("ct_tp_src", 16, NXM1, 124),
        Field("ct_tp_dst", 16, NXM1, 125),
        Field("metadata", 64, BASIC, 2),
    )
}

CT_STATE: Mapping[str, int] = {
    "new": 0x01, "est": 0x02, "rel": 0x04, "rpl": 0x08, "inv": 0x10, "trk": 0x20, "snat": 0x40, "dnat": 0x80,
}  # fmt: skip


def ct_state(text: str) -> tuple[int, int]:
    """``"+trk+new-inv"`` as (value, mask), as ovs-fields(7) writes it. Raises KeyError for a flag it does not know."""
    value = mask = 0
    for sign, flag in zip(text[::4], (text[i : i + 3] for i in range(1, len(text), 4)), strict=True):
        mask |= CT_STATE[flag]
        value |= CT_STATE[flag] if sign == "+" else 0
    return value, mask
