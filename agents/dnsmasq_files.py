"""What dnsmasq of one segment is told, from what its host should have (dnsmasq(8)). Pure.

One process a segment: it answers on that segment's service port and knows nobody of another segment. What it reads once is `conf`; what it
reads again when it is told so (SIGHUP) are `FILES`.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

from weft.topology.hostrow import DhcpSpec

FILES: Mapping[str, str] = {"guests": "dhcp-hostsfile", "names": "addn-hosts", "resolvers": "servers-file"}
"""Kind of file -> the option that names it."""
ADVERTISE_EVERY = 200
"""Seconds between router advertisements that nobody asked for (RFC 4861, 6.2.1, has 600 at most)."""
ROUTER_LIFETIME = 1800
"""Seconds that guests take the gateway for a router (RFC 4861, 6.2.1)."""
MOST_LEASES = 100_000
"""Bounded by guests and ranges long before."""


def files(spec: DhcpSpec, resolvers: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Kind and text of what may change while it runs. `resolvers`: those of the host."""
    texts = {"guests": _guests(spec), "names": _names(spec), "resolvers": _resolvers(spec, resolvers)}
    return tuple((kind, "".join(f"{line}\n" for line in texts[kind])) for kind in FILES)


def conf(spec: DhcpSpec) -> str:
    """What it is started with."""
    return "".join(f"{line}\n" for line in (*_place(spec), *_domain(spec), *_dhcp(spec), *_advertisements(spec)))


def _place(spec: DhcpSpec) -> Iterator[str]:
    yield f"# segment {spec.segment}; written by weft's agent"
    yield f"interface={spec.inside}"
    yield from ("except-interface=lo", "bind-dynamic", "no-hosts", "no-resolv", "quiet-dhcp", "quiet-dhcp6", "quiet-ra")


def _domain(spec: DhcpSpec) -> Iterator[str]:
    """A plain name is a guest or nobody: it is never asked of others. Without resolvers, what is no guest's is refused."""
    if spec.dns:
        yield from ("domain-needed", "cache-size=1000", "dns-forward-max=1000")
    else:
        yield "port=0"


def _dhcp(spec: DhcpSpec) -> Iterator[str]:
    if not spec.leases:
        return
    yield from ("dhcp-authoritative", "no-ping")
    # Names that programs look for by themselves are no stranger's to have (CERT VU#598349).
    yield from ("dhcp-name-match=set:sought,wpad", "dhcp-name-match=set:sought,isatap", "dhcp-ignore-names=tag:sought")
    # By itself it stops at a thousand, and then refuses those it knows too.
    yield f"dhcp-lease-max={MOST_LEASES}"
    for gateway in map(ip_interface, spec.gateways):
        yield from (f"dhcp-range={line},{spec.lease}" for line in _ranges(spec, gateway))
    yield f"dhcp-option-force=option:mtu,{spec.mtu}"
    if not spec.routes and not any(option.startswith("option:router,") for option in spec.options):
        yield "dhcp-option=option:router"  # empty: none is said
    yield from (f"dhcp-option={option}" for option in spec.options)


def _ranges(spec: DhcpSpec, gateway: IPv4Interface | IPv6Interface) -> Iterator[str]:
    """Of one subnet: what strangers get, else addresses for those alone who are known."""
    size = str(gateway.netmask) if gateway.version == 4 else str(gateway.network.prefixlen)
    found = [ends for one in spec.ranges if ip_address((ends := one.partition("-"))[0]) in gateway.network]
    yield from (f"{first},{last},{size}" for first, _, last in found)
    if not found:
        yield f"{gateway.network.network_address},static,{size}"


def _advertisements(spec: DhcpSpec) -> Iterator[str]:
    """Where DHCPv6 gives addresses guests are sent to it; elsewhere they form their own (RFC 4862)."""
    if not spec.advertises:
        return
    yield "enable-ra"
    yield f"ra-param={spec.inside},mtu:{spec.mtu},{ADVERTISE_EVERY},{ROUTER_LIFETIME if spec.routes else 0}"
    if not spec.leases:
        sixes = (gateway for gateway in map(ip_interface, spec.gateways) if gateway.version == 6)
        yield from (f"dhcp-range={six.network.network_address},ra-only,{six.network.prefixlen}" for six in sixes)


def _guests(spec: DhcpSpec) -> Iterator[str]:
    """A line for each guest, and one more for each IPv4 address beyond its first."""
    for mac, name, *addresses in map(str.split, spec.guests if spec.leases else ()):
        fours = [address for address in addresses if ":" not in address]
        sixes = [f"[{address}]" for address in addresses if ":" in address]
        yield ",".join((mac, *fours[:1], *sixes, name))
        yield from (f"{mac},{four},{name}" for four in fours[1:])


def _names(spec: DhcpSpec) -> Iterator[str]:
    """As hosts(5): the guest's name, and with the segment's behind it. The first is what an address is called."""
    for _, name, *addresses in map(str.split, spec.guests if spec.dns else ()):
        yield from (f"{address} {name} {name}.{spec.segment}" for address in addresses)


def _resolvers(spec: DhcpSpec, resolvers: Iterable[str]) -> Iterator[str]:
    """By the address that the uplink translates and whose answers come back into the service namespace."""
    if spec.forwards:
        yield from (f"server={resolver}@{spec.forwards}" for resolver in resolvers)
