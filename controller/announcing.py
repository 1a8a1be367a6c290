"""What says for a guest that it is somewhere else now: a gratuitous ARP for each IPv4 address, an unsolicited advertisement for each of IPv6.

The switch of its new host gets them as if they came in by the guest's own port: they pass the pipeline, which tags, copies and carries them to
wherever the guest's own would go, so that switches and neighbours learn. A guest without known addresses is announced by QEMU alone.
Source: RFC 5227, 2.3 (twice, two seconds apart) and 3 (why a request); RFC 4861, 7.2.6.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Protocol

from weft.apps.fields import ARP, IPV6
from weft.apps.flow import mac_number
from weft.controller import wire
from weft.controller.membership import checksum
from weft.controller.snooping import Synced
from weft.topology.model import Endpoint
from weft.topology.names import link_local
from weft.topology.terms import Address

TIMES, APART = 2, 2.0
"""How often one is announced, and the seconds in between."""
TABLE = 0xFFFFFFF9
"""OFPP_TABLE: through the pipeline from its first table, as what comes in by a port does."""
BROADCAST = b"\xff" * 6
ADVERTISEMENT, OVERRIDE, TARGET_LLADDR, ICMPV6, MOST_HOPS = 136, 0x20000000, 2, 58, 255


class Line(Protocol):
    """What is asked of a switch's connection."""

    version: int
    ports: dict[str, int]

    def xid(self) -> int: ...
    def write(self, data: bytes) -> None: ...


class Switch(Protocol):
    @property
    def connection(self) -> Line: ...
    @property
    def state(self) -> Synced: ...


class Announcer:
    """Knows where everyone was. `later` is called with seconds when it wants to be called again by then."""

    def __init__(self, later: Callable[[float], None]) -> None:
        self._later = later
        self._places: dict[str, tuple[str, str]] = {}
        self._owed: dict[str, tuple[Endpoint, int, float]] = {}
        """By endpoint: how often it is to be announced yet, and not before when."""

    def follow(self, endpoints: Iterable[Endpoint]) -> None:
        """Where all are now, whether they came, moved or stayed. Nobody moved as long as nothing was known."""
        known = {endpoint.name: endpoint for endpoint in endpoints}
        for name, endpoint in known.items():
            before = self._places.get(name)
            if before is not None and before[0] != endpoint.host and endpoint.addresses:
                self._owed[name] = (endpoint, TIMES, 0.0)
        self._owed = {name: owed for name, owed in self._owed.items() if owed[0] == known.get(name)}
        self._places = {name: (endpoint.host, endpoint.port) for name, endpoint in known.items()}

    def speak(self, switches: Mapping[int, Switch], dpids: Mapping[str, int], now: float) -> None:
        """Announces those whose switch has all their flows. `dpids`: the integration bridge of each host."""
        for name, (endpoint, left, when) in list(self._owed.items()):
            switch = switches.get(dpids.get(endpoint.host, 0))
            port = switch.connection.ports.get(endpoint.port) if switch and switch.state.synced else None
            if switch is None or port is None or now < when:
                continue
            for frame in announcements(endpoint):
                connection = switch.connection
                connection.write(wire.packet_out(connection.version, connection.xid(), port, TABLE, frame))
            self._owed[name] = (endpoint, left - 1, now + APART)
            if left == 1:
                del self._owed[name]
            else:
                self._later(APART)


def announcements(endpoint: Endpoint) -> Iterator[bytes]:
    """The frames, as the guest would send them."""
    mac = mac_number(endpoint.mac).to_bytes(6, "big")
    tag = b"" if endpoint.tag is None else Struct("!HH").pack(0x8100, endpoint.tag)
    addresses: list[Address] = [address.ip for address in endpoint.addresses]
    if any(address.version == 6 for address in addresses):
        addresses.append(link_local(endpoint.mac))
    for address in addresses:
        yield _arp(mac, tag, address) if isinstance(address, IPv4Address) else _advertisement(mac, tag, address)


def _arp(mac: bytes, tag: bytes, address: IPv4Address) -> bytes:
    """A request for its own address: hosts that know it take the MAC, and none answers."""
    head = BROADCAST + mac + tag + Struct("!H").pack(ARP)
    return head + Struct("!HHBBH6s4s6s4s").pack(1, 0x0800, 6, 4, 1, mac, address.packed, bytes(6), address.packed)


def _advertisement(mac: bytes, tag: bytes, address: IPv6Address) -> bytes:
    """Unsolicited, to all nodes, and it overrides what they know."""
    source, everyone = address.packed, IPv6Address("ff02::1").packed
    option = Struct("!BB6s").pack(TARGET_LLADDR, 1, mac)
    body = Struct("!BBHI16s").pack(ADVERTISEMENT, 0, 0, OVERRIDE, source) + option
    pseudo = source + everyone + Struct("!I3xB").pack(len(body), ICMPV6)
    body = body[:2] + Struct("!H").pack(checksum(pseudo + body)) + body[4:]
    head = b"\x33\x33\x00\x00\x00\x01" + mac + tag + Struct("!H").pack(IPV6)
    return head + Struct("!IHBB").pack(6 << 28, len(body), ICMPV6, MOST_HOPS) + source + everyone + body
