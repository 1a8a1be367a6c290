"""Who has to reach this host still once its uplinks have changed: the store, whom `--keep-reachable` names, and who answered before."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from weft.agents.observed import HERE, Link
from weft.agents.pings import Ping, answered
from weft.topology.errors import WeftError
from weft.topology.ovsdb import Client, OvsdbError
from weft.topology.server import DATABASE

Address = IPv4Address | IPv6Address
PING = 0.5
"""Seconds that a ping waits for its answer."""
ASK = 0.2, 3.0
"""Seconds that the store has to answer, the first time and after many: a first packet may be lost, and TCP waits long before the next."""


def address(text: str) -> Address:
    """Raises WeftError for what is no address."""
    try:
        return ip_address(text)
    except ValueError:
        raise WeftError(f"--keep-reachable {text}: not an IP address") from None


def beside(links: Mapping[str, Mapping[str, Link]]) -> list[Address]:
    """Whom a person would miss as well: the default gateways, and where the shell comes from that this runs in."""
    ways = [gateway for link in links.get(HERE, {}).values() for network, gateway in link.routes if network == "default" and gateway]
    if "SSH_CONNECTION" in os.environ:
        ways.append(os.environ["SSH_CONNECTION"].split()[0])
    return [ip_address(way) for way in dict.fromkeys(ways) if not way.startswith("fe80:")]


def answering(addresses: Iterable[Address]) -> list[Address]:
    """Those that answer a ping."""
    asked = [Ping(HERE, each) for each in addresses]
    heard = answered(asked, PING) if asked else set()
    return [ping.address for ping in asked if ping in heard]


async def store_answers(store: str, patience: float) -> bool:
    """By a connection of its own: one that was there before may not know yet that it is lost."""
    try:
        async with asyncio.timeout(patience):
            client = await Client.connect(store)
            try:
                await client.select(DATABASE, "Fabric", ("name",))
            finally:
                await client.close()
    except (OvsdbError, TimeoutError):
        return False
    return True
