"""What a bridge held, as text that outlives its port numbers (ovs-ofctl(8), ovs-actions(7)). Pure.

Ports have other numbers after a reboot. So a kept line names its ports, ``in_port=@{web1-eth0}``, and is laid with the numbers of
the day; a line that names a port which is not there waits. What somebody else made, what the switch learned by itself, the agent's
own base flows, and what is about ports that anybody may have after a reboot (a virtual machine's ``vnet0``) is not kept at all.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weft.topology.names import PORT_REGISTERS, of_program

COOKIE = re.compile(r"cookie=0x([0-9a-f]+)")
GROUP = re.compile(r"group_id=(\d+)")
METER = re.compile(r"meter=(\d+)")
NAMED = re.compile(r"@\{([^}]+?)(?::(\d+))?\}")
LAST_RESERVED = 0xFF00
"""From here on numbers are no ports' (OpenFlow 1.0, 5.2.1: 16 bits, as Open vSwitch counts)."""
_REGISTERS = "|".join(PORT_REGISTERS)
NUMBERED = (
    re.compile(r"(?P<before>\b(?:in_port=|output:|watch_port:|enqueue:|output\(port=))(?P<number>\d+)\b"),
    re.compile(rf"(?P<before>\b(?:{_REGISTERS})=)(?P<number>0x[0-9a-f]+)(?=/0xffff\b)"),
    re.compile(rf"(?P<before>\bload:)(?P<number>0x[0-9a-f]+)(?=->(?:NXM_NX_)?(?:{_REGISTERS})\[0\.\.15\])", re.I),
)
"""Where a line says a port's number. A number in a register is hexadecimal; 0 is no port."""
IGMP = ((re.compile(r"\bigmp_type\b"), "tp_src"), (re.compile(r"\bigmp_code\b"), "tp_dst"), (re.compile(r"\bigmp\b"), "ip,nw_proto=2"))
"""ovs-ofctl does not read all that it prints: ovs-save, of Open vSwitch's own scripts, mends it the same way."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one bridge. Lines of groups and flows name ports."""

    meters: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()


def kept(meters: str, groups: str, flows: str, numbers: Mapping[str, int]) -> Kept:
    """From the three dumps of a bridge and the numbers of those of its ports that are the same after a reboot."""
    names = {number: name for name, number in numbers.items()}
    ours = [line.strip() for line in flows.splitlines() if (found := COOKIE.search(line)) and of_program(int(found[1], 16))]
    lines = [line.strip() for line in groups.splitlines() if GROUP.search(line)]
    return Kept(tuple(_meters(meters)), tuple(_named(lines, names)), tuple(_named(map(_mended, ours), names)))


def laid(what: Kept, numbers: Mapping[str, int]) -> Kept:
    """The same with the numbers that ports have now, less what names a port that is not there."""
    return Kept(what.meters, tuple(_numbered(what.groups, numbers)), tuple(_numbered(what.flows, numbers)))


def meter_numbers(dumped: str) -> set[str]:
    return set(METER.findall(dumped))


def bundle(what: Kept) -> str:
    """Groups and flows as one atomic change (``ovs-ofctl bundle``); safe to do again."""
    return "".join((*(f"group add_or_mod {line}\n" for line in what.groups), *(f"flow add {line}\n" for line in what.flows)))


def _mended(line: str) -> str:
    for found, meant in IGMP:
        line = found.sub(meant, line)
    return line


def _meters(dumped: str) -> Iterator[str]:
    """``meter=1 kbps bands=`` and a line for each band become what add-meter takes."""
    meter = ""
    for line in (*dumped.splitlines(), ""):
        if METER.match(line):
            meter = ",".join(line.split())
        elif meter and line.startswith("type="):
            meter += ("" if meter.endswith("bands=") else ",") + ",".join(line.split())
        elif meter and not line:
            yield meter
            meter = ""


def _named(lines: "list[str] | Iterator[str] | map[str]", names: Mapping[int, str]) -> Iterator[str]:
    for line in lines:
        try:
            for pattern in NUMBERED:
                line = pattern.sub(lambda found: found["before"] + _name(found["number"], names), line)
        except KeyError:
            continue
        yield line


def _name(number: str, names: Mapping[int, str]) -> str:
    """Raises KeyError for a port that has no name that lasts."""
    value = int(number, 0)
    if value == 0 or value >= LAST_RESERVED:
        return number
    return f"@{{{names[value]}{':16' if number.startswith('0x') else ''}}}"


def _numbered(lines: tuple[str, ...], numbers: Mapping[str, int]) -> Iterator[str]:
    for line in lines:
        try:
            yield NAMED.sub(lambda found: f"{numbers[found[1]]:#x}" if found[2] else str(numbers[found[1]]), line)
        except KeyError:
            continue
