"""Changes links, addresses, routes and namespaces of the kernel, by netlink (rtnetlink(7)). Every step is safe to do again.

Blocking: the agent calls it from one worker thread.
"""

import contextlib
import errno
import grp
import os
import pwd
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from weft.agents import joints, resolved, spaces
from weft.agents import steps as s
from weft.agents.addresses import addresses_of, cidr, drop_address, parts, put_addresses, quietly, routes_of
from weft.agents.macvtap import make_above
from weft.agents.observed import HERE
from weft.agents.offloads import turn_off
from weft.agents.sight import ALIAS, made_for
from weft.topology.errors import WeftError

DEAF = "deaf-"
"""How the nft chain begins that drops what a device's kernel side would hear."""
DEAF_CHAIN = re.compile(r'chain deaf-(\S+) \{\s*type filter hook ingress devices? =? ?\{? ?"?([^" }]+)')


class Links:
    """The links of one fabric on one host. `finish`: checksums and segments are finished in software."""

    def __init__(self, fabric: str, finish: bool) -> None:
        self._fabric, self._finish = fabric, finish
        self._here = IPRoute()
        self._deaf: set[str] | None = None

    def deaf(self, thorough: bool) -> frozenset[str]:
        """The devices whose packets the kernel leaves to Open vSwitch; looked up when `thorough`, else as remembered."""
        if not self._finish:
            return frozenset()
        if thorough or self._deaf is None:
            self._deaf = deaf_devices()
        return frozenset(self._deaf)

    def apply(self, step: s.LinkStep, key: str = "") -> None:
        """Does one step; safe to do again. Raises WeftError in the user's words."""
        does: Mapping[type, Callable[[Any], None]] = {
            s.MakeVeth: lambda step: self._make_veth(step, key),
            s.MakeJoint: lambda step: self._make_joint(step, f"{joints.MARK}{key.partition('/')[2]}"),
            s.Enslave: self._enslave,
            s.MakeTap: lambda step: self._make_tap(step, key),
            s.MakeVlan: lambda step: self._make_above(step, f"vlan/{step.name}"),
            s.MakeMacvtap: lambda step: self._make_above(step, key),
            s.RemoveLink: self._remove,
            s.SetInside: self._set_inside,
            s.SetUp: self._set_up,
            s.Deafen: self._deafen,
            s.MoveAddresses: self._move,
            s.SetAddress: self._set_address,
            s.DropAddress: self._drop_address,
        }
        try:
            does[type(step)](step)
        except NetlinkError as error:
            raise WeftError(f"{type(step).__name__} {getattr(step, 'name', '')}: {os.strerror(error.code)}") from None

    # ---- pairs and taps

    def _make_veth(self, step: s.MakeVeth, key: str) -> None:
        spaces.make(step.namespace)
        self._drop_unfinished(step.name)
        with _opened(step.namespace) as space, _at(step.namespace) as there:
            _drop_half_made(there, step.inside)
            peer = {"ifname": step.inside, "net_ns_fd": space, "address": step.mac, "mtu": step.mtu}
            self._here.link("add", ifname=step.name, kind="veth", mtu=step.mtu, peer=peer)
        if self._finish:
            with spaces.inside(step.namespace):
                turn_off(step.inside)
        self._finish_link(step.name, key)

    def _make_joint(self, step: s.MakeJoint, key: str) -> None:
        for name in (step.name, step.port):
            self._drop_unfinished(name)
        peer = {"ifname": step.port, "address": step.port_mac, "mtu": step.port_mtu}
        self._here.link("add", ifname=step.name, kind="veth", mtu=step.mtu, peer=peer)
        self._finish_link(step.port, key)
        self._enslave(s.Enslave(step.port, step.bridge))
        self._finish_link(step.name, key)

    def _enslave(self, step: s.Enslave) -> None:
        self._here.link("set", index=self._index(step.name), master=self._index(step.bridge))

    def _make_tap(self, step: s.MakeTap, key: str) -> None:
        if not Path("/dev/net/tun").exists():
            raise WeftError("there is no /dev/net/tun for taps: modprobe tun")
        self._drop_unfinished(step.name)
        owner, group, multi = f"{step.opener}::".split(":")[:3]
        who: dict[str, Any] = {"uid": _number_of(owner, pwd.getpwnam, "user").pw_uid} if owner else {}
        who |= {"gid": _number_of(group, grp.getgrnam, "group").gr_gid} if group else {}
        who |= {"ifr": {"multi_queue": 1}} if multi else {}
        self._here.link("add", ifname=step.name, kind="tuntap", mode="tap", **who)
        self._here.link("set", index=self._index(step.name), mtu=step.mtu)
        self._finish_link(step.name, f"{key} {step.opener}".rstrip())

    def _make_above(self, step: s.MakeVlan | s.MakeMacvtap, key: str) -> None:
        self._drop_unfinished(step.name)
        make_above(self._here, step)
        self._finish_link(step.name, key)

    def _drop_unfinished(self, name: str) -> None:
        """What a killed agent left: a link of that name that never came up. One that is up and not ours stays."""
        if self._deaf and name in self._deaf:  # its chain may hang on a device that is gone
            self._nft([], [name])
        for index in self._here.link_lookup(ifname=name):
            message = self._here.link("get", index=index)[0]
            if message["flags"] & 1 and not made_for(message.get_attr("IFLA_IFALIAS"), self._fabric):
                raise WeftError(f"a link {name} is there that is not weft's: rename or remove it")
            self._here.link("del", index=index)

    def _finish_link(self, name: str, key: str) -> None:
        """The mark, and up last of all: a link that is up is whole."""
        if self._finish:
            turn_off(name)
        index = self._index(name)
        with contextlib.suppress(FileNotFoundError):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        self._here.link("set", index=index, ifalias=f"{ALIAS} {self._fabric} {key}")
        self._here.link("set", index=index, state="up")

    def _remove(self, step: s.RemoveLink) -> None:
        for index in self._here.link_lookup(ifname=step.name):
            self._here.link("del", index=index)
        if step.namespace and spaces.inode(step.namespace):
            with _at(step.namespace) as ip:
                others = [message for message in ip.get_links() if message.get_attr("IFLA_IFNAME") != "lo"]
            if not others:
                spaces.remove(step.namespace)

    # ---- addresses

    def _set_inside(self, step: s.SetInside) -> None:
        with nullcontext(self._here) if step.namespace == HERE else _at(step.namespace) as ip:
            index = _index(ip, step.name)
            if step.namespace == HERE:  # the host's own interface: no way leads out by it
                with contextlib.suppress(FileNotFoundError):
                    Path(f"/proc/sys/net/ipv6/conf/{step.name}/accept_ra").write_text("0")
            ip.link("set", index=index, address=step.mac, mtu=step.mtu)
            ip.link("set", index=index, state="up")
            there = {cidr(m) for m in ip.get_addr(index=index) if m["family"] == 2 or m["scope"] == 0}
            for address in there - set(step.addresses):
                ip.addr("del", index=index, **parts(address))
            for address in step.addresses:
                if address not in there:
                    quietly(errno.EEXIST, ip.addr, "add", index=index, **parts(address))
            for gateway in step.gateways:
                ip.route("replace", dst=_default(gateway), gateway=gateway, oif=index)

    def _set_up(self, step: s.SetUp) -> None:
        self._here.link("set", index=self._index(step.name), mtu=step.mtu)
        self._here.link("set", index=self._index(step.name), state="up")

    def _move(self, step: s.MoveAddresses) -> None:
        """Both have the addresses first, then the routes change device one by one, then the source lets go."""
        ip, source, target = self._here, self._index(step.source), self._index(step.target)
        ip.link("set", index=target, state="up")
        resolved.carry(step.source, step.target)
        moving = addresses_of(ip, source)
        put_addresses(ip, target, moving)
        for route in routes_of(ip, source):
            ip.route("replace", **route | {"oif": target})
        for address in moving:
            drop_address(ip, source, address)

    def _set_address(self, step: s.SetAddress) -> None:
        index = self._index(step.name)
        self._here.link("set", index=index, state="up")
        quietly(errno.EEXIST, self._here.addr, "add", index=index, **parts(step.address))
        if step.gateway:
            self._here.route("replace", dst=_default(step.gateway), gateway=step.gateway, oif=index)

    def _drop_address(self, step: s.DropAddress) -> None:
        quietly(errno.EADDRNOTAVAIL, self._here.addr, "del", index=self._index(step.name), **parts(step.address))

    # ---- deafness

    def _deafen(self, step: s.Deafen) -> None:
        there = self.deaf(thorough=False)
        new = [name for name in step.names if name not in there and self._here.link_lookup(ifname=name)]
        self._nft(new, sorted(there - set(step.names)))
        for name in new:
            turn_off(name)

    def _nft(self, new: list[str], gone: list[str]) -> None:
        deafen(new, gone)
        self._deaf = ((self._deaf or set()) - set(gone)) | set(new)

    def _index(self, name: str) -> int:
        return _index(self._here, name)


