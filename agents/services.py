"""The service namespace of a host: its kernel is the router and the gateway of every segment that has a subnet.

A segment's packets look in a table of their own uplink and never at another segment; those of a segment without an uplink find
nothing. On the way out the namespace speaks as the host (its MAC, its address) and never answers for it. Pings of all guests share one
address before they are translated: the userspace datapath does not translate their identifiers, the kernel does.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Interface

from weft.agents.links import inside
from weft.agents.steps import SetServices, Way
from weft.topology.errors import WeftError
from weft.topology.names import ECHO, HAIRPIN

FIRST_TABLE = 100
"""Routing table of the first uplink."""
FAMILIES = ("-4", "-6")
RULE = 100
"""Priority of the rules, before the main table's."""


def services_digest(namespace: str) -> str:
    """What the namespace was last set to, whole; empty: nothing, or not to the end."""
    done = subprocess.run(inside(namespace, "nft", "list", "table", "inet", "weft"), capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if "comment" in line:
            return line.split('"')[1]
    return ""


def set_services(step: SetServices) -> None:
    """Brings the namespace to `step`; safe to do again. Raises WeftError with the first line of what the kernel says."""
    _run(step.namespace, "nft", "-f", "-", given=_nft(step, ""), strict=True)
    _run(step.namespace, "sh", "-ec", "\n".join(_settings(step)))
    for way in step.ways:
        _run(step.namespace, "ip", "-force", "-batch", "-", given="\n".join(_way(way, step)))
    for family in FAMILIES:
        there = _run(step.namespace, "ip", family, "rule", "list", "pref", str(RULE)).splitlines()
        rules = [*(f"rule del pref {RULE}" for _ in there), *_rules(family, step)]
        _run(step.namespace, "ip", family, "-batch", "-", given="\n".join(rules), strict=True)
    _run(step.namespace, "nft", "-f", "-", given=_nft(step, step.digest), strict=True)


def _settings(step: SetServices) -> Iterator[str]:
    for key, value in (("ipv4/ip_forward", 1), ("ipv6/conf/all/forwarding", 1)):
        yield f"echo {value} > /proc/sys/net/{key}"
    for name in ("all", "default", *(segment.inside for segment in step.segments), *(way.inside for way in step.ways)):
        for key, value in (("rp_filter", 0), ("send_redirects", 0), ("arp_ignore", 1), ("arp_announce", 2)):
            yield f"echo {value} > /proc/sys/net/ipv4/conf/{name}/{key}"
        yield f"echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad"


def _way(way: Way, step: SetServices) -> Iterator[str]:
    """The exit: the host's address without answering for it, its routes once for us and once for the segments."""
    own, table = IPv4Interface(way.address), _table(way.uplink, step)
    device = f"dev {way.inside}"
    yield f"link set {device} address {way.mac} up"
    yield f"link set {device} addrgenmode none"
    yield f"addr flush {device}"
    yield f"addr add {way.address} {device}"
    yield f"route del local {own.ip} {device} table local"
    yield f"route del broadcast {own.network.broadcast_address} {device} table local"
    for hidden in (own.ip, HAIRPIN):
        yield f"neigh replace {hidden} lladdr {way.mac} {device} nud permanent"
    yield f"route flush table {table}"
    for where in ("", f" table {table}"):
        yield f"route replace {HAIRPIN} {device}{where}"
        yield f"route replace {own.network} {device} src {own.ip}{where}"
        for network, gateway in way.routes:
            if gateway:
                yield f"route replace {network} via {gateway} {device}{where}"
            elif network != str(own.network):
                yield f"route replace {network} {device}{where}"


def _rules(family: str, step: SetServices) -> Iterator[str]:
    """What its own table has no route for goes nowhere: the main table knows the other segments."""
    ways = {way.uplink: way.inside for way in step.ways}
    for segment in step.segments:
        if family == "-4" and segment.uplink in ways:
            yield f"rule add iif {segment.inside} lookup {_table(segment.uplink or '', step)} pref {RULE}"
        yield f"rule add iif {segment.inside} prohibit pref {RULE}"


def _table(uplink: str, step: SetServices) -> int:
    return FIRST_TABLE + [way.uplink for way in step.ways].index(uplink)


def _nft(step: SetServices, comment: str) -> str:
    """Isolation and the pings' address; the digest, as the table's comment, is there only when all else was done."""
    errors = "{ echo-request, echo-reply, destination-unreachable, time-exceeded, parameter-problem }"
    names = "{ " + ", ".join(f'"{segment.inside}"' for segment in step.segments) + " }"
    hide = "".join(
        f'oifname "{way.inside}" ip daddr != {{ {IPv4Interface(way.address).ip}, {HAIRPIN} }} icmp type echo-request snat ip to {ECHO}\n'
        for way in step.ways
    )
    ways = {way.uplink: way.inside for way in step.ways}
    pairs = [(segment.inside, ways[segment.uplink]) for segment in step.segments if segment.uplink in ways]
    let = "".join(f'iifname "{one}" oifname "{other}" accept; iifname "{other}" oifname "{one}" accept\n' for one, other in pairs)
    return f"""
table inet weft {{ }}
delete table inet weft
table inet weft {{
  comment "{comment}"
  chain raw {{ type filter hook prerouting priority raw; icmp type {errors} return; meta nfproto ipv4 notrack; }}
  chain input {{ type filter hook input priority filter;
    iifname {names} fib daddr . iif type != {{ local, broadcast, multicast }} drop; }}
  chain forward {{ type filter hook forward priority filter; policy drop;
    {let} }}
  chain post {{ type nat hook postrouting priority srcnat;
    {hide} }}
}}
"""


def _run(namespace: str, *command: str, given: str | None = None, strict: bool = False) -> str:
    """`ip -force` goes on after what is there already or gone already; the rest must succeed."""
    line = inside(namespace, *command)
    done = subprocess.run(line, input=given, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode and (strict or command[0] == "sh"):
        with contextlib.suppress(IndexError):
            raise WeftError(f"{namespace}: {done.stderr.strip().splitlines()[0]}")
    return done.stdout
