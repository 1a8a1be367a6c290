"""The service namespace of a host: its kernel is the router and the gateway of every segment that has a subnet.

A segment's packets look in a table of their own uplink, which knows that uplink, the other segments that are routed or translated, and
nothing else; those of an isolated segment find nothing. On the way out the namespace speaks as the host (its MAC, its address) and
never answers for it: it answers ARP and ND for the routed guests of this host alone. Pings of all translated guests share one address before
they are translated: the userspace datapath does not translate their identifiers, the kernel does.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from typing import Any, NamedTuple

from weft.agents.links import inside, nft_comment
from weft.agents.service_steps import Served, SetServices, Way
from weft.topology.errors import WeftError
from weft.topology.model import HOST_UPLINK
from weft.topology.names import ECHO, ECHO6, HAIRPIN, HAIRPIN6, HOST_WAY, HOST_WAY_6, exit_link_local

FIRST_TABLE = 100
"""Routing table of the first uplink."""
FAMILIES = (4, 6)
RULE = 100
"""Priority of the rules, before the main table's."""
NEIGHBOURS = (
    ("proxy_delay", 0),
    ("base_reachable_time_ms", 3000),
    ("delay_first_probe_time", 1),
    ("ucast_solicit", 1),
    ("mcast_resolicit", 3),
)
"""Of an uplink: a gateway that has another MAC and does not say so is asked for again within about ten seconds (RFC 4861, 7.3), of which
up to five are the kernel's own pace for what it manages. A question to the old MAC is followed by one to all, and it stays known meanwhile."""
OURS = 119
"""rtm_protocol of the routes laid here (rtnetlink(7)): ``w``."""


def services_digest(namespace: str) -> str:
    """What the namespace was last set to, whole; empty: nothing, or not to the end."""
    return nft_comment(namespace, "weft")


def set_services(step: SetServices) -> None:
    """Brings the namespace to `step`; safe to do again, and what stays the same is never away. Raises WeftError with the first line of
    what the kernel says."""
    _run(step.namespace, "nft", "-f", "-", given=_nft(step, ""), strict=True)
    _run(step.namespace, "sh", "-ec", "\n".join(_settings(step)))
    for way in step.ways:
        _ip(step.namespace, (*_way(way), *_stale(way, step.namespace)))
    _ip(step.namespace, _to_host(step))
    for version in FAMILIES:
        wanted = dict(_routes(version, step))
        lines = [f"route replace {route.network} {how} table {route.table} proto {OURS}" for route, how in wanted.items()]
        _ip(step.namespace, (*lines, *_stale_routes(version, step.namespace, wanted)), version)
        _ip(step.namespace, _proxies(version, step), version)
        there = _run(step.namespace, "ip", f"-{version}", "rule", "list", "pref", str(RULE)).splitlines()
        rules = [*(f"rule del pref {RULE}" for _ in there), *_rules(step)]
        _run(step.namespace, "ip", f"-{version}", "-batch", "-", given="\n".join(rules), strict=True)
    _run(step.namespace, "nft", "-f", "-", given=_nft(step, step.digest), strict=True)


def _settings(step: SetServices) -> Iterator[str]:
    yield f"ip addr replace {ECHO}/32 dev lo"  # dnsmasq asks the host's resolvers from here: such answers come back
    for key, value in (("ipv4/ip_forward", 1), ("ipv6/conf/all/forwarding", 1)):
        yield f"echo {value} > /proc/sys/net/{key}"
    outward = [*(way.inside for way in step.ways), *([step.host_way] if step.host_way else ())]
    for name in ("all", "default", *(segment.inside for segment in step.segments), *outward):
        for key, value in (("rp_filter", 0), ("send_redirects", 0), ("arp_ignore", 1), ("arp_announce", 2)):
            yield f"echo {value} > /proc/sys/net/ipv4/conf/{name}/{key}"
        yield f"echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad"
    for way in step.ways:
        for key in ("proxy_ndp", "use_oif_addrs_only"):
            yield f"echo 1 > /proc/sys/net/ipv6/conf/{way.inside}/{key}"
        for version in FAMILIES:
            for key, value in NEIGHBOURS:
                yield f"echo {value} > /proc/sys/net/ipv{version}/neigh/{way.inside}/{key}"


