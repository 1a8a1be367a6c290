"""The DHCP options that a fabric file may name, and what their values look like.

Names, numbers and kinds are dnsmasq's: ``dnsmasq --help dhcp`` and ``dnsmasq --help dhcp6`` of 2.90 print them (``src/dhcp-common.c``
has the kinds; RFC 2132, RFC 3646 and the IANA registries what they mean). weft writes its own value of those that follow from the
segment.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from weft.topology.terms import Address

ADDRESSES, TEXT = "addresses", "text"
"""Kinds; a number is the bytes that a number has."""

Kind = str | int

_V4_ADDRESSES = (
    "router dns-server log-server lpr-server swap-server policy-filter router-solicitation static-route nis-server ntp-server netbios-ns "
    "netbios-dd x-windows-fs x-windows-dm nis+-server mobile-ip-home smtp-server pop3-server nntp-server irc-server "
    "tftp-server-address server-ip-address"
)
_V4_NUMBERS: Mapping[str, int] = {
    "time-offset": 4, "boot-file-size": 2, "ip-forward-enable": 1, "non-local-source-routing": 1, "max-datagram-reassembly": 2,
    "default-ttl": 1, "all-subnets-local": 1, "router-discovery": 1, "trailer-encapsulation": 1, "arp-timeout": 4, "ethernet-encap": 1,
    "tcp-ttl": 1, "tcp-keepalive": 4, "netbios-nodetype": 1, "ipv6-only": 4,
}  # fmt: skip
_V4_TEXT = (
    "domain-name root-path extension-path nis-domain netbios-scope vendor-class nis+-domain tftp-server bootfile-name user-class "
    "posix-timezone tzdb-timezone domain-search sip-server classless-static-route vendor-id-encap"
)
V4: Mapping[str, Kind] = (
    dict.fromkeys(_V4_ADDRESSES.split(), ADDRESSES) | dict(_V4_NUMBERS) | dict.fromkeys(_V4_TEXT.split(), TEXT)
)  # fmt: skip
_V6_ADDRESSES = "sip-server dns-server nis-server nis+-server sntp-server ntp-server"
_V6_TEXT = "sip-server-domain domain-search nis-domain nis+-domain posix-timezone tzdb-timezone bootfile-url bootfile-param"
V6: Mapping[str, Kind] = (
    dict.fromkeys(_V6_ADDRESSES.split(), ADDRESSES) | {"information-refresh-time": 4} | dict.fromkeys(_V6_TEXT.split(), TEXT)
)  # fmt: skip
OURS: Mapping[str, str] = {
    "mtu": "the segment's mtu",
    "netmask": "the segment's subnet",
    "T1": "the lease",
    "T2": "the lease",
    "rapid-commit": "the lease",
    "client-arch": "what the client says",
    "client-interface-id": "what the client says",
    "client-machine-id": "what the client says",
}
"""Options that are not for a file to say, and what they follow from."""


def refusal(name: str, value: str) -> str | None:
    """What is wrong with an option, to be said after its name; None: nothing."""
    if name in OURS:
        return f"follows from {OURS[name]}"
    if name not in V4 and name not in V6:
        return "is not an option that dnsmasq knows (dnsmasq --help dhcp)"
    if not value.isprintable() or not value.isascii() or any(sign in value for sign in '"\\#'):
        return "has a sign in its value that dnsmasq's configuration cannot hold"
    if "" in (part.strip() for part in value.split(",")):
        return "is empty" if not value.strip() else "has nothing between two commas of its value"
    kinds = [kind for table in (V4, V6) if (kind := table.get(name)) is not None]
    return None if any(_fits(kind, name, value) for kind in kinds) else _expected(kinds[0], value)


def _fits(kind: Kind, name: str, value: str) -> bool:
    if isinstance(kind, int):
        return value.isdecimal() and int(value) < 1 << 8 * kind
    if kind == ADDRESSES:
        found = addresses(value)
        return bool(found) and all(name in (V4 if address.version == 4 else V6) for address in found)
    return True


def _expected(kind: Kind, value: str) -> str:
    if isinstance(kind, int):
        return f"{value} is not a number of {kind} byte{'s' if kind > 1 else ''}"
    return f"{value} is not an address, or several with commas between them"


def addresses(value: str) -> tuple[Address, ...]:
    """The addresses of a list with commas; none where one of them is none, or has a zone."""
    try:
        return tuple(ip_address(part.strip().strip("[]")) for part in value.split(",") if "%" not in part)
    except ValueError:
        return ()


def lines(options: Mapping[str, str]) -> Iterator[str]:
    """``option:NAME,VALUE`` and ``option6:NAME,VALUE``, as dnsmasq's ``dhcp-option`` takes them: each family gets what it has."""
    for name, value in options.items():
        listed = addresses(value) if ADDRESSES in (V4.get(name), V6.get(name)) else ()
        fours = [str(address) for address in listed if address.version == 4]
        sixes = [f"[{address}]" for address in listed if address.version == 6]
        if listed:
            if fours and name in V4:
                yield ",".join((f"option:{name}", *fours))
            if sixes and name in V6:
                yield ",".join((f"option6:{name}", *sixes))
            continue
        if name in V4:
            yield f"option:{name},{value}"
        if name in V6 and V6[name] != ADDRESSES:
            yield f"option6:{name},{value}"