def _number_of(name: str, look: Callable[[str], Any], kind: str) -> Any:
    try:
        return look(name)
    except KeyError:
        raise WeftError(f"there is no {kind} {name} on this host, who is to open the tap") from None


def _default(gateway: str) -> str:
    return "::/0" if ":" in gateway else "0.0.0.0/0"


def _drop_half_made(ip: Any, name: str) -> None:
    """The inner end of a pair that a killed agent, or this guest's host before, left: it is down, or its other end goes with it."""
    for index in ip.link_lookup(ifname=name):
        if ip.link("get", index=index)[0]["flags"] & 1:
            raise WeftError(f"{name} is still there, wired elsewhere")
        ip.link("del", index=index)


def _index(ip: Any, name: str) -> int:
    found = ip.link_lookup(ifname=name)
    if not found:
        raise WeftError(f"{name} is gone")
    return int(found[0])


@contextmanager
def _at(space: str) -> Iterator[Any]:
    """A netlink socket of a namespace for as long as the block runs."""
    ip = spaces.netlink(space)
    try:
        yield ip
    finally:
        ip.close()


@contextmanager
def _opened(space: str) -> Iterator[int]:
    number = os.open(spaces.NAMESPACES / space, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield number
    finally:
        os.close(number)


def inside(space: str, *command: str) -> list[str]:
    """A command line that runs in a namespace."""
    return [*(("ip", "netns", "exec", space) if space else ()), *command]


def deaf_devices() -> set[str]:
    """The devices here that the kernel hears nothing of."""
    done = subprocess.run(["nft", "list", "table", "netdev", "weft"], capture_output=True, text=True, check=False)
    return {name for name, device in DEAF_CHAIN.findall(done.stdout) if name == device}


def deafen(new: Iterable[str], gone: Iterable[str]) -> None:
    """Makes devices deaf, and others hear again. Raises WeftError."""
    chains = "".join(f'chain {DEAF}{n} {{ type filter hook ingress device "{n}" priority 0; policy drop; }}\n' for n in new)
    # Whether a chain outlives its device depends on the kernel: one that is made before it is removed is there.
    removed = "".join(f"add chain netdev weft {DEAF}{n}\ndelete chain netdev weft {DEAF}{n}\n" for n in gone)
    nft(f"table netdev weft {{\n}}\n{removed}table netdev weft {{\n{chains}}}\n", HERE)


def nft_comment(space: str, table: str) -> str:
    """The comment of an inet table of ours: the digest of what was set, kept there once all else was done; empty: it was not."""
    done = subprocess.run(inside(space, "nft", "list", "table", "inet", table), capture_output=True, text=True, check=False)
    return next((line.split('"')[1] for line in done.stdout.splitlines() if "comment" in line), "")


def nft(text: str, space: str) -> None:
    """Carries out nft(8) commands, all or none. Raises WeftError with its first line."""
    done = subprocess.run(inside(space, "nft", "-f", "-"), input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WeftError(f"nft: {done.stderr.strip().splitlines()[0] if done.stderr else 'failed'}")
