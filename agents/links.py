"""Links, addresses, routes and namespaces of the kernel, by netlink (rtnetlink(7)).

Blocking: the agent calls it from one worker thread. A netlink socket a namespace is kept open, since making one costs ten times what
a request does.
"""

import contextlib
import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from weft.agents import spaces
from weft.agents import steps as s
from weft.agents.observed import HERE, Link
from weft.topology.errors import WeftError

ALIAS = "weft"
OFFLOADS = ("tx", "off", "tso", "off", "gso", "off", "gro", "off")
"""The userspace datapath hands packets on as they are: checksums must be finished and segments small before it reads them."""
DEAF = "deaf-"
"""How the nft chain begins that drops what a device's kernel side would hear."""
MAIN = 254


class Links:
    """The links of one fabric on one host. `finish`: checksums and segments are finished in software."""

    def __init__(self, fabric: str, finish: bool) -> None:
        self._fabric, self._finish = fabric, finish
        self._sockets: dict[str, Any] = {}

    def close(self) -> None:
        for held in self._sockets.values():
            held.close()
        self._sockets.clear()

    # ---- looking

    def observe(self, namespaces: Iterable[str]) -> dict[str, dict[str, Link]]:
        """The links here and in those of `namespaces` that exist."""
        there = set(netns.listnetns())
        for gone in self._sockets.keys() - there - {HERE}:
            self._sockets.pop(gone).close()
        return {space: self._links(space) for space in (HERE, *namespaces) if space == HERE or space in there}

    def _links(self, space: str) -> dict[str, Link]:
        ip = self._socket(space)
        names = {}
        addresses: dict[int, list[str]] = {}
        routes: dict[int, list[tuple[str, str]]] = {}
        for message in ip.get_addr():
            if message["family"] == 2 or message["scope"] == 0:
                address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                addresses.setdefault(message["index"], []).append(f"{address}/{message['prefixlen']}")
        for index, route in self._routes(ip):
            routes.setdefault(index, []).append(route)
        for message in ip.get_links():
            index, name = message["index"], message.get_attr("IFLA_IFNAME")
            info = message.get_attr("IFLA_LINKINFO")
            names[name] = Link(
                name,
                (info.get_attr("IFLA_INFO_KIND") if info else "") or "",
                message.get_attr("IFLA_ADDRESS") or "",
                message.get_attr("IFLA_MTU"),
                bool(message["flags"] & 1),
                self._made_for(message.get_attr("IFLA_IFALIAS")),
                tuple(addresses.get(index, ())),
                tuple(routes.get(index, ())),
            )
        return names

    def _routes(self, ip: Any) -> Iterator[tuple[int, tuple[str, str]]]:
        """Routes of the main table with a device, the on-link ones of addresses too."""
        for message in ip.get_routes(table=MAIN, type=1):
            device = message.get_attr("RTA_OIF")
            target = message.get_attr("RTA_DST")
            network = f"{target}/{message['dst_len']}" if target else "default"
            if device is not None and not network.startswith(("fe80:", "ff")):
                yield device, (network, message.get_attr("RTA_GATEWAY") or "")

    def _made_for(self, alias: str | None) -> str:
        words = (alias or "").split(" ")
        return words[2] if words[:2] == [ALIAS, self._fabric] and len(words) == 3 else ""

    def deaf(self) -> frozenset[str]:
        """The devices whose packets the kernel leaves to Open vSwitch."""
        done = subprocess.run(["nft", "--json", "list", "table", "netdev", "weft"], capture_output=True, text=True, check=False)
        if done.returncode:
            return frozenset()
        chains = (item["chain"] for item in json.loads(done.stdout)["nftables"] if "chain" in item)
        return frozenset(chain["name"].removeprefix(DEAF) for chain in chains)

    # ---- doing

    def apply(self, step: s.LinkStep, key: str = "") -> None:
        """Does one step; safe to do again. Raises WeftError in the user's words."""
        does: Mapping[type, Callable[[Any], None]] = {
            s.MakeVeth: lambda step: self._make_veth(step, key),
            s.MakeTap: lambda step: self._make_tap(step, key),
            s.RemoveLink: self._remove,
            s.SetInside: self._set_inside,
            s.SetUp: self._set_up,
            s.Deafen: self._deafen,
            s.MoveAddresses: self._move,
            s.SetAddress: self._set_address,
        }
        try:
            does[type(step)](step)
        except NetlinkError as error:
            raise WeftError(f"{type(step).__name__} {getattr(step, 'name', '')}: {os.strerror(error.code)}") from None

    def _make_veth(self, step: s.MakeVeth, key: str) -> None:
        if step.namespace not in netns.listnetns():
            spaces.make(step.namespace)
        ip = self._socket(HERE)
        self._drop_unfinished(step.name)
        peer = {"ifname": step.inside, "net_ns_fd": step.namespace, "address": step.mac, "mtu": step.mtu}
        ip.link("add", ifname=step.name, kind="veth", mtu=step.mtu, peer=peer)
        if self._finish:
            _ethtool(step.inside, step.namespace)
        self._finish_link(step.name, key)

    def _make_tap(self, step: s.MakeTap, key: str) -> None:
        self._drop_unfinished(step.name)
        self._socket(HERE).link("add", ifname=step.name, kind="tuntap", mode="tap")
        self._socket(HERE).link("set", index=self._index(HERE, step.name), mtu=step.mtu)
        self._finish_link(step.name, key)

    def _drop_unfinished(self, name: str) -> None:
        """What a killed agent left: a link of that name that never came up. One that is up and not ours stays."""
        found = self._socket(HERE).link_lookup(ifname=name)
        if not found:
            return
        message = self._socket(HERE).link("get", index=found[0])[0]
        alias = message.get_attr("IFLA_IFALIAS")
        if message["flags"] & 1 and not self._made_for(alias):
            raise WeftError(f"a link {name} is there that is not weft's: rename or remove it")
        self._socket(HERE).link("del", index=found[0])

    def _finish_link(self, name: str, key: str) -> None:
        """The mark, and up last of all: a link that is up is whole."""
        if self._finish:
            _ethtool(name, HERE)
        index = self._index(HERE, name)
        _write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "1")
        self._socket(HERE).link("set", index=index, ifalias=f"{ALIAS} {self._fabric} {key}")
        self._socket(HERE).link("set", index=index, state="up")

    def _remove(self, step: s.RemoveLink) -> None:
        found = self._socket(HERE).link_lookup(ifname=step.name)
        if found:
            self._socket(HERE).link("del", index=found[0])
        if step.namespace and step.namespace in netns.listnetns():
            others = [m for m in self._socket(step.namespace).get_links() if m.get_attr("IFLA_IFNAME") != "lo"]
            if not others:
                self._sockets.pop(step.namespace).close()
                netns.remove(step.namespace)

    def _set_inside(self, step: s.SetInside) -> None:
        ip, index = self._socket(step.namespace), self._index(step.namespace, step.name)
        ip.link("set", index=index, address=step.mac, mtu=step.mtu)
        ip.link("set", index=index, state="up")
        wanted = set(step.addresses)
        there = set(self._links(step.namespace)[step.name].addresses)
        for address in there - wanted:
            ip.addr("del", index=index, **_parts(address))
        for address in sorted(wanted - there):
            _quietly(errno.EEXIST, ip.addr, "add", index=index, **_parts(address))
        for gateway in step.gateways:
            _quietly(errno.EEXIST, ip.route, "replace", dst=_default(gateway), gateway=gateway, oif=index)

    def _set_up(self, step: s.SetUp) -> None:
        index = self._index(HERE, step.name)
        self._socket(HERE).link("set", index=index, mtu=step.mtu)
        self._socket(HERE).link("set", index=index, state="up")

    def _deafen(self, step: s.Deafen) -> None:
        there = self.deaf()
        text = "".join(
            f'chain {DEAF}{name} {{ type filter hook ingress device "{name}" priority 0; policy drop; }}\n'
            for name in step.names
            if name not in there and self._socket(HERE).link_lookup(ifname=name)
        )
        gone = "".join(f'delete chain netdev weft {DEAF}{name}\n' for name in there - set(step.names))
        _nft(f"table netdev weft {{\n{text}}}\n{gone}", HERE)

    def _move(self, step: s.MoveAddresses) -> None:
        ip, links = self._socket(HERE), self._links(HERE)
        source, target = links[step.source], self._index(HERE, step.target)
        ip.link("set", index=target, state="up")
        for address in source.addresses:
            flags = {"IFA_F_NODAD": True} if ":" in address else {}
            _quietly(errno.EEXIST, ip.addr, "add", index=target, **_parts(address), **({"flags": 2} if flags else {}))
        for network, gateway in source.routes:
            if gateway:
                ip.route("replace", dst=_default(gateway) if network == "default" else network, gateway=gateway, oif=target)
        for address in source.addresses:
            _quietly(errno.EADDRNOTAVAIL, ip.addr, "del", index=self._index(HERE, step.source), **_parts(address))

    def _set_address(self, step: s.SetAddress) -> None:
        ip, index = self._socket(HERE), self._index(HERE, step.name)
        ip.link("set", index=index, state="up")
        _quietly(errno.EEXIST, ip.addr, "add", index=index, **_parts(step.address))
        if step.gateway:
            ip.route("replace", dst=_default(step.gateway), gateway=step.gateway, oif=index)

    def _index(self, space: str, name: str) -> int:
        found = self._socket(space).link_lookup(ifname=name)
        if not found:
            raise WeftError(f"{name} is gone")
        return int(found[0])

    def _socket(self, space: str) -> Any:
        if space not in self._sockets:
            self._sockets[space] = spaces.netlink(space) if space else IPRoute()
        return self._sockets[space]


def _parts(address: str) -> dict[str, Any]:
    interface = ip_interface(address)
    return {"address": str(interface.ip), "prefixlen": interface.network.prefixlen}


def _default(gateway: str) -> str:
    return "::/0" if ":" in gateway else "0.0.0.0/0"


def _quietly(expected: int, call: Callable[..., Any], *words: Any, **terms: Any) -> None:
    """A netlink call that may find its work done already."""
    try:
        call(*words, **terms)
    except NetlinkError as error:
        if error.code != expected:
            raise


def _write(path: str, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        Path(path).write_text(text)


def inside(space: str, *command: str) -> list[str]:
    """A command line that runs in a namespace."""
    return [*(("ip", "netns", "exec", space) if space else ()), *command]


def _ethtool(name: str, space: str) -> None:
    subprocess.run(inside(space, "ethtool", "-K", name, *OFFLOADS), capture_output=True, check=False)


def _nft(text: str, space: str) -> None:
    done = subprocess.run(inside(space, "nft", "-f", "-"), input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WeftError(f"nft: {done.stderr.strip().splitlines()[0] if done.stderr else 'failed'}")
