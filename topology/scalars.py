"""The words of a fabric file: what a name, an address, a service or a rate looks like.

A validator raises ValueError with what is to be said *after* the key and the value: ``is not 1-4094`` becomes ``vlan 5000 is not
1-4094`` (`weft.topology.complaints`).
"""

import re
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface, ip_network
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, PlainValidator, StrictInt, StrictStr

from weft.topology.names import IFNAME_MAX
from weft.topology.terms import Address, Interface, Network

NAME = re.compile(r"[a-z][a-z0-9-]*")
NAME_MAX = 32
MTU_MIN, MTU_MAX = 576, 9216
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_IFNAME = re.compile(r"[!-.0-~]+")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
"""useradd(8)."""
_RATE = re.compile(r"([1-9][0-9]{0,11})(bit|kbit|mbit|gbit)")
_DURATION = re.compile(r"[1-9][0-9]{0,6}[smhd]")
_DPID = re.compile(r"[0-9a-f]{16}")
_PROTOCOLS = ("tcp", "udp", "sctp", "icmp", "icmp6", "any")

T = TypeVar("T")


def name(text: str) -> str:
    if len(text) > NAME_MAX:
        raise ValueError(f"is longer than {NAME_MAX} characters")
    if not NAME.fullmatch(text):
        raise ValueError('is not a name: lower case letters, digits and "-", a letter first')
    return text


def interface_name(text: str) -> str:
    if not _IFNAME.fullmatch(text) or text in (".", "..", "all", "default", "lo"):
        raise ValueError("is not the name of an interface")
    if len(text) > IFNAME_MAX:
        raise ValueError(f"is longer than the {IFNAME_MAX} bytes of an interface's name")
    return text


def _said(parse: Callable[[str], T], complaint: str) -> Callable[[Any], T]:
    """A validator that takes text only and has one complaint."""

    def validate(given: Any) -> T:
        if not isinstance(given, str):
            raise ValueError(complaint)
        try:
            return parse(given)
        except ValueError:
            raise ValueError(complaint) from None

    return validate


def _no_zone(text: str) -> str:
    if "%" in text:
        raise ValueError
    return text


def _ip(given: Any) -> Address | Interface:
    """An address, or with a prefix length an interface address (which is an Address too)."""
    if isinstance(given, str) and "/" in given:
        return cidr(given)
    return address(given)


def network(given: Any) -> Network:
    if not isinstance(given, str) or "/" not in given:
        raise ValueError("is not a network as 192.168.122.0/24")
    try:
        whole = ip_network(_no_zone(given), strict=False)
    except ValueError:
        raise ValueError("is not a network as 192.168.122.0/24") from None
    if ip_interface(given).ip != whole.network_address:
        raise ValueError(f"is an address in a network: {whole} is the network")
    return whole


def subnet(given: Any) -> Network:
    whole = network(given)
    if whole.max_prefixlen - whole.prefixlen < 2:
        raise ValueError("has no room for a gateway and a guest")
    first = whole.network_address
    if first.is_multicast or first.is_loopback or first.is_link_local or first.is_unspecified or _experimental(whole):
        raise ValueError("is not a network that guests can live in")
    return whole


def _experimental(whole: Network) -> bool:
    return isinstance(whole, IPv4Network) and whole.network_address >= IPv4Address("240.0.0.0")


def address_range(given: Any) -> tuple[Address, Address]:
    first, dash, last = str(given).partition("-")
    try:
        ends = ip_address(_no_zone(first.strip())), ip_address(_no_zone(last.strip()))
        good = bool(dash) and ends[0].version == ends[1].version and int(ends[0]) <= int(ends[1])
    except ValueError:
        good = False
    if not good:
        raise ValueError("is not a range as 192.168.122.100-192.168.122.199")
    return ends


def uplink_address(given: Any) -> str | Interface:
    return given if given in ("keep", "none", "dhcp") else _said(cidr, "is not keep, none, dhcp or an address as 192.0.2.2/24")(given)


def option_value(given: Any) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise ValueError("is not text or a number")
    return str(given)


def network_v4(given: Any) -> IPv4Network:
    whole = subnet(given)
    if not isinstance(whole, IPv4Network):
        raise ValueError("is not an IPv4 network")
    return whole


def mac(text: str) -> str:
    lower = text.lower()
    if not _MAC.fullmatch(lower):
        raise ValueError("is not a MAC address as 52:54:00:00:09:05")
    if int(lower[:2], 16) & 1:
        raise ValueError("is a multicast address: the first byte of a NIC's is even")
    if not lower.strip("0:"):
        raise ValueError("is no NIC's address")
    return lower


def between(low: int, high: int) -> AfterValidator:
    def validate(number: int) -> int:
        if not low <= number <= high:
            raise ValueError(f"is not {low}-{high}")
        return number

    return AfterValidator(validate)


