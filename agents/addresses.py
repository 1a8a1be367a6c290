"""Addresses and routes of a link as rtnetlink(7) has them: read, carried to another link, put back."""

import errno
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_interface
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

KERNEL, ROUTER = 2, 9
"""rtm_protocol of routes that come by themselves: with an address, or by router advertisement (rtnetlink(7))."""
LOCAL_TABLE = 255
NODAD = 2
"""IFA_F_NODAD: an address is usable at once."""
ONLINK = 4
"""RTNH_F_ONLINK: a gateway that is in no network of the link."""
FOR_EVER = 0xFFFFFFFF

Address = dict[str, Any]
Route = dict[str, Any]
"""Terms of pyroute2's `addr` and `route`, which JSON can hold."""


def addresses_of(ip: Any, index: int) -> list[Address]:
    """Those of people's making, of IPv6 those of global scope, each with what is left of its life."""
    return [_address(message) for message in ip.get_addr(index=index) if message["family"] == 2 or message["scope"] == 0]


def _address(message: Any) -> Address:
    said = parts(cidr(message))
    if message.get_attr("IFA_BROADCAST"):
        said["broadcast"] = message.get_attr("IFA_BROADCAST")
    if message["family"] != 2:
        said["flags"] = NODAD
    life = message.get_attr("IFA_CACHEINFO")
    if life and life["ifa_valid"] != FOR_EVER:
        said |= {"preferred_lft": life["ifa_preferred"], "valid_lft": life["ifa_valid"]}
    return said


def put_addresses(ip: Any, index: int, addresses: Iterable[Address]) -> None:
    for address in addresses:
        quietly(errno.EEXIST, ip.addr, "add", index=index, **address)


def drop_address(ip: Any, index: int, address: Address) -> None:
    quietly(errno.EADDRNOTAVAIL, ip.addr, "del", index=index, address=address["address"], prefixlen=address["prefixlen"])


def routes_of(ip: Any, index: int) -> Iterator[Route]:
    """The routes by a link that do not come by themselves."""
    for message in ip.get_routes(oif=index):
        table = message.get_attr("RTA_TABLE") or message["table"]
        if message["proto"] in (KERNEL, ROUTER) or table == LOCAL_TABLE or message.get_attr("RTA_OIF") != index:
            continue
        target = message.get_attr("RTA_DST")
        route: Route = {name: message[name] for name in ("family", "proto", "scope", "type", "tos")}
        route |= {"table": table, "dst": f"{target}/{message['dst_len']}" if target else _default_of(message["family"])}
        route |= {"flags": ONLINK} if message["flags"] & ONLINK else {}
        for name in ("gateway", "prefsrc", "priority"):
            value = message.get_attr(f"RTA_{name.upper()}")
            route |= {name: value} if value is not None else {}
        yield route


def _default_of(family: int) -> str:
    return "0.0.0.0/0" if family == 2 else "::/0"


def cidr(message: Any) -> str:
    return f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"


def parts(address: str) -> Address:
    interface = ip_interface(address)
    return {"address": str(interface.ip), "prefixlen": interface.network.prefixlen}


def quietly(expected: int, call: Callable[..., Any], *words: Any, **terms: Any) -> None:
    """A netlink call that may find its work done already."""
    try:
        call(*words, **terms)
    except NetlinkError as error:
        if error.code != expected:
            raise
