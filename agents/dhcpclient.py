"""udhcpc(8), one for each uplink whose address comes from the wire's own DHCP: looked at, started, ended.

It only asks: what it is given it writes down, and the agent sets that as it sets any address. So it may be killed and started again, and
the host keeps its address for as long as it was given. Below the run folder: ``BRIDGE.lease``, ``BRIDGE.former`` (addresses it had before),
``BRIDGE.pid``, ``BRIDGE.log``. Source: RFC 2131.
"""

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from weft.agents import processes
from weft.agents.inotify import Watcher
from weft.agents.marked import mark_of, pid_in, start
from weft.agents.observed import Leased
from weft.agents.steps import AskAddress, StopAsking
from weft.topology import server
from weft.topology.errors import WeftError

MARK = "WEFT_DHCP"
"""Variable in the environment: ``FABRIC/HOST/BRIDGE INTERFACE-INDEX``."""
SCRIPT = """#!/bin/sh
# udhcpc calls this when something happened; weft's agent does what is to be done. Nothing is taken away here: a lease ends by its time.
case $1 in
bound | renew)
  old=$(sed -n 's/^address //p' "$WEFT_LEASE.lease" 2>/dev/null)
  [ -z "$old" ] || grep -qxF "$old" "$WEFT_LEASE.former" 2>/dev/null || echo "$old" >>"$WEFT_LEASE.former"
  printf 'address %s/%s\\ngateway %s\\nuntil %s\\n' "$ip" "$mask" "${router%% *}" $(($(date +%s) + lease)) >"$WEFT_LEASE.new"
  mv "$WEFT_LEASE.new" "$WEFT_LEASE.lease"
  here=$(readlink /proc/self/ns/net)
  for comm in $(grep -lx systemd-resolve /proc/[0-9]*/comm 2>/dev/null); do  # in another namespace, another link has the number
    [ -z "$dns" ] || [ "$(readlink "${comm%comm}ns/net")" != "$here" ] || resolvectl dns "$interface" $dns
  done ;;
esac
"""
AGAIN = 3
"""Seconds between two attempts to find a server."""


class DhcpClients:
    """Of one host. Used by the worker thread; `changes` says when there is a lease."""

    def __init__(self, fabric: str, host: str) -> None:
        self._whose = f"{fabric}/{host}"
        run = server.run_folder(fabric)
        self._folder = (run / host if os.environ.get(processes.MARK) == fabric else run) / "dhcp"
        self._children: list[subprocess.Popen[bytes]] = []
        self.changes = Watcher()

    def observe(self) -> dict[str, Leased]:
        """What each that runs was given, by bridge."""
        self._children = [child for child in self._children if child.poll() is None]
        self.changes.watch(self._folder)
        running = {path.stem: pid for path in self._folder.glob("*.pid") if (pid := self._pid(path.stem))}
        return {bridge: self._leased(bridge, pid) for bridge, pid in running.items()}

    def _pid(self, bridge: str) -> int | None:
        return pid_in(self._folder / f"{bridge}.pid", MARK, f"{self._whose}/{bridge}")

    def _leased(self, bridge: str, pid: int) -> Leased:
        on_it = (*mark_of(pid, MARK), "", "")[1] == str(_index(bridge))
        said = dict(line.partition(" ")[::2] for line in _lines(self._folder / f"{bridge}.lease"))
        address, former = said.get("address", ""), tuple(_lines(self._folder / f"{bridge}.former"))
        if address and float(said.get("until", 0)) < time.time():
            address, former = "", (*former, address)
        return Leased(address, said.get("gateway", ""), tuple(dict.fromkeys(old for old in former if old != address)), on_it)

    def apply(self, step: AskAddress | StopAsking) -> None:
        """Raises WeftError where udhcpc is missing."""
        pid = self._pid(step.bridge)
        processes.end([pid] if pid else [])
        at = self._folder / step.bridge
        if isinstance(step, StopAsking):
            for kind in ("pid", "log", "lease", "former"):
                Path(f"{at}.{kind}").unlink(missing_ok=True)
            return
        program = shutil.which("udhcpc", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if program is None:
            raise WeftError("udhcpc is not installed: apt install udhcpc")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.changes.watch(self._folder)
        script = self._folder / "script"
        script.write_text(SCRIPT)
        script.chmod(0o755)
        words = [program, "-f", "-i", step.bridge, "-s", str(script), "-t", "3", "-T", str(AGAIN), "-A", str(AGAIN)]
        words += ["-x", f"hostname:{os.uname().nodename.partition('.')[0]}"]
        marks = {MARK: f"{self._whose}/{step.bridge} {_index(step.bridge)}", "WEFT_LEASE": str(at)}
        self._children.append(start(at, words, marks))


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().split("\n")[:-1]
    return []


def _index(bridge: str) -> int:
    """Of its LOCAL port; 0: there is none. A client on one that was made anew hears nothing."""
    with suppress(OSError):
        return socket.if_nametoindex(bridge)
    return 0
