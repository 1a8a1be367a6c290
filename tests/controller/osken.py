"""The same messages through os-ken's objects: the other opinion that weft's bytes are held against."""

from collections.abc import Iterable
from typing import Any

from os_ken.ofproto import ofproto_v1_3, ofproto_v1_3_parser, ofproto_v1_4, ofproto_v1_4_parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from weft.apps import flow as f
from weft.controller import wire
from weft.controller.actions import _NXM0, _NXM1  # which fields have a Nicira name is not os-ken's business

MATCH_NAMES = {
    "tun_id": "tunnel_id", "ip_src": "ipv4_src", "ip_dst": "ipv4_dst", "icmp_type": "icmpv4_type", "icmp_code": "icmpv4_code",
    "nd_target": "ipv6_nd_target", "nd_sll": "ipv6_nd_sll", "nd_tll": "ipv6_nd_tll",
}  # fmt: skip
PARSERS = {wire.V1_3: ofproto_v1_3_parser, wire.V1_4: ofproto_v1_4_parser}
NUMBERS = {wire.V1_3: ofproto_v1_3, wire.V1_4: ofproto_v1_4}


def datapath(version: int) -> Any:
    return ProtocolDesc(version)


def serialised(message: Any, xid: int) -> bytes:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)


def _user(field: str, value: int) -> Any:
    """A value as os-ken takes it from users: addresses as text."""
    if field in ("eth_src", "eth_dst", "arp_sha", "arp_tha", "nd_sll", "nd_tll"):
        return ":".join(f"{value >> shift & 0xFF:02x}" for shift in range(40, -8, -8))
    if field in ("ip_src", "ip_dst", "arp_spa", "arp_tpa"):
        return str(f.IPv4Address(value))
    if field in ("ipv6_src", "ipv6_dst", "nd_target"):
        return str(f.IPv6Address(value))
    return value


def match(version: int, terms: f.Match) -> Any:
    """In the order given: os-ken would sort by header, Open vSwitch does not."""
    fields = []
    for field, value, mask in terms:
        given = _user(field, value) if mask is None else (_user(field, value), _user(field, mask))
        if field == "ct_state" and mask is None:
            given = (value, 0xFF)
        fields.append((MATCH_NAMES.get(field, field), given))
    return PARSERS[version].OFPMatch(_ordered_fields=fields)


def nxm(field: str) -> str:
    """A field's name inside Nicira's actions."""
    if field in ("nd_target", "nd_sll", "nd_tll"):
        return field
    name = MATCH_NAMES.get(field, field)
    return f"{name}_nxm" if field in _NXM0 or field in _NXM1 else name


def _bits(bits: f.Bits) -> int:
    return bits.low << 6 | bits.width - 1


def actions(version: int, some: Iterable[f.Action]) -> list[Any]:
    return [action(PARSERS[version], version, one) for one in some]


def action(p: Any, version: int, one: f.Action) -> Any:  # noqa: C901
    match one:
        case f.Output(f.Bits() as port, most):
            return p.NXActionOutputReg(ofs_nbits=_bits(port), src=nxm(port.field), max_len=most)
        case f.Output(port, most):
            return p.OFPActionOutput(port, most if port == f.CONTROLLER else 0)
        case f.Set(field, value, None):
            return p.OFPActionSetField(**{MATCH_NAMES.get(field, field): _user(field, value)})
        case f.Set(field, value, mask):
            low = (mask & -mask).bit_length() - 1
            bits = f.Bits(field, low, (mask >> low).bit_length())
            assert mask == bits.mask and bits.width <= 64, "one run of bits only"
            return p.NXActionRegLoad(ofs_nbits=_bits(bits), dst=nxm(field), value=value >> low)
        case f.Move(source, target):
            return p.NXActionRegMove(nxm(source.field), nxm(target.field), source.width, source.low, target.low)
        case f.PushVlan(ethertype):
            return p.OFPActionPushVlan(ethertype)
        case f.PopVlan():
            return p.OFPActionPopVlan()
        case f.DecTtl():
            return p.OFPActionDecNwTtl()
        case f.ToGroup(group):
            return p.OFPActionGroup(group)
        case f.BySender(choices, target):
            return p.NXActionMultipath(4, 0, 2, choices - 1, 0, _bits(target), nxm(target.field))
        case f.Conjunction(number, dimension, of):
            return p.NXActionConjunction(dimension, of, number)
        case f.Resubmit(table):
            return p.NXActionResubmitTable(0xFFF8, table)
        case f.Ct() if not (one.nat and one.nat.port and one.exec):  # os-ken forgets the padding between the two
            zone = ("", one.zone) if isinstance(one.zone, int) else (nxm(one.zone.field), _bits(one.zone))
            inner = [_nat(p, one.nat)] if one.nat is not None else []
            table = 0xFF if one.table is None else one.table
            return p.NXActionCT(one.commit | one.force << 1, *zone, table, 0, [*inner, *actions(version, one.exec)])
        case f.Learn() if not one.limit:
            specs = [_spec(p, spec) for spec in one.specs]
            times = {"idle_timeout": one.idle_timeout, "hard_timeout": one.hard_timeout, "priority": one.priority}
            return p.NXActionLearn(one.table, specs, **times, cookie=one.cookie, flags=one.delete_learned << 1)
    raise NotImplementedError(one)


def _nat(p: Any, nat: f.Nat) -> Any:
    address = nat.src if nat.src is not None else nat.dst
    given: dict[str, Any] = {}
    if address is not None and int(address):
        given[f"range_ipv{address.version}_min"] = str(address)
    return p.NXActionNAT(int(nat.src is not None) | (nat.dst is not None) << 1, **given, range_proto_min=nat.port, range_proto_max=nat.last)


def _spec(p: Any, spec: f.LearnMatch | f.LearnLoad) -> Any:
    kind = p.NXFlowSpecMatch if isinstance(spec, f.LearnMatch) else p.NXFlowSpecLoad
    source = spec.source if isinstance(spec.source, int) else (nxm(spec.source.field), spec.source.low)
    return kind(source, (nxm(spec.target.field), spec.target.low), spec.target.width)


def flow_mod(version: int, xid: int, command: int, flow: f.Flow) -> bytes:
    p, o = PARSERS[version], NUMBERS[version]
    instructions: list[Any] = []
    listed = [one for one in flow.actions if not isinstance(one, f.Goto | f.ToMeter)]
    for one in flow.actions:
        if isinstance(one, f.ToMeter):
            instructions.append(p.OFPInstructionMeter(one.meter))
    if listed:
        instructions.append(p.OFPInstructionActions(o.OFPIT_APPLY_ACTIONS, actions(version, listed)))
    instructions += [p.OFPInstructionGotoTable(one.table) for one in flow.actions if isinstance(one, f.Goto)]
    message = p.OFPFlowMod(
        datapath(version),
        cookie=flow.cookie,
        table_id=flow.table,
        command=command,
        priority=flow.priority,
        buffer_id=o.OFP_NO_BUFFER,
        out_port=o.OFPP_ANY,
        out_group=o.OFPG_ANY,
        match=match(version, flow.match),
        instructions=instructions,
    )
    return serialised(message, xid)