def _to_host(step: SetServices) -> Iterator[str]:
    """The namespace's end of the link to its host."""
    if step.host_way:
        yield f"link set dev {step.host_way} up"
        yield f"addr replace {HOST_WAY[1]} dev {step.host_way}"
        yield f"addr replace {HOST_WAY_6[1]} dev {step.host_way} nodad"


def _own(way: Way, version: int) -> IPv4Interface | IPv6Interface | None:
    said = way.address if version == 4 else way.address6
    return ip_interface(said) if said else None


def _way(way: Way) -> Iterator[str]:
    """The exit: the host's address without answering for it. Over IPv6 neighbours are found from a link-local address of its own."""
    own, device = IPv4Interface(way.address), f"dev {way.inside}"
    yield f"link set {device} address {way.mac} up"
    yield f"link set {device} addrgenmode none"
    yield f"addr add {way.address} {device}"
    yield f"addr add {exit_link_local(way.mac)}/64 {device} nodad"
    yield f"route del local {own.ip} {device} table local"
    yield f"route del broadcast {own.network.broadcast_address} {device} table local"
    for hidden in (own.ip, HAIRPIN, *((ip_interface(way.address6).ip, HAIRPIN6) if way.address6 else ())):
        yield f"neigh replace {hidden} lladdr {way.mac} {device} nud permanent"
    for gateway in way.gateways.values():  # flows name its MAC: the kernel asks for it though nothing goes by the kernel
        yield f"neigh replace {gateway} {device} managed extern_learn"  # the latter: it is never forgotten


def _stale(way: Way, namespace: str) -> Iterator[str]:
    """Addresses of the exit, and gateways, that an earlier step made and this one does not."""
    there = _json(namespace, "addr", "show", "dev", way.inside)
    wanted = {way.address, f"{exit_link_local(way.mac)}/64"}
    for address in (f"{each['local']}/{each['prefixlen']}" for link in there for each in link.get("addr_info", ()) if "local" in each):
        if address not in wanted:
            yield f"addr del {address} dev {way.inside}"
    for neighbour in _json(namespace, "neigh", "show", "dev", way.inside):
        if "managed" in neighbour and neighbour["dst"] not in way.gateways.values():
            yield f"neigh del {neighbour['dst']} dev {way.inside}"


# ---- routes


class Route(NamedTuple):
    table: str
    network: str


def _routes(version: int, step: SetServices) -> Iterator[tuple[Route, str]]:
    """What is laid, and how. Of two of the same network the later one holds: a wire before a segment that has the same network."""
    tables = [str(number) for number in _tables(step).values()]
    for segment in _joined(step):
        device = f"dev {segment.inside}"
        for network in _of(version, (str(ip_interface(address).network) for address in segment.addresses)):
            yield from ((Route(table, network), device) for table in tables)
    if step.host_way:
        via = str(HOST_WAY[0].ip if version == 4 else HOST_WAY_6[0].ip)
        yield from ((Route(table, "default"), f"via {via} dev {step.host_way}") for table in ("main", str(_tables(step)[HOST_UPLINK])))
    for way in step.ways:
        yield from _by_way(version, way, ("main", str(_tables(step)[way.uplink])) if way.uplink in _tables(step) else ("main",))
    for segment in _joined(step):
        device = f"dev {segment.inside}"
        for network, via in segment.routes:
            where = (*tables, "main") if ip_network(network).version == version else ()
            yield from ((Route(table, _canonical(network)), f"via {via} {device}") for table in where)
        for guest in _of(version, segment.guests) if _on_wire(segment, step) else ():
            yield from ((Route(table, guest), device) for table in (*tables, "main"))


