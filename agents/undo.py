"""Puts a host's uplinks back as they were: ``python -m weft.agents.undo FILE``, run by the timer that the agent set before it changed them.

It needs neither the agent nor the store, only the file: what ports led to the wire, and whose which addresses and routes were. Safe to
do again, as after a reboot in the middle of it. What was put back is told to the agent by a file beside it.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from weft.agents.addresses import addresses_of, drop_address, put_addresses, routes_of
from weft.agents.bonds import bond_words
from weft.agents.files import write_whole
from weft.agents.links import deaf_devices, deafen
from weft.agents.uplinks import WAS_PUT_BACK
from weft.topology.errors import WeftError

PUT_BACK = "put-back.json"
"""What the agent is told: a list of `PutBack`."""
WHY = ".why"
"""Suffix of the file by which the agent tells what it waits for."""


@dataclass(frozen=True, slots=True)
class Before:
    """A host's uplinks as they were."""

    ovsdb: str
    fabric: str
    began: float
    """Seconds of CLOCK_MONOTONIC."""
    within: float
    """Seconds after which they are put back."""
    ways: Mapping[str, str]
    """What is tried (`weft.agents.uplinks.way`), by object of the host's row; empty: its release."""
    serial: int
    """Of the fabric whose file asked for it."""
    reach: list[str]
    """Addresses that have to answer again, beside the store."""
    bridges: Mapping[str, list[tuple[str, str, list[str]]]]
    """Uplink bridges that were there: their ports to the wire, each with the bond's mode (empty: none) and its NICs."""
    hwaddr: Mapping[str, str]
    fresh: tuple[str, ...]
    """Uplink bridges that were not there."""
    links: Mapping[str, Mapping[str, Any]]
    """By NIC, and by bridge that was there: ``mtu``, ``up``, ``deaf``, ``addresses``, ``routes``."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """An uplink that was put back, and is not tried again as long as this is asked for by the same word."""

    key: str
    way: str
    serial: int
    reason: str
    within: float
    after: float
    """Seconds from the beginning of the change until all was as before."""


def before(ip: Any, names: Iterator[str]) -> dict[str, dict[str, Any]]:
    """Those of the links that exist, as they are."""
    deaf, found = deaf_devices(), {}
    for name in names:
        for index in ip.link_lookup(ifname=name):
            message = ip.link("get", index=index)[0]
            found[name] = {
                "mtu": message.get_attr("IFLA_MTU"),
                "up": bool(message["flags"] & 1),
                "deaf": name in deaf,
                "addresses": addresses_of(ip, index),
                "routes": list(routes_of(ip, index)),
            }
    return found


def put_back(was: Before) -> list[str]:
    """Does it; gives what did not succeed, a line each."""
    wrong: list[str] = []
    with IPRoute() as ip:
        for work in (
            lambda: vsctl(was.ovsdb, ports_back(was)),
            lambda: deafen([], sorted(name for name, link in was.links.items() if not link["deaf"] and name in deaf_devices())),
            lambda: links_back(ip, was),
            lambda: vsctl(was.ovsdb, [word for name in was.fresh for word in ("--", "--if-exists", "del-br", name)]),
            lambda: deafen(sorted(n for n, link in was.links.items() if link["deaf"] and n not in deaf_devices()), []),
        ):
            try:
                work()
            except (WeftError, NetlinkError, OSError, subprocess.SubprocessError) as error:
                wrong.append(str(error))
    return wrong


def ports_back(was: Before) -> list[str]:
    """Of ovs-vsctl(8), one transaction: every NIC out of where it is, and into where it was."""
    words: list[str] = []
    ours = f"external_ids:weft={was.fabric}"
    there = ports_there(was.ovsdb)
    for bridge in (*was.bridges, *was.fresh):
        wired = {port: set(held) for port, _, held in was.bridges.get(bridge, [])}
        wires = {*was.links}.union(*wired.values())
        for port, held in there.get(bridge, {}).items():
            if port != bridge and held & wires and wired.get(port) != held:
                words += ["--", "--if-exists", "del-port", bridge, port]
    for bridge, ports in was.bridges.items():
        for port, mode, nics in ports:
            if there.get(bridge, {}).get(port) != set(nics):
                for nic in nics:
                    words += ["--", f"--id=@{nic}", "create", "interface", f"name={nic}", ours]
                held_by = ",".join(f"@{nic}" for nic in nics)
                words += ["--", f"--id=@port-{port}", "create", "port", f"name={port}", f"interfaces={held_by}", ours]
                words += ["--", "add", "bridge", bridge, "ports", f"@port-{port}"]
            if mode:
                words += ["--", "set", "port", port, *bond_words(mode)]
        if bridge in was.hwaddr:
            words += ["--", "set", "bridge", bridge, f'other_config:hwaddr="{was.hwaddr[bridge]}"']
    return words


def ports_there(ovsdb: str) -> dict[str, dict[str, set[str]]]:
    """By bridge and port: its interfaces."""
    tables = {}
    for table, columns in (("Bridge", "name,ports"), ("Port", "_uuid,name,interfaces"), ("Interface", "_uuid,name")):
        tables[table] = json.loads(vsctl(ovsdb, ["--format=json", f"--columns={columns}", "list", table]))["data"]
    names = {uuid[1]: name for uuid, name in tables["Interface"]}
    ports = {uuid[1]: (name, {names[each] for each in _uuids(held) if each in names}) for uuid, name, held in tables["Port"]}
    return {name: dict(ports[each] for each in _uuids(held) if each in ports) for name, held in tables["Bridge"]}


def _uuids(value: Any) -> list[str]:
    return [each[1] for each in value[1]] if value[0] == "set" else [value[1]]


def vsctl(ovsdb: str, words: list[str]) -> str:
    """Raises WeftError with what ovs-vsctl says."""
    if not words:
        return ""
    done = subprocess.run(["ovs-vsctl", f"--db={ovsdb}", "--timeout=10", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WeftError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "ovs-vsctl failed")
    return done.stdout


def links_back(ip: Any, was: Before) -> None:
    """Addresses first where they were, then the routes, then what nobody had there."""
    present = {name: index for name in (*was.links, *was.fresh) for index in ip.link_lookup(ifname=name)}
    for name, link in was.links.items():
        if name in present:
            ip.link("set", index=present[name], mtu=link["mtu"], state="up" if link["up"] else "down")
            put_addresses(ip, present[name], link["addresses"])
    for name, link in was.links.items():
        for route in link["routes"] if name in present else ():
            ip.route("replace", **route, oif=present[name])
    for name, index in present.items():
        link = was.links.get(name, {"addresses": [], "routes": []})
        own = {(address["address"], address["prefixlen"]) for address in link["addresses"]}
        for route in list(routes_of(ip, index)):
            if route not in link["routes"]:
                with contextlib.suppress(NetlinkError):
                    ip.route("del", **route, oif=index)
        for address in addresses_of(ip, index):
            if (address["address"], address["prefixlen"]) not in own:
                drop_address(ip, index, address)


def read(path: Path) -> Before:
    """Raises OSError, or ValueError where it is not whole."""
    said = json.loads(path.read_text())
    return Before(**{**said, "fresh": tuple(said["fresh"])})


def write(path: Path, said: object) -> None:
    """Whole or not at all, also where the power goes. Raises OSError."""
    write_whole(path, json.dumps(said), durable=True)


def main() -> None:
    path = Path(sys.argv[1])
    undoing = path.with_suffix(".undoing")
    try:
        path.rename(undoing)  # whoever renames it first decides: this, or the agent that found all well
    except FileNotFoundError:
        if not undoing.exists():
            return
    was = read(undoing)
    wrong = put_back(was)
    after = round(time.monotonic() - was.began, 3)
    why = path.with_suffix(WHY)
    said = why.read_text() if why.exists() else "the agent did not say that all is well"
    reason = f"{WAS_PUT_BACK}{said} within {was.within:g} s"
    reason += f"; and not all of it: {'; '.join(wrong)}" if wrong else ""
    told = [PutBack(key, way, was.serial, reason, was.within, after) for key, way in was.ways.items()]
    write(path.with_name(PUT_BACK), [asdict(each) for each in told])
    why.unlink(missing_ok=True)
    undoing.unlink()


if __name__ == "__main__":
    main()
