"""What the real switch says it would do: ``ofproto/trace``, read into the cookies of the flows a packet meets."""

import re

from weft.apps.packet import Packet
from weft.apps.text import value_text

MET = re.compile(r"cookie (0x[0-9a-f]+)")


def packet_text(packet: Packet, in_port: str) -> str:
    """A packet in the words of ofproto/trace (ovs-vswitchd(8))."""
    fields = (f"{name}={value_text(name, value)}" for name, value in packet.items() if name not in {"vlan_pcp", "vlan_vid", "tun_id"})
    return ",".join((f"in_port={in_port}", *fields))


def cookies(trace: str) -> list[int]:
    """Cookies in the order met, over patch ports and recirculations, learned flows left out."""
    return [int(found, 16) for found in MET.findall(trace)]