def _by_way(version: int, way: Way, tables: Iterable[str]) -> Iterator[tuple[Route, str]]:
    """The host's own routes, once for the namespace and once for the segments."""
    own, device = _own(way, version), f"dev {way.inside}"
    if own is None:
        return
    for table in tables:
        yield Route(table, str(HAIRPIN if version == 4 else HAIRPIN6)), device
        yield Route(table, str(own.network)), device
        for network, gateway in way.routes:
            if (":" in network + gateway) != (version == 6) or network == str(own.network):
                continue
            yield Route(table, _canonical(network)), f"via {gateway} {device}" if gateway else device


def _canonical(network: str) -> str:
    return "default" if network.endswith("/0") else network


def _on_wire(segment: Served, step: SetServices) -> bool:
    """Whether a wire has the segment's network, or a part of it: then guests have a route each."""
    own = [own.network for way in step.ways for version in FAMILIES if (own := _own(way, version))]
    nets = [ip_interface(address).network for address in segment.addresses]
    return any(wire.version == net.version and wire.subnet_of(net) for wire in own for net in nets)  # type: ignore[arg-type]


def _of(version: int, said: Iterable[str]) -> Iterator[str]:
    return (each for each in said if (":" in each) == (version == 6))


def _stale_routes(version: int, namespace: str, wanted: dict[Route, str]) -> Iterator[str]:
    """Those that an earlier step laid and this one does not."""
    for each in _json(namespace, f"-{version}", "route", "show", "table", "all", "proto", str(OURS)):
        route = Route(str(each.get("table", "main")), each["dst"])
        if route not in wanted and Route(route.table, route.network.partition("/")[0]) not in wanted:
            yield f"route del {route.network} dev {each['dev']} table {route.table} proto {OURS}"


def _proxies(version: int, step: SetServices) -> Iterator[str]:
    """For whom the namespace answers on an uplink: the routed guests of this host."""
    inside_of = {way.uplink: way.inside for way in step.ways}
    routed = [(guest, segment.uplink) for segment in step.segments for guest in _of(version, segment.guests)]
    wanted = {(guest, inside_of[uplink]) for guest, uplink in routed if uplink in inside_of}
    there = {(each["dst"], each["dev"]) for each in _json(step.namespace, f"-{version}", "neigh", "show", "proxy")}
    yield from (f"neigh add proxy {guest} dev {device}" for guest, device in sorted(wanted - there))
    yield from (f"neigh del proxy {guest} dev {device}" for guest, device in sorted(there - wanted))


def _rules(step: SetServices) -> Iterator[str]:
    """What its own table has no route for goes nowhere: the main table knows the isolated segments."""
    for segment in step.segments:
        if segment.uplink is not None:
            yield f"rule add iif {segment.inside} lookup {_tables(step)[segment.uplink]} pref {RULE}"
        yield f"rule add iif {segment.inside} prohibit pref {RULE}"


def _joined(step: SetServices) -> list[Served]:
    """The segments that are routed among each other: those with a way out."""
    return [segment for segment in step.segments if segment.uplink is not None]


def _tables(step: SetServices) -> dict[str, int]:
    """The routing table of each uplink that a segment leaves by."""
    return {uplink: FIRST_TABLE + number for number, uplink in enumerate(sorted({s.uplink for s in step.segments if s.uplink}))}


# ---- nft


