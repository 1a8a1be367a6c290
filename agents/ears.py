"""What the kernel says by itself: which links, addresses, routes and rules of which namespace have changed.

One netlink socket a namespace, bound to the groups of rtnetlink(7) and read only as far as to know what to look at again. All of
them hang on one epoll instance, so that an event loop has one descriptor to wait for, however many namespaces there are.
"""

import contextlib
import select
import socket
import struct
from dataclasses import dataclass, field

from weft.agents.observed import HERE
from weft.agents.spaces import inside

LINK, ADDRESSES, ROUTES, RULES = 0x1, 0x10 | 0x100, 0x40 | 0x400, 0x80
"""RTMGRP_… of <linux/rtnetlink.h>, for IPv4 and IPv6."""
RULES_6 = 19
"""RTNLGRP_IPV6_RULE has no bit among them."""
NEW_LINK, DELETED_LINK = 16, 17
"""RTM_NEWLINK and RTM_DELLINK."""
ROOM = 1 << 20
"""Bytes a socket may hold that nobody has read yet."""


@dataclass(slots=True)
class Heard:
    """What changed in one namespace. `links`: indices of links, `gone`: of those that were removed, and may be back by now;
    `others`: addresses, routes or rules; `lost`: nobody knows."""

    links: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    others: bool = False
    lost: bool = False

    def __bool__(self) -> bool:
        return bool(self.links or self.others or self.lost)


class Ears:
    """Listens in namespaces from the moment that each is opened."""

    def __init__(self) -> None:
        self._sockets: dict[str, socket.socket] = {}
        self._poll = select.epoll()

    def fileno(self) -> int:
        """Readable when something was said; `hush` makes it silent until there is more."""
        return self._poll.fileno()

    def hush(self) -> None:
        self._poll.poll(0)

    def watch(self, descriptor: int) -> None:
        """Wakes once as well when this one becomes readable, until it is closed."""
        self._poll.register(descriptor, select.EPOLLIN | select.EPOLLET)

    def opened(self) -> set[str]:
        return set(self._sockets)

    def open(self, space: str) -> None:
        """Raises WeftError where there is no such namespace."""
        with inside(space) if space != HERE else contextlib.nullcontext():
            made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        made.bind((0, LINK | ADDRESSES | ROUTES | RULES))
        made.setsockopt(270, 1, RULES_6)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP
        self._sockets[space] = made
        self._poll.register(made, select.EPOLLIN | select.EPOLLET)

    def close(self, space: str) -> None:
        self._sockets.pop(space).close()

    def heard(self, space: str) -> Heard:
        """Everything since the last time."""
        found = Heard()
        while True:
            try:
                data = self._sockets[space].recv(1 << 16)
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: more was said than there was room for
                found.lost = True
                continue
            _read(data, found)

    def close_all(self) -> None:
        for space in self.opened():
            self.close(space)
        self._poll.close()


def _read(data: bytes, found: Heard) -> None:
    """Headers only (netlink(7)): length and type, and of a link its index."""
    start = 0
    while start + 24 <= len(data):
        length, kind = struct.unpack_from("=IH", data, start)
        if kind in (NEW_LINK, DELETED_LINK):
            family, index = struct.unpack_from("=B3xi", data, start + 16)
            found.links.add(index)
            if kind == DELETED_LINK and family == 0:  # of another family: it only left a bridge
                found.gone.add(index)
        else:
            found.others = True
        if length < 16:
            return
        start += (length + 3) & ~3