def service(text: str) -> str:
    """``tcp/3306``, ``udp/6000-6100``, ``tcp``, ``icmp``, ``any``."""
    protocol, slash, ports = text.partition("/")
    found = _PORTS.fullmatch(ports)
    if protocol not in _PROTOCOLS or (slash and (protocol not in ("tcp", "udp", "sctp") or not found)):
        raise ValueError("is not a protocol and port as tcp/443")
    if found:
        low, high = int(found[1]), int(found[2] or found[1])
        if not 1 <= low <= high <= 65535:
            raise ValueError("has a port that is not 1-65535")
    return text


def listen(text: str) -> str:
    protocol, _, port = service(text).partition("/")
    if not port.isdecimal():
        raise ValueError(f"needs one port, as {protocol}/443")
    return text


def _matching(pattern: re.Pattern[str], complaint: str) -> Callable[[str], str]:
    def validate(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(complaint)
        return text

    return validate


def moment(given: Any) -> datetime:
    try:
        when = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise ValueError("is not a time as 2026-12-01T12:00Z") from None
    if when.tzinfo is None:
        raise ValueError("says no time zone: end it with Z for UTC")
    return when


def collector(text: str) -> str:
    """``10.0.0.9:6343`` or ``[fd00::9]:6343``."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        good = ip_address(_no_zone(bare)).version == (6 if bare != host else 4)
    except ValueError:
        good = False
    if not good or not port.isdecimal() or not 1 <= int(port[:6]) <= 65535:
        raise ValueError("is not an address and port as 10.0.0.9:6343")
    return text


def dpid(given: Any) -> int:
    if not isinstance(given, str) or not _DPID.fullmatch(given.lower()) or not int(given, 16):
        raise ValueError('is not a datapath id: 16 hexadecimal digits in quotes, as "0000000000000001"')
    return int(given, 16)


def _listed(given: Any) -> Any:
    return given if isinstance(given, list) else [given]


def _filled(given: Any) -> Any:
    if given == []:
        raise ValueError("is empty")
    return given


def _tag_key(given: Any) -> Any:
    """JSON has text keys only."""
    return int(given) if isinstance(given, str) and given.isdecimal() and len(given) < 5 else given


address = _said(lambda text: ip_address(_no_zone(text)), "is not an IP address")
cidr = _said(lambda text: ip_interface(_no_zone(text) if "/" in text else "-"), "is not an address with its prefix length as 10.10.10.1/24")

OUTSIDE = IPv4Network("203.0.113.0/24")
"""Where a lab's uplinks are when the file does not say (TEST-NET-3, RFC 5737)."""

Filled = BeforeValidator(_filled)
"""Beside a tuple: of one thing at least."""
Name = Annotated[StrictStr, AfterValidator(name)]
InterfaceName = Annotated[StrictStr, AfterValidator(interface_name)]
Uuid = Annotated[StrictStr, AfterValidator(_matching(_UUID, "is not a UUID as 6e8e1c2a-0d4f-4c39-9a57-2f1b0c7d9e11")), AfterValidator(str.lower)]
UserName = Annotated[StrictStr, AfterValidator(_matching(_USER, "is not the name of a user or a group"))]
Ip = Annotated[Address, PlainValidator(address)]
Cidr = Annotated[Interface, PlainValidator(cidr)]
Ips = Annotated[tuple[Annotated[Address | Interface, PlainValidator(_ip)], ...], BeforeValidator(_listed)]
"""One address or a list of them, each plain or with its prefix length."""
Gateways = Annotated[tuple[Ip, ...], BeforeValidator(_listed)]
AddressRange = Annotated[tuple[Address, Address], PlainValidator(address_range)]
UplinkAddress = Annotated[str | Interface, PlainValidator(uplink_address)]
AnyNetwork = Annotated[Network, PlainValidator(network)]
Subnet = Annotated[Network, PlainValidator(subnet)]
NetworkV4 = Annotated[IPv4Network, PlainValidator(network_v4)]
Mac = Annotated[StrictStr, AfterValidator(mac)]
Vlan = Annotated[StrictInt, between(1, 4094)]
VlanKey = Annotated[StrictInt, between(1, 4094), BeforeValidator(_tag_key)]
Mtu = Annotated[StrictInt, between(MTU_MIN, MTU_MAX)]
PortNumber = Annotated[StrictInt, between(1, 65535)]
VfCount = Annotated[StrictInt, between(0, 256)]
Dscp = Annotated[StrictInt, between(0, 63)]
Sampling = Annotated[StrictInt, between(1, 1 << 24)]
Service = Annotated[StrictStr, AfterValidator(service)]
Listen = Annotated[StrictStr, AfterValidator(listen)]
OptionValue = Annotated[str, PlainValidator(option_value)]
Rate = Annotated[StrictStr, AfterValidator(_matching(_RATE, "is not a rate as 100mbit"))]
Duration = Annotated[StrictStr, AfterValidator(_matching(_DURATION, "is not a time as 30s, 10m, 1h or 2d"))]
Moment = Annotated[datetime, PlainValidator(moment)]
Collector = Annotated[StrictStr, AfterValidator(collector)]
Dpid = Annotated[int, PlainValidator(dpid)]
