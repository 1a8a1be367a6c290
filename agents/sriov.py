"""Virtual functions of NICs: made by sysfs (the kernel's pci-iov-howto.rst), set by netlink (ip-link(8), vf).

Blocking: the agent calls it from one worker thread.
"""

import errno
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from weft.agents.observed import Card, Function, Link
from weft.agents.steps import FunctionStep, SetFunction, SetFunctions
from weft.topology.errors import WeftError

SYSFS = Path("/sys")
VFIO = "vfio-pci"
NO_ANSWER = 0xFFFFFFFF
"""What the kernel says of a setting that a driver does not tell (rtnetlink.c, rtnl_fill_vfinfo)."""
EXTENDED = 1
"""RTEXT_FILTER_VF of <linux/rtnetlink.h>: with the virtual functions."""


LINK_STATES = ("auto", "up", "down")
"""By the numbers that <linux/if_link.h> gives them (IFLA_VF_LINK_STATE_AUTO, _ENABLE, _DISABLE)."""


class Settings(Protocol):
    """What NICs hold their functions to."""

    def read(self, nic: str) -> Mapping[int, Mapping[str, Any]]: ...
    def write(self, nic: str, number: int, name: str, value: str | int) -> None: ...


class Netlink:
    def __init__(self) -> None:
        self._ip: Any = None

    def read(self, nic: str) -> Mapping[int, Mapping[str, Any]]:
        """By number: ``mac``, ``vlan``, ``rate``, ``spoofchk``, ``trust`` and ``link`` of every function."""
        index = self._index(nic)
        message = self._ip.link("get", index=index, ext_mask=EXTENDED)[0]
        found = message.get_attr("IFLA_VFINFO_LIST")
        return dict(map(_settings, found.get_attrs("IFLA_VF_INFO"))) if found else {}

    def write(self, nic: str, number: int, name: str, value: str | int) -> None:
        try:
            self._ip.link("set", index=self._index(nic), vf={"vf": number, **_as_netlink(name, value)})
        except NetlinkError as error:
            raise WeftError(f"{nic} does not set {name} {value} of its virtual function {number}: {os.strerror(error.code)}") from None

    def _index(self, nic: str) -> int:
        self._ip = self._ip or IPRoute()
        found = self._ip.link_lookup(ifname=nic)
        if not found:
            raise WeftError(f"NIC {nic} is gone")
        return int(found[0])


def _as_netlink(name: str, value: str | int) -> dict[str, Any]:
    """A setting as pyroute2 takes it."""
    match name:
        case "vlan":
            return {"vlan": {"vlan": value, "qos": 0}}
        case "rate":
            return {"rate": {"min_tx_rate": 0, "max_tx_rate": value}}
        case "link":
            return {"link_state": LINK_STATES.index(str(value))}
    return {name: value}


def _settings(info: Any) -> tuple[int, Mapping[str, Any]]:
    def told(name: str, key: str) -> Any:
        value = info.get_attr(f"IFLA_VF_{name}")
        return value[key] if value is not None else None

    rate = told("RATE", "max_tx_rate")
    flags = {word: _flag(told(word.upper(), word)) for word in ("spoofchk", "trust")}
    mac, link = told("MAC", "mac"), dict(enumerate(LINK_STATES)).get(told("LINK_STATE", "link_state"), "auto")
    return int(info.get_attr("IFLA_VF_MAC")["vf"]), {"mac": mac, "vlan": told("VLAN", "vlan") or 0, "rate": rate or 0, **flags, "link": link}



def _flag(setting: int | None) -> bool | None:
    return None if setting is None or setting == NO_ANSWER else bool(setting)


class Sriov:
    """The NICs of one host. `sysfs`: where its files are."""

    def __init__(self, sysfs: Path = SYSFS, settings: Settings | None = None) -> None:
        self._net, self._drivers = sysfs / "class/net", sysfs / "bus/pci/drivers"
        self._settings = settings or Netlink()

    def look(self, nics: Iterable[str], links: Mapping[str, Link]) -> dict[str, Card]:
        """The cards among `nics`. `links`: of the host's own namespace."""
        found = {}
        for nic in nics:
            if total := _number(self._device(nic) / "sriov_totalvfs"):
                functions = self._functions(nic)
                held = self._settings.read(nic) if functions else {}
                found[nic] = Card(total, tuple(self._function(n, path, held.get(n, {}), links) for n, path in functions))
        return found

    def _device(self, nic: str) -> Path:
        return self._net / nic / "device"

    def _functions(self, nic: str) -> list[tuple[int, Path]]:
        found = ((re.fullmatch(r"virtfn(\d+)", path.name), path) for path in self._device(nic).glob("virtfn*"))
        return sorted((int(match[1]), path) for match, path in found if match)

    def _function(self, number: int, path: Path, held: Mapping[str, Any], links: Mapping[str, Link]) -> Function:
        driver, group = _target(path / "driver"), _target(path / "iommu_group")
        netdev = next(iter(sorted(each.name for each in (path / "net").glob("*"))), "")
        busy = self._user(driver, netdev, links)
        return Function(number, path.resolve().name, group, driver, netdev, busy, **held)

    def _user(self, driver: str, netdev: str, links: Mapping[str, Link]) -> str:
        """Who uses a function, as far as a host can see: its interface in another namespace is hidden from here."""
        if driver == VFIO:
            return "a virtual machine has it (vfio-pci)"
        if driver and not netdev:
            return f"it is in another namespace, or {driver} drives it for somebody"
        master = _target(self._net / netdev / "master") if netdev else ""
        if master:
            return f"its interface {netdev} is in {master}"
        return f"its interface {netdev} has an address" if netdev in links and links[netdev].addresses else ""

    def apply(self, step: FunctionStep) -> None:
        """Does one step; safe to do again. Raises WeftError in the user's words."""
        if isinstance(step, SetFunctions):
            self._make(step)
            return
        refused: list[str] = []
        for name, value in step.settings:  # what a driver does not do keeps nobody from the rest
            try:
                self._settings.write(step.nic, step.number, name, value)
            except WeftError as error:
                refused.append(str(error))
        if step.rebind:
            self._rebind(step)
        if refused:
            raise WeftError(refused[0])

    def _make(self, step: SetFunctions) -> None:
        path = self._device(step.nic) / "sriov_numvfs"
        try:
            for count in dict.fromkeys((0, step.count)):
                path.write_text(str(count))
        except OSError as error:
            why = "is more than its driver allows" if error.errno == errno.ERANGE else os.strerror(error.errno or 0)
            raise WeftError(f"NIC {step.nic}: {step.count} virtual functions: {why}") from None

    def _rebind(self, step: SetFunction) -> None:
        path = self._device(step.nic) / f"virtfn{step.number}"
        pci, driver = path.resolve().name, _target(path / "driver")
        if driver:
            (self._drivers / driver / "unbind").write_text(pci)
            (self._drivers / driver / "bind").write_text(pci)


def _target(link: Path) -> str:
    """Name of what a symbolic link leads to; empty: there is none."""
    return link.readlink().name if link.is_symlink() else ""


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