def _nft(step: SetServices, comment: str) -> str:
    """Isolation and the pings' address; the digest, as the table's comment, is there only when all else was done.

    Only what goes from segment to segment is a connection to the kernel, and what ICMP says.
    """
    names = _set(f'"{segment.inside}"' for segment in step.segments)
    joined = _set(f'"{segment.inside}"' for segment in _joined(step))
    ways = {way.uplink: way.inside for way in step.ways} | ({HOST_UPLINK: step.host_way} if step.host_way else {})
    pairs = [(segment.inside, ways[segment.uplink]) for segment in step.segments if segment.uplink in ways]
    let = [f'iifname "{one}" oifname "{other}" accept; iifname "{other}" oifname "{one}" accept' for one, other in pairs]
    let += [f'iifname {joined} oifname "{s.inside}" accept' for s in step.segments if s.mode == "routed"]
    let += [f'iifname "{s.inside}" oifname "{s.inside}" accept' for s in _joined(step) if s.mode == "nat"]
    let += [f"iifname {joined} reject with icmpx admin-prohibited"] if joined else []
    return f"""
table inet weft {{ }}
delete table inet weft
table inet weft {{
  comment "{comment}"
  chain raw {{ type filter hook prerouting priority raw;
    icmp type {{ {ERRORS}, destination-unreachable }} return; icmpv6 type {{ {ERRORS}, destination-unreachable, packet-too-big }} return
    {_lines(_between(step, joined))}
    notrack; }}
  chain input {{ type filter hook input priority filter;
    iifname {names} fib daddr . iif type != {{ local, broadcast, multicast }} drop; }}
  chain forward {{ type filter hook forward priority filter; policy drop;
    ct state established,related accept
    {_lines(let)}
  }}
  chain post {{ type nat hook postrouting priority srcnat;
    {_lines(line for way in step.ways for line in _shared(way, step))}
  }}
}}
"""


ERRORS = "echo-request, echo-reply, time-exceeded, parameter-problem"


def _between(step: SetServices, joined: str) -> Iterator[str]:
    for version, word in ((4, "ip"), (6, "ip6")):
        if nets := _networks(version, _joined(step)):
            yield f"iifname {joined} {word} daddr {nets} return"


def _shared(way: Way, step: SetServices) -> Iterator[str]:
    """Pings that will be translated on the uplink."""
    hidden = [segment for segment in step.segments if segment.mode == "nat" and segment.uplink == way.uplink]
    for version, word, echo, hairpin in ((4, "ip", ECHO, HAIRPIN), (6, "ip6", ECHO6, HAIRPIN6)):
        own, nets = _own(way, version), _networks(version, hidden)
        if own and nets:
            kind = "icmp" if version == 4 else "icmpv6"
            apart = f"{word} daddr != {{ {own.ip}, {hairpin} }} {word} saddr {nets}"
            yield f'oifname "{way.inside}" {apart} {kind} type echo-request snat {word} to {echo}'


def _networks(version: int, segments: Iterable[Served]) -> str:
    """As a set of nft; empty: there are none."""
    said = [net for s in segments for net in (*(str(ip_interface(a).network) for a in s.addresses), *(to for to, _ in s.routes))]
    nets = [ip_network(net) for net in _of(version, said)]
    return _set(str(net) for net in nets if not any(net != other and net.subnet_of(other) for other in nets))  # type: ignore[arg-type]


def _set(words: Iterable[str]) -> str:
    found = sorted(set(words))
    return f"{{ {', '.join(found)} }}" if found else ""


def _lines(lines: Iterable[str]) -> str:
    return "\n    ".join(lines)


# ---- commands


def _ip(namespace: str, lines: Iterable[str], version: int | None = None) -> None:
    """A batch of ip(8); goes on after what is there already or gone already."""
    family = (f"-{version}",) if version else ()
    _run(namespace, "ip", *family, "-force", "-batch", "-", given="\n".join(lines))


def _json(namespace: str, *words: str) -> list[dict[str, Any]]:
    said = _run(namespace, "ip", "-j", *words)
    return [each for each in json.loads(said or "[]") if each]


def _run(namespace: str, *command: str, given: str | None = None, strict: bool = False) -> str:
    """`ip -force` goes on after what is there already or gone already; the rest must succeed."""
    line = inside(namespace, *command)
    done = subprocess.run(line, input=given, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode and (strict or command[0] == "sh"):
        with contextlib.suppress(IndexError):
            raise WeftError(f"{namespace}: {done.stderr.strip().splitlines()[0]}")
    return done.stdout
