"""Pings of everybody by everybody at once: echo requests on raw sockets that were opened inside the guests' namespaces."""

import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from weft.agents.spaces import inside

ECHO = {4: (8, 0), 6: (128, 129)}
"""Types of echo request and reply (RFC 792, RFC 4443)."""

@dataclass(frozen=True, slots=True)
class Ping:
    """From a namespace to an address."""

    namespace: str
    address: IPv4Address | IPv6Address


def answered(pings: Iterable[Ping], seconds: float) -> set[Ping]:
    """Those of `pings` that are answered within so many seconds. Raises WeftError where a namespace is not there."""
    return set(_ask(list(pings), seconds))


def _ask(pings: list[Ping], seconds: float) -> Iterator[Ping]:
    with _sockets({(ping.namespace, ping.address.version) for ping in pings}) as sockets:
        sent: dict[tuple[int, int], Ping] = {}
        counts: dict[int, int] = {}
        for ping in pings:
            number = sockets[ping.namespace, ping.address.version].fileno()
            counts[number] = sequence = counts.get(number, 0) + 1
            sent[number, sequence & 0xFFFF] = ping
            _send(sockets[ping.namespace, ping.address.version], ping.address, sequence)
        yield from _replies(list(sockets.values()), sent, seconds)


def _replies(sockets: list[socket.socket], sent: dict[tuple[int, int], Ping], seconds: float) -> Iterator[Ping]:
    poll = select.epoll()
    by_number = {each.fileno(): each for each in sockets}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    deadline, left = time.monotonic() + seconds, dict(sent)
    try:
        while left and (rest := deadline - time.monotonic()) > 0:
            for number, _ in poll.poll(rest):
                if (ping := _reply(by_number[number], number, left)) is not None:
                    yield ping
    finally:
        poll.close()


def _reply(from_socket: socket.socket, number: int, left: dict[tuple[int, int], Ping]) -> Ping | None:
    """The ping that one packet answers; a raw socket hears everything that comes in."""
    try:
        data, sender = from_socket.recvfrom(2048)
    except OSError:
        return None
    version = 4 if from_socket.family == socket.AF_INET else 6
    icmp = data[(data[0] & 15) * 4 :] if version == 4 else data
    if len(icmp) < 8:
        return None
    kind, _, _, identifier, sequence = struct.unpack_from("!BBHHH", icmp)
    if kind != ECHO[version][1] or identifier != _identifier(number):
        return None
    ping = left.get((number, sequence))
    if ping is None or str(ping.address) != sender[0].partition("%")[0]:
        return None
    return left.pop((number, sequence))


def _identifier(number: int) -> int:
    return (os.getpid() + number) & 0xFFFF


def _send(by: socket.socket, address: IPv4Address | IPv6Address, sequence: int) -> None:
    """No route, no neighbour, no buffer: then it is not answered."""
    head = struct.pack("!BBHHH", ECHO[address.version][0], 0, 0, _identifier(by.fileno()), sequence & 0xFFFF)
    body = b"weft" * 12
    if address.version == 4:  # the kernel does this for IPv6
        head = head[:2] + struct.pack("!H", _checksum(head + body)) + head[4:]
    try:
        by.sendto(head + body, (str(address), 0))
    except OSError:
        return


def _checksum(data: bytes) -> int:
    """Of the Internet (RFC 1071), of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


@contextmanager
def _sockets(wanted: set[tuple[str, int]]) -> Iterator[dict[tuple[str, int], socket.socket]]:
    """A raw socket in each namespace for each version of IP."""
    made: dict[tuple[str, int], socket.socket] = {}
    try:
        for space, version in sorted(wanted):
            with inside(space) if space else nullcontext():
                if version == 4:
                    made[space, version] = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
                else:
                    made[space, version] = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            made[space, version].setblocking(False)
        yield made
    finally:
        for each in made.values():
            each.close()
