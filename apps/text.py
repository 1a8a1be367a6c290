"""Flows in the words of ovs-ofctl(8), for people and for `ofproto/trace`."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from weft.apps import flow as f
from weft.apps.fields import CT_STATE, FIELDS

RESERVED = {
    f.IN_PORT: "IN_PORT",
    f.NORMAL: "NORMAL",
    f.FLOOD: "FLOOD",
    f.ALL: "ALL",
    f.CONTROLLER: "CONTROLLER",
    f.LOCAL: "LOCAL",
}
_V4 = {"ip_src", "ip_dst", "arp_spa", "arp_tpa", "ct_nw_src", "ct_nw_dst"}
_V6 = {"ipv6_src", "ipv6_dst", "nd_target", "ct_ipv6_src", "ct_ipv6_dst"}
_MAC = {"eth_src", "eth_dst", "arp_sha", "arp_tha", "nd_sll", "nd_tll"}
_DECIMAL = {"ip_proto", "arp_op", "tcp_src", "tcp_dst", "udp_src", "udp_dst", "icmp_type", "icmpv6_type", "ct_zone",
            "ct_nw_proto", "ct_tp_src", "ct_tp_dst", "conj_id"}  # fmt: skip


def flow_text(flow: f.Flow, tables: Mapping[int, str] = {}) -> str:
    """One flow as ovs-ofctl prints it, ports by name; `tables` gives tables names: ``table=admit, priority=100, …``."""
    table = tables.get(flow.table, str(flow.table))
    terms = "".join(f",{term_text(term)}" for term in flow.match)
    actions = ",".join(action_text(action, tables) for action in flow.actions) or "drop"
    return f"table={table}, priority={flow.priority}{terms} actions={actions}"


def value_text(field: str, value: f.Value) -> str:
    if isinstance(value, f.Port):
        return value.name
    if field == "in_port":
        return RESERVED.get(value, str(value))
    if field in _V4:
        return str(IPv4Address(value))
    if field in _V6:
        return str(IPv6Address(value))
    if field in _MAC:
        return ":".join(f"{value >> shift & 0xFF:02x}" for shift in range(40, -8, -8))
    return str(value) if field in _DECIMAL else hex(value)


def term_text(term: f.Term) -> str:
    if term.field == "ct_state" and isinstance(term.value, int):
        flags = ("+" if term.value & bit else "-" for bit in CT_STATE.values() if (term.mask or 0) & bit)
        names = (name for name, bit in CT_STATE.items() if (term.mask or 0) & bit)
        return "ct_state=" + "".join(sign + name for sign, name in zip(flags, names, strict=True))
    text = f"{term.field}={value_text(term.field, term.value)}"
    if term.mask is None:
        return text
    if term.field in _V4 | _V6:
        return f"{text}/{term.mask.bit_count()}"
    return f"{text}/{value_text(term.field, term.mask)}"


def bits_text(bits: f.Bits) -> str:
    if bits.width == FIELDS[bits.field].bits:
        return f"{bits.field}[]"
    return f"{bits.field}[{bits.low}..{bits.low + bits.width - 1}]"


def _nat_text(nat: f.Nat) -> str:
    where = [f"{way}={address}" for way, address in (("src", nat.src), ("dst", nat.dst)) if address is not None]
    port = f":{nat.port}" if nat.port is not None else ""
    port += f"-{nat.last}" if nat.last is not None else ""
    return f"nat({where[0]}{port})" if where else "nat"


def _ct_text(ct: f.Ct, tables: Mapping[int, str]) -> str:
    parts = [word for word, on in (("commit", ct.commit), ("force", ct.force)) if on]
    parts.append(f"zone={ct.zone if isinstance(ct.zone, int) else bits_text(ct.zone)}")
    parts += [_nat_text(ct.nat)] if ct.nat else []
    parts += [f"table={tables.get(ct.table, ct.table)}"] if ct.table is not None else []
    inner = ",".join(action_text(action, tables) for action in ct.exec)
    parts += [f"exec({inner})"] if inner else []
    return f"ct({','.join(parts)})"


def _learn_text(learn: f.Learn, tables: Mapping[int, str]) -> str:
    parts = [f"table={tables.get(learn.table, learn.table)}", f"priority={learn.priority}", f"cookie={learn.cookie:#x}"]
    parts += [f"idle_timeout={learn.idle_timeout}"] if learn.idle_timeout else []
    parts += [f"hard_timeout={learn.hard_timeout}"] if learn.hard_timeout else []
    parts += [f"limit={learn.limit}"] if learn.limit else []
    parts += ["delete_learned"] if learn.delete_learned else []
    for spec in learn.specs:
        source = bits_text(spec.source) if isinstance(spec.source, f.Bits) else hex(spec.source)
        target = bits_text(spec.target)
        parts.append(f"{target}={source}" if isinstance(spec, f.LearnMatch) else f"load:{source}->{target}")
    return f"learn({','.join(parts)})"


def _output_text(output: f.Output) -> str:
    if isinstance(output.port, f.Bits):
        return f"output:{bits_text(output.port)}"
    if isinstance(output.port, f.Port):
        return f"output:{output.port.name}"
    return RESERVED.get(output.port, f"output:{output.port}")


def _set_text(action: f.Set) -> str:
    mask = "" if action.mask is None else f"/{value_text(action.field, action.mask)}"
    return f"set_field:{value_text(action.field, action.value)}{mask}->{action.field}"


def _chosen_text(action: f.BySender | f.Conjunction | f.Larger) -> str:
    if isinstance(action, f.Larger):
        return f"check_pkt_larger({action.octets})->{action.target.field}[{action.target.low}]"
    if isinstance(action, f.BySender):
        return f"multipath(nw_src,0,hrw,{action.choices},0,{bits_text(action.target)})"
    return f"conjunction({action.number},{action.dimension + 1}/{action.of})"


def _copy_text(action: f.Cut | f.Clone, tables: Mapping[int, str]) -> str:
    if isinstance(action, f.Clone):
        return f"clone({','.join(action_text(inner, tables) for inner in action.actions)})"
    return f"output(port={action.port.name if isinstance(action.port, f.Port) else action.port},max_len={action.octets})"


def action_text(action: f.Action, tables: Mapping[int, str] = {}) -> str:
    match action:
        case f.Output():
            return _output_text(action)
        case f.Set():
            return _set_text(action)
        case f.Move(source, target):
            return f"move:{bits_text(source)}->{bits_text(target)}"
        case f.PushVlan(ethertype):
            return f"push_vlan:{ethertype:#06x}"
        case f.PopVlan() | f.DecTtl():
            return "pop_vlan" if isinstance(action, f.PopVlan) else "dec_ttl"
        case f.Ct():
            return _ct_text(action, tables)
        case f.Learn():
            return _learn_text(action, tables)
        case f.Resubmit(number) | f.Goto(number):
            table = tables.get(number, number)
            return f"goto_table:{table}" if isinstance(action, f.Goto) else f"resubmit(,{table})"
        case f.ToGroup(number) | f.ToMeter(number):
            return f"{'group' if isinstance(action, f.ToGroup) else 'meter'}:{number}"
        case f.BySender() | f.Conjunction() | f.Larger():
            return _chosen_text(action)
        case f.Cut() | f.Clone():
            return _copy_text(action, tables)
