"""Actions as bytes, in the form in which Open vSwitch gives them back, so that what a dump says can be compared as it is.

Where OpenFlow 1.4 has an action of its own it is used; the rest are Nicira's (ovs-actions(7), "Conformance"). A port that the switch
does not have leaves no trace: an `Output` to it is left out, and a `Set` of its number is left out together with what follows, up to and
including the next `Output`, `Resubmit` or `Goto`, because that is the copy which has nowhere to go; a `Clone` that names it is left out
whole. So a flood list of
``Set(reg2, Port(p)), Resubmit(t)`` pairs loses exactly the copies for absent ports.
"""

from collections.abc import Iterable, Iterator
from struct import Struct

from weft.apps import flow as f
from weft.apps.fields import FIELDS
from weft.controller.oxm import field_bytes, header
from weft.controller.ports import Numbers
from weft.controller.wire import PADDING, pad

NICIRA = 0x00002320
_NX = Struct("!HHIH")
_OUTPUT = Struct("!HHIH6x")
_NUMBER = Struct("!HHI")
_NXM0 = {"eth_dst": 1, "eth_src": 2, "eth_type": 3, "ip_proto": 6, "ip_src": 7, "ip_dst": 8, "tcp_src": 9, "tcp_dst": 10,
         "udp_src": 11, "udp_dst": 12, "icmp_type": 13, "icmp_code": 14, "arp_op": 15, "arp_spa": 16, "arp_tpa": 17}  # fmt: skip
_NXM1 = {"tun_id": 16, "arp_sha": 17, "arp_tha": 18, "ipv6_src": 19, "ipv6_dst": 20, "icmpv6_type": 21, "icmpv6_code": 22,
         "nd_target": 23, "nd_sll": 24, "nd_tll": 25}  # fmt: skip
_NXM_IN_PORT = 0x00000002
_SOURCE_IS_NUMBER, _LOADS = 0x2000, 0x0800
_NAT_SRC, _NAT_DST = 1, 2
_V4, _V6, _PORT, _PORT_LAST = 1, 4, 16, 32
_BY_SENDER, _HRW = 4, 2
"""Of multipath: what is hashed, and how a choice follows: few change when there is one more or less (highest random weight)."""


def present(actions: Iterable[f.Action], numbers: Numbers) -> tuple[f.Action, ...]:
    """`actions` with ports as numbers, without those that lead to a port which is not there."""
    kept: list[f.Action] = []
    skipping = False
    for action in actions:
        if skipping:
            skipping = not isinstance(action, f.Output | f.Resubmit | f.Goto)
        elif isinstance(action, f.Clone):
            if all(name in numbers for name in named(action.actions)):
                kept.append(f.Clone(present(action.actions, numbers)))
        elif isinstance(action, f.Cut) and isinstance(action.port, f.Port):
            if (number := numbers.get(action.port.name)) is not None:
                kept.append(f.Cut(number, action.octets))
        elif isinstance(action, f.Output) and isinstance(action.port, f.Port):
            if (number := numbers.get(action.port.name)) is not None:
                kept.append(f.Output(number, action.max_len))
        elif isinstance(action, f.Set) and isinstance(action.value, f.Port):
            number = numbers.get(action.value.name)
            skipping = number is None
            if number is not None:
                kept.append(_set_number(action, number))
        else:
            kept.append(action)
    return tuple(kept)


def _set_number(action: f.Set, number: int) -> f.Set:
    if action.mask is None:
        return f.Set(action.field, number)
    low = (action.mask & -action.mask).bit_length() - 1
    return f.Set(action.field, number << low & action.mask, action.mask)


def named(actions: Iterable[f.Action]) -> Iterator[str]:
    """Names of the ports that the actions speak of."""
    for action in actions:
        if isinstance(action, f.Output):
            if isinstance(action.port, f.Port):
                yield action.port.name
        elif isinstance(action, f.Set) and isinstance(action.value, f.Port):
            yield action.value.name
        elif isinstance(action, f.Cut) and isinstance(action.port, f.Port):
            yield action.port.name
        elif isinstance(action, f.Clone):
            yield from named(action.actions)


