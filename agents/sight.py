"""The links of a host's namespaces as the agent sees them: read once, then only what the kernel said has changed.

A look at a host of a hundred guests costs as much as what changed there since the last one. Every so often it is thorough, in case
something was not said.
"""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from weft.agents import spaces
from weft.agents.ears import Ears, Heard
from weft.agents.observed import HERE, Link

ALIAS = "weft"
"""First word of the alias of every link of ours; the fabric and the object follow."""
MAIN = 254
"""The routing table of everybody."""
MANY = 40
"""So many changed links are read faster all at once."""


class Space:
    """One namespace: its links by index without addresses, and what was last made of them."""

    def __init__(self, inode: int) -> None:
        self.inode = inode
        """Tells it from another one that later had the same name."""
        self.stale = True
        self.bare: dict[int, Link] = {}
        self.masters: dict[int, int] = {}
        """Of a port of a Linux bridge or kernel bond: the index of that."""
        self.links: dict[str, Link] = {}


class Sight:
    """Used by one thread. `ears` may be waited on by another."""

    def __init__(self, fabric: str, ears: Ears) -> None:
        self._fabric, self._ears = fabric, ears
        self._here = IPRoute()
        self._known: dict[str, Space] = {}
        self.changed: set[str] = set()
        """Namespaces that had changed at the last look."""
        self.renewed: set[str] = set()
        """Links here that were removed and are back by the same name: who held one open holds what is not there any more."""

    def look(self, namespaces: Iterable[str], thorough: bool) -> dict[str, dict[str, Link]]:
        """The links here and in those of `namespaces` that exist. Their dictionaries are not to be changed."""
        inodes = {HERE: 0} | {space: inode for space in namespaces if (inode := spaces.inode(space))}
        for known in self._ears.opened():
            if known not in inodes or self._known[known].inode != inodes[known]:
                self._forget(known)
        self.renewed = set()
        self.changed = {space for space, inode in inodes.items() if self._look(space, inode, thorough)}
        return {space: self._known[space].links for space in inodes}

    def names(self, space: str) -> dict[int, str]:
        """Of a namespace's links, by index."""
        return {index: link.name for index, link in self._known[space].bare.items()} if space in self._known else {}

    def settle(self, space: str) -> None:
        """What was heard of a namespace so far was our own doing: it is read again, and does not count as changed."""
        if space in self._known:
            self._ears.heard(space)
            self._known[space].stale = True

    def _forget(self, space: str) -> None:
        self._ears.close(space)
        del self._known[space]

    def _look(self, space: str, inode: int, thorough: bool) -> bool:
        """Whether it changed since the last look; a namespace that is new to us did not."""
        if space not in self._known:
            self._ears.open(space)
            self._known[space] = Space(inode)
        known, heard = self._known[space], self._ears.heard(space)
        if space == HERE:
            self.renewed = {known.bare[index].name for index in heard.gone if index in known.bare}
        everything = thorough or known.stale or heard.lost or len(heard.links) > MANY
        if everything or heard:
            with spaces.netlink(space) if space != HERE else nullcontext(self._here) as ip:
                self._read(ip, known, heard, everything)
            known.stale = False
        return bool(heard)

    def _read(self, ip: Any, known: Space, heard: Heard, all_links: bool) -> None:
        if all_links:
            known.bare, known.masters = {}, {}
            read = list(ip.get_links())
        else:
            for index in heard.links:
                known.bare.pop(index, None)
                known.masters.pop(index, None)
            read = [message for index in heard.links for message in _one(ip, index)]
        for message in read:
            known.bare[message["index"]] = self._link(message)
            if master := message.get_attr("IFLA_MASTER"):
                known.masters[message["index"]] = master
        addresses: dict[int, list[str]] = {}
        for index, address in _addresses(ip):
            addresses.setdefault(index, []).append(address)
        routes: dict[int, list[tuple[str, str]]] = {}
        for index, route in _routes(ip):
            routes.setdefault(index, []).append(route)
        known.links = {link.name: link.having(addresses.get(index, ()), routes.get(index, ())) for index, link in known.bare.items()}
        for index, master in known.masters.items():
            if index in known.bare and master in known.bare:
                name = known.bare[index].name
                known.links[name] = replace(known.links[name], master=known.bare[master].name)

    def _link(self, message: Any) -> Link:
        info = message.get_attr("IFLA_LINKINFO")
        return Link(
            message.get_attr("IFLA_IFNAME"),
            (info.get_attr("IFLA_INFO_KIND") if info else "") or "",
            message.get_attr("IFLA_ADDRESS") or "",
            message.get_attr("IFLA_MTU"),
            bool(message["flags"] & 1),
            made_for(message.get_attr("IFLA_IFALIAS"), self._fabric),
            index=message["index"],
            over=message.get_attr("IFLA_LINK") or 0,
            mode=macvtap_mode(info),
            opener=opener(message.get_attr("IFLA_IFALIAS")),
        )


def macvtap_mode(info: Any) -> str:
    data = info.get_attr("IFLA_INFO_DATA") if info and info.get_attr("IFLA_INFO_KIND") == "macvtap" else None
    mode = data.get_attr("IFLA_MACVTAP_MODE") if data else ""
    return "passthrough" if mode == "passthru" else mode or ""


def made_for(alias: str | None, fabric: str) -> str:
    """The object that a link was made for; empty: it is not ours."""
    words = (alias or "").split(" ")
    return words[2] if words[:2] == [ALIAS, fabric] and len(words) in (3, 4) else ""


def opener(alias: str | None) -> str:
    """The fourth word of a tap's alias."""
    words = (alias or "").split(" ")
    return words[3] if words[0] == ALIAS and len(words) == 4 else ""


def _one(ip: Any, index: int) -> list[Any]:
    """A link by its index; nothing where it is gone."""
    try:
        return list(ip.link("get", index=index))
    except NetlinkError:
        return []


def _addresses(ip: Any) -> Iterator[tuple[int, str]]:
    """Addresses of people's making: of IPv6 those of global scope."""
    for message in ip.get_addr():
        if message["family"] == 2 or message["scope"] == 0:
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            yield message["index"], f"{address}/{message['prefixlen']}"


def _routes(ip: Any) -> Iterator[tuple[int, tuple[str, str]]]:
    """Routes of the main table with a device, the on-link ones of addresses too."""
    for message in ip.get_routes(table=MAIN, type=1):
        device = message.get_attr("RTA_OIF")
        target = message.get_attr("RTA_DST")
        network = f"{target}/{message['dst_len']}" if target else "default"
        if device is not None and not network.startswith(("fe80:", "ff")):
            yield device, (network, message.get_attr("RTA_GATEWAY") or "")
