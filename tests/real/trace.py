"""What the real switch says it would do: ``ofproto/trace``, read into the cookies of the flows a packet meets."""

import re

from weft.apps.packet import Packet
from weft.apps.text import value_text
from weft.topology.names import LEARNED_COOKIES

MET = re.compile(r"cookie (0x[0-9a-f]+)")


def packet_text(packet: Packet, in_port: str) -> str:
    """A packet in the words of ofproto/trace (ovs-vswitchd(8))."""
    fields = (f"{name}={value_text(name, value)}" for name, value in packet.items() if name not in {"vlan_pcp", "vlan_vid", "tun_id"})
    return ",".join((f"in_port={in_port}", *fields))


def cookies(trace: str) -> list[int]:
    """Cookies in the order met, over patch ports and recirculations, learned flows left out."""
    return [int(found, 16) for found in MET.findall(trace)]


def within(trace: str, bridge: str) -> list[int]:
    """The cookies of the flows met on one bridge, where the packet comes in: a trace goes on through patch ports, and what comes back from
    conntrack is said to be in the first bridge, whichever it was in."""
    found: list[int] = []
    here, again, forked = bridge, False, list[str]()
    for line in trace.splitlines():
        again |= line.startswith("recirc(")
        if "forked to recirculate" in line:
            forked.append(here)
        elif line.startswith("bridge("):
            here, again = forked.pop(0) if again else line.split('"')[1], False
        if here == bridge:
            found += [cookie for cookie in cookies(line) if cookie not in LEARNED_COOKIES]
    return found
