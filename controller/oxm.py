"""Matches as OXM fields, in the very bytes in which Open vSwitch gives them back in a dump."""

from struct import Struct

from weft.apps.fields import FIELDS, ONF, Field
from weft.apps.flow import Match, Port, Term
from weft.apps.text import term_text
from weft.controller.ports import Numbers

_HEADER = Struct("!I")
_NAMES = {field.oxm_class << 7 | field.number: name for name, field in FIELDS.items()}
_RANK = {field.oxm_class << 7 | field.number: rank for rank, field in enumerate(FIELDS.values())}


def header(field: Field, masked: bool = False) -> int:
    """The 32 bits before a field's value (OpenFlow 1.4.1, 7.2.3.2)."""
    octets = len(_whose(field)) + (2 * field.octets if masked else field.octets)
    return field.oxm_class << 16 | field.number << 9 | masked << 8 | octets


def _whose(field: Field) -> bytes:
    """The experimenter's number, which follows the header of an experimenter's field."""
    return b"ONF\0" if field.oxm_class == ONF else b""


def field_bytes(name: str, value: int, mask: int | None = None) -> bytes:
    """One OXM field: header, value and, where some bits do not count, the mask."""
    field = FIELDS[name]
    if mask is None or mask == field.ones:
        return _HEADER.pack(header(field)) + _whose(field) + value.to_bytes(field.octets, "big")
    octets = field.octets
    return _HEADER.pack(header(field, True)) + _whose(field) + (value & mask).to_bytes(octets, "big") + mask.to_bytes(octets, "big")


_PLAIN = {name: (field_bytes(name, 0)[: -field.octets], field.octets) for name, field in FIELDS.items()}


def match_bytes(match: Match, numbers: Numbers, names: set[str]) -> bytes | None:
    """The OXMs of `match` without header and padding; None where it names a port that is not there. Puts the ports it names into `names`."""
    encoded = b""
    for name, value, mask in match:
        if isinstance(value, Port):
            names.add(value.name)
            number = numbers.get(value.name)
            if number is None:
                return None
            value = number
        if mask is None and name != "ct_state":
            head, octets = _PLAIN[name]
            encoded += head + value.to_bytes(octets, "big")
        else:  # of ct_state there are 8 bits, whatever its width; the others are not given back
            encoded += field_bytes(name, value, 0xFF if mask is None else mask)
    return encoded


def canonical(match: bytes) -> bytes:
    """The fields of a match in the order of `FIELDS`: what switches other than Open vSwitch may give back shuffled."""
    parts = []
    at = 0
    while at < len(match):
        (head,) = _HEADER.unpack_from(match, at)
        end = at + 4 + (head & 0xFF)
        parts.append((_RANK.get(head >> 9, len(_RANK)), match[at:end]))
        at = end
    return b"".join(part for _, part in sorted(parts, key=lambda part: part[0]))


def match_text(match: bytes) -> str:
    """The fields as ovs-ofctl(8) writes them, each behind a comma; a field that weft does not use as its bytes."""
    text = ""
    at = 0
    while at < len(match):
        (head,) = _HEADER.unpack_from(match, at)
        end = at + 4 + (head & 0xFF)
        name = _NAMES.get(head >> 9)
        payload = match[at + 4 : end] if head >> 16 != ONF else match[at + 8 : end]
        if name is None:
            text += f",{match[at:end].hex()}"
        else:
            half = len(payload) // 2 if head >> 8 & 1 else len(payload)
            mask = int.from_bytes(payload[half:], "big") if half < len(payload) else None
            text += "," + term_text(Term(name, int.from_bytes(payload[:half], "big"), mask))
        at = end
    return text
