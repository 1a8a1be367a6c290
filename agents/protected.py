"""NICs that must not be touched: those that carry the address by which the store, or the person at work, reaches this host."""

import os
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface
from pathlib import Path

from weft.agents.observed import HERE, Link

SSH_PORT = 22
ESTABLISHED = "01"


def protected(store: str, links: Mapping[str, Mapping[str, Link]]) -> dict[str, str]:
    """By NIC: who is reached by it, in the user's words."""
    reached = dict(_local_ends(store))
    found = {}
    for link in links.get(HERE, {}).values():
        for address in link.addresses:
            own = str(ip_interface(address).ip)
            if own in reached:
                found[link.name] = reached[own]
    return found


def _local_ends(store: str) -> Iterator[tuple[str, str]]:
    kind, _, where = store.partition(":")
    if kind == "tcp":
        host, _, port = where.rpartition(":")
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            try:
                asking.connect((host.strip("[]"), int(port)))  # a datagram socket: nothing is sent, the route is looked up
                yield asking.getsockname()[0], "the store"
            except OSError:
                pass
    if "SSH_CONNECTION" in os.environ:
        yield os.environ["SSH_CONNECTION"].split()[2], "your SSH session"
    for address in _ssh_sessions():
        yield address, "an SSH session"


def _ssh_sessions() -> Iterator[str]:
    """Local addresses of established SSH connections (proc_net_tcp.txt of the kernel's documentation)."""
    for path in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in Path(path).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, port = local.partition(":")
            if int(port, 16) == SSH_PORT and state == ESTABLISHED:
                words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
                found = ip_address(b"".join(words))
                mapped = getattr(found, "ipv4_mapped", None)
                yield str(mapped or found)
