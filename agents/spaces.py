"""Network namespaces, entered for a moment by one thread.

pyroute2 reaches another namespace by a forked child that it ends with SIGTERM. Such a child still shares asyncio's wake-up descriptor
with its parent, which takes the signal for its own and ends. So nothing is forked here: a socket belongs to the namespace it was
made in, whoever uses it later.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from weft.topology.errors import WeftError

NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def inode(space: str) -> int:
    """Tells a namespace from every other; 0: there is none of this name."""
    try:
        return (NAMESPACES / space).stat().st_ino
    except OSError:
        return 0


def make(space: str) -> None:
    """Makes a namespace, its loopback up. One that exists stays as it is."""
    if not inode(space):
        done = subprocess.run(["ip", "netns", "add", space], capture_output=True, text=True, check=False)
        if done.returncode and not inode(space):
            raise WeftError(f"namespace {space}: {done.stderr.strip()}")
        with netlink(space) as ip:
            ip.link("set", index=1, state="up")


def remove(space: str) -> None:
    """Removes a namespace by its name; what still runs in it keeps it alive without one."""
    subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


@contextmanager
def inside(space: str) -> Iterator[None]:
    """The calling thread is in a namespace for as long as the block runs. Raises WeftError where there is none of this name."""
    with _opened(Path("/proc/thread-self/ns/net")) as home:
        try:
            with _opened(NAMESPACES / space) as there:
                _enter(there, space)
        except FileNotFoundError:
            raise WeftError(f"there is no namespace {space}") from None
        try:
            yield
        finally:
            _enter(home, "home")


def netlink(space: str) -> Any:
    """A netlink socket of a namespace, to be used by the calling thread alone."""
    with inside(space):
        ip = IPRoute()
        ip.link_lookup(ifname="lo")  # its socket is made at the first request
    return ip


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield number
    finally:
        os.close(number)


def _enter(number: int, name: str) -> None:
    if _libc.setns(number, CLONE_NEWNET):
        raise WeftError(f"namespace {name}: {os.strerror(ctypes.get_errno())}")