def instructions(actions: tuple[f.Action, ...]) -> bytes:
    """Meter, apply-actions and goto-table, in that order (OpenFlow 1.4.1, 7.2.4); ports are numbers already."""
    meter = goto = b""
    listed = []
    for action in actions:
        if isinstance(action, f.ToMeter):
            meter = _NUMBER.pack(6, 8, action.meter)
        elif isinstance(action, f.Goto):
            goto = Struct("!HHB3x").pack(1, 8, action.table)
        else:
            listed.append(action)
    encoded = action_list(listed)
    apply = Struct("!HH4x").pack(4, 8 + len(encoded)) + encoded if encoded else b""
    return meter + apply + goto


def action_list(actions: Iterable[f.Action]) -> bytes:
    return b"".join(map(_action, actions))


def _action(action: f.Action) -> bytes:
    match action:
        case f.Output():
            return _output(action)
        case f.Set():
            return _set(action)
        case f.Move(source, target):
            body = Struct("!HHHII").pack(source.width, source.low, target.low, _header(source.field), _header(target.field))
            return _nicira(6, body)
        case f.PushVlan(ethertype):
            return Struct("!HHH2x").pack(17, 8, ethertype)
        case f.PopVlan() | f.DecTtl():
            return Struct("!HH4x").pack(18 if isinstance(action, f.PopVlan) else 24, 8)
        case f.Ct():
            return _ct(action)
        case f.Learn():
            return _learn(action)
        case f.Resubmit(table):
            return _nicira(14, Struct("!HB3x").pack(f.IN_PORT & 0xFFFF, table))
        case f.ToGroup(group):
            return _NUMBER.pack(22, 8, group)
        case f.Conjunction() | f.BySender() | f.Larger() | f.Cut() | f.Clone():
            return _copy(action) if isinstance(action, f.Cut | f.Clone) else _chosen(action)
        case f.Goto() | f.ToMeter():
            raise ValueError(f"{action} is an instruction: it stands in a flow, not in a list of actions")


def _chosen(action: f.Conjunction | f.BySender | f.Larger) -> bytes:
    if isinstance(action, f.Larger):
        return _nicira(49, Struct("!HHI6x").pack(action.octets, action.target.low, _header(action.target.field)))
    if isinstance(action, f.Conjunction):
        return _nicira(34, Struct("!BBI").pack(action.dimension, action.of, action.number))
    place = (_range(action.target), _header(action.target.field))
    return _nicira(10, Struct("!HH2xHHI2xHI").pack(_BY_SENDER, 0, _HRW, action.choices - 1, 0, *place))


def _copy(action: f.Cut | f.Clone) -> bytes:
    if isinstance(action, f.Clone):
        return _nicira(42, PADDING[-10 % 8] + action_list(action.actions))
    assert isinstance(action.port, int)
    return _nicira(39, Struct("!HI").pack(action.port, action.octets))


def _nicira(subtype: int, body: bytes) -> bytes:
    fill = PADDING[-(10 + len(body)) % 8]
    return _NX.pack(0xFFFF, 10 + len(body) + len(fill), NICIRA, subtype) + body + fill


def _header(name: str) -> int:
    """A field's header inside Nicira's actions: Nicira's own number where there is one, as Open vSwitch writes it."""
    octets = FIELDS[name].octets
    if name in _NXM0:
        return _NXM0[name] << 9 | octets
    if name in _NXM1:
        return 1 << 16 | _NXM1[name] << 9 | octets
    return header(FIELDS[name])


def _range(bits: f.Bits) -> int:
    return bits.low << 6 | (bits.width - 1)


