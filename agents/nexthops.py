"""Neighbours of the service namespace on its ways out, and by what MAC: as its kernel says, from the moment that it says so.

A gateway whose MAC flows name must be asked for even when nothing goes by the kernel: the namespace marks it as managed (ip-neighbour(8)),
and the kernel then asks by itself. What is not managed is not told: an answer to it would grow old unseen. Neighbours of guests come and
go all day; only news of a gateway wakes the agent.
"""

import select
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from weft.agents.spaces import inside

GROUP = 0x4
"""RTMGRP_NEIGH of <linux/rtnetlink.h>: of both versions of IP."""
NEW, DELETED, GET = 28, 29, 30
"""RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH."""
END = (2, 3)
"""NLMSG_ERROR, NLMSG_DONE."""
WHOLE_TABLE = 0x301
"""NLM_F_REQUEST | NLM_F_DUMP."""
TARGET, MAC, FLAGS = 1, 2, 15
"""NDA_DST, NDA_LLADDR, NDA_FLAGS_EXT of <linux/neighbour.h>."""
VALID = 0x02 | 0x04 | 0x08 | 0x10
"""NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE: the MAC is used."""
MANAGED = 1
"""NTF_EXT_MANAGED, from Linux 5.16 on."""
PATIENCE = 2.0
"""Seconds the kernel may take to say what it has."""

Neighbour = tuple[int, str]
"""Index of an interface, and an address on it."""


class Nexthops:
    """Of one namespace. `follow` is called by the worker thread, the rest by the event loop."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._inode = 0
        self._macs: dict[Neighbour, str] = {}

    def fileno(self) -> int:
        """Readable when a neighbour has changed."""
        return self._poll.fileno()

    def follow(self, space: str, inode: int) -> None:
        """From now on of this namespace (0: there is none). Raises WeftError or OSError where it cannot be entered or read."""
        with self._lock:
            if inode == self._inode:
                return
            self._close()
            if inode:
                with inside(space):
                    self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
                self._socket.bind((0, GROUP))
                self._look()
                self._poll.register(self._socket, select.EPOLLIN)
                self._inode = inode

    def heard(self) -> bool:
        """Whether a managed neighbour has another MAC than before, or none any more."""
        with self._lock:
            before = dict(self._macs)
            while self._socket is not None:
                try:
                    self._read(self._socket.recv(1 << 16))
                except BlockingIOError:
                    break
                except OSError:  # ENOBUFS: more was said than there was room for; `follow` begins anew
                    self._close()
            return before != self._macs

    def macs(self, names: Mapping[int, str]) -> dict[str, dict[str, str]]:
        """MACs of managed neighbours by interface and address; `names` are those of the interfaces by index."""
        found: dict[str, dict[str, str]] = {}
        with self._lock:
            for (index, address), mac in self._macs.items():
                if index in names:
                    found.setdefault(names[index], {})[address] = mac
        return found

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._inode, self._macs = None, 0, {}

    def _look(self) -> None:
        """Reads the whole table; what is said meanwhile comes by the same socket."""
        assert self._socket is not None
        self._socket.settimeout(PATIENCE)
        self._socket.send(struct.pack("=IHHIIBxxxiHBB", 28, GET, WHOLE_TABLE, 1, 0, 0, 0, 0, 0, 0))
        while not self._read(self._socket.recv(1 << 16)):
            pass
        self._socket.setblocking(False)

    def _read(self, data: bytes) -> bool:
        """Takes messages up (netlink(7), rtnetlink(7)); whether the last one of a table was among them."""
        start = 0
        while start + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, start)
            if kind in END:
                return True
            if kind in (NEW, DELETED):
                self._take(kind, data[start + 16 : start + length])
            start += max((length + 3) & ~3, 16)
        return False

    def _take(self, kind: int, body: bytes) -> None:
        index, state = struct.unpack_from("=4xiH", body)
        said = dict(_attributes(body))
        key = (index, str(ip_address(said[TARGET]))) if TARGET in said else None
        managed = int.from_bytes(said.get(FLAGS, b""), "little") & MANAGED
        if key is None:
            return
        if kind == NEW and state & VALID and managed and len(said.get(MAC, b"")) == 6:
            self._macs[key] = said[MAC].hex(":")
        else:
            self._macs.pop(key, None)


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    start = 12
    while start + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, start)
        if length < 4:
            return
        yield kind, body[start + 4 : start + length]
        start += (length + 3) & ~3
