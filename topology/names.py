"""Everything weft makes up is made up here, from names alone: the same file gives the same result on every machine.

A derived interface name holds a dot and a guest's name never does, so that the two cannot meet:

======================  ==================================================================
``web1-eth0``           host side of endpoint ``web1.eth0``
``t.kvm2``              tunnel port to host kvm2, on the integration bridge
``p.physnet``           patch port to uplink ``physnet``, on the integration bridge
``w.physnet``           its other end, on the uplink bridge ``wx-physnet``
``s.office``            port of segment ``office`` into the service namespace
``h.db``                the host's own interface in segment ``db``
``x.physnet``           the way out of the service namespace, on ``wx-physnet``
``b.physnet``           the bond of its NICs, on ``wx-physnet``
``ens257.5``            VLAN 5 of a NIC, below macvtaps
======================  ==================================================================
"""

from collections.abc import Iterable
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

IFNAME_MAX = 15
"""Longest interface name in bytes: IFNAMSIZ less the closing NUL (netdevice(7))."""

COOKIE_MAGIC = 0x77656674
"""Upper half of every cookie of ours: ``weft`` in ASCII."""

BASE_COOKIE = COOKIE_MAGIC << 32
"""Cookie of the base flows that the agent lays on an uplink bridge and the controller never removes."""

LEARNED_COOKIE = COOKIE_MAGIC << 32 | 1
"""Cookie of what a switch's own ``learn()`` action wrote: outside every diff."""

LEARNED_COOKIES = range(LEARNED_COOKIE, LEARNED_COOKIE + 64)
"""The same, one for each share of the MACs (`weft.apps.learning`)."""

PORT_REGISTERS = "reg2", "reg4"
"""Registers whose lower half holds the number of a port: by which a packet leaves, and whom it is judged for (`weft.apps.pipeline`)."""


def of_program(cookie: int) -> bool:
    """Whether a flow was compiled: neither the agent's base flow, nor learned by the switch, nor somebody else's."""
    return cookie >> 32 == COOKIE_MAGIC and cookie != BASE_COOKIE and cookie not in LEARNED_COOKIES


def digest(text: str, bits: int) -> int:
    """A number of `bits` bits (at most 64) that depends on `text` alone."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> (64 - bits)


def allot(kind: str, wanted: Iterable[str], bits: int, taken: Iterable[int] = ()) -> dict[str, int]:
    """A number from 1 to 2**bits-1 for every name, by hash; where two meet, the later name goes to the next free number."""
    numbers: dict[str, int] = {}
    used = {0, *taken}
    for name in sorted(wanted):
        number = digest(f"{kind}/{name}", bits)
        while number in used:
            number = (number + 1) % (1 << bits)
        used.add(number)
        numbers[name] = number
    return numbers


def ifname(name: str) -> str:
    """`name`, or where it is longer than an interface name may be, its beginning and a hash."""
    if len(name) <= IFNAME_MAX:
        return name
    return f"{name[: IFNAME_MAX - 5]}-{digest(name, 16):04x}"


def endpoint_port(guest: str, nic: str) -> str:
    return ifname(f"{guest}-{nic}")


def vlan_device(nic: str, vlan: int) -> str:
    """What takes a tag off a NIC's frames, for the macvtaps on it."""
    return ifname(f"{nic}.{vlan}")


def tap_index(fabric: str, endpoint: str) -> int:
    """Number of a macvtap as an interface, and so of ``/dev/tapNUMBER``: far from those that the kernel counts up from 1, since all
    namespaces of a machine share one ``/dev``."""
    return 1 << 24 | digest(f"tap/{fabric}/{endpoint}", 24)


def tunnel_port(host: str) -> str:
    return ifname(f"t.{host}")


def patch_port(physnet: str) -> str:
    return ifname(f"p.{physnet}")


def patch_peer(physnet: str) -> str:
    return ifname(f"w.{physnet}")


def service_port(segment: str) -> str:
    return ifname(f"s.{segment}")


def host_port(segment: str) -> str:
    return ifname(f"h.{segment}")


def exit_port(physnet: str) -> str:
    return ifname(f"x.{physnet}")


def bond_port(physnet: str) -> str:
    return ifname(f"b.{physnet}")


def joint(physnet: str) -> tuple[str, str]:
    """A cable into a Linux bridge of the host's: its end in the uplink's bridge, and the port of that Linux bridge."""
    return ifname(f"j.{physnet}"), ifname(f"n.{physnet}")


def lab_cable(physnet: str) -> str:
    """The NIC that a lab gives a Linux bridge of a host's."""
    return ifname(f"e.{physnet}")


def uplink_bridge(physnet: str) -> str:
    return ifname(f"wx-{physnet}")


def namespace(fabric: str, name: str) -> str:
    """Network namespace of a lab's host or guest. The dots keep fabrics ``shop`` and ``shop-2`` apart."""
    return f"weft.{fabric}.{name}"


def service_namespace(fabric: str, host: str) -> str:
    return f"weft.{fabric}.{host}.svc"


def dpid(fabric: str, host: str, bridge: str) -> int:
    """Datapath id, 64 bits and never 0 (OpenFlow 1.3.5, 7.3.1)."""
    return digest(f"dpid/{fabric}/{host}/{bridge}", 64) or 1


def mac(fabric: str, name: str) -> str:
    """A locally administered unicast MAC (RFC 7042, 2.1) that begins with ``0a``; the other 40 bits are a hash."""
    value = 0x0A << 40 | digest(f"mac/{fabric}/{name}", 40)
    return ":".join(f"{value >> shift & 0xFF:02x}" for shift in range(40, -8, -8))


def link_local(mac_address: str) -> IPv6Address:
    """The fe80:: address the Linux kernel forms from a MAC (RFC 4291, appendix A: modified EUI-64)."""
    return eui64(IPv6Network("fe80::/64"), mac_address)


def eui64(network: IPv6Network, mac_address: str) -> IPv6Address:
    octets = bytes(int(part, 16) for part in mac_address.split(":"))
    interface = bytes((octets[0] ^ 2,)) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return network[int.from_bytes(interface, "big")]


def address_slot(network: IPv4Network | IPv6Network, name: str) -> int:
    """Where the search for a free address of `name` begins: an index into the hosts of `network`, from 0."""
    size = min(network.num_addresses - 2, 1 << 32) if network.num_addresses > 2 else 1
    return digest(f"ip/{network}/{name}", 64) % size


HOST_WAY = IPv4Interface("169.254.122.9/30"), IPv4Interface("169.254.122.10/30")
HOST_WAY_6 = IPv6Interface("fe80::7a:9/64"), IPv6Interface("fe80::7a:a/64")
"""The link between a host and its service namespace, for what leaves by the way the host itself goes: the host's end, the namespace's."""

HAIRPIN = IPv4Address("169.254.122.1")
"""What a guest looks like to its own host, or to another guest, when it came by the host's uplink address."""

ECHO = IPv4Address("169.254.122.2")
"""What all guests' pings share between the service namespace and the translation: the kernel then makes identifiers differ."""

HAIRPIN6, ECHO6 = IPv6Address("fd77:6566:7400::1"), IPv6Address("fd77:6566:7400::2")
"""The same for IPv6, of a network of our own (RFC 4193) whose number is ``weft`` in ASCII."""


def exit_link_local(mac_address: str) -> IPv6Address:
    """By which the service namespace finds IPv6 neighbours on an uplink: not the host's own, though it wears its MAC."""
    return IPv6Network("fe80::/64")[0x0277 << 48 | int(mac_address.replace(":", ""), 16)]