def _output(action: f.Output) -> bytes:
    if isinstance(action.port, f.Bits):
        return _nicira(15, Struct("!HIH6x").pack(_range(action.port), _header(action.port.field), action.max_len))
    assert isinstance(action.port, int)
    return _OUTPUT.pack(0, 16, action.port, action.max_len if action.port == f.CONTROLLER else 0)


def _set(action: f.Set) -> bytes:
    """OpenFlow 1.4 sets whole fields only; bits are loaded, one action for each run of them."""
    assert isinstance(action.value, int)
    field = FIELDS[action.field]
    if action.field == "in_port":  # Open vSwitch takes it in Nicira's 16 bits only
        return _nicira(7, Struct("!HIQ").pack(15, _NXM_IN_PORT, action.value & 0xFFFF))
    if action.mask is None or action.mask == field.ones:
        oxm = field_bytes(action.field, action.value)
        return Struct("!HH").pack(25, 4 + len(pad(b"1234" + oxm)) - 4) + pad(b"1234" + oxm)[4:]
    return b"".join(_load(f.Bits(action.field, low, width), action.value >> low) for low, width in _runs(action.mask))


def _runs(mask: int) -> Iterator[tuple[int, int]]:
    """Lowest bit and width of every run of ones, of at most 64 bits, from the lowest up."""
    low = 0
    while mask >> low:
        low += (mask >> low & -(mask >> low)).bit_length() - 1
        run = mask >> low
        width = min((~run & run + 1).bit_length() - 1, 64)
        yield low, width
        low += width


def _load(bits: f.Bits, value: int) -> bytes:
    return _nicira(7, Struct("!HIQ").pack(_range(bits), _header(bits.field), value & (1 << bits.width) - 1))


def _ct(action: f.Ct) -> bytes:
    inner = (_nat(action.nat) if action.nat is not None else b"") + action_list(action.exec)
    zone = (_header(action.zone.field), _range(action.zone)) if isinstance(action.zone, f.Bits) else (0, action.zone)
    table = 0xFF if action.table is None else action.table
    flags = action.commit | action.force << 1
    return _nicira(35, Struct("!HIHB3xH").pack(flags, *zone, table, 0) + inner)


def _nat(nat: f.Nat) -> bytes:
    address = nat.src if nat.src is not None else nat.dst
    flags = _NAT_SRC if nat.src is not None else _NAT_DST if nat.dst is not None else 0
    present, body = 0, b""
    if address is not None and int(address):  # 0: any address, so only the direction is said
        present, body = _V4 if address.version == 4 else _V6, address.packed
    if nat.port is not None:
        present, body = present | _PORT, body + nat.port.to_bytes(2, "big")
    if nat.last is not None:
        present, body = present | _PORT_LAST, body + nat.last.to_bytes(2, "big")
    return _nicira(36, Struct("!2xHH").pack(flags, present) + body)


def _learn(learn: f.Learn) -> bytes:
    """Nicira's learn, in its second form (which alone has a limit) only where there is a limit."""
    specs = b"".join(map(_spec, learn.specs))
    times = (learn.idle_timeout, learn.hard_timeout, learn.priority)
    body = Struct("!HHHQHBxHH").pack(*times, learn.cookie, learn.delete_learned << 1, learn.table, 0, 0)
    if learn.limit:
        return _nicira(45, body + Struct("!IH2x").pack(learn.limit, 0) + specs)
    return _nicira(16, body + specs)


def _spec(spec: f.LearnMatch | f.LearnLoad) -> bytes:
    head = spec.target.width | (_LOADS if isinstance(spec, f.LearnLoad) else 0)
    if isinstance(spec.source, f.Bits):
        source = Struct("!IH").pack(_header(spec.source.field), spec.source.low)
    else:
        head |= _SOURCE_IS_NUMBER
        source = spec.source.to_bytes((spec.target.width + 15) // 16 * 2, "big")
    return head.to_bytes(2, "big") + source + Struct("!IH").pack(_header(spec.target.field), spec.target.low)
