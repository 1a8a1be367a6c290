"""The dead-man timer: what a host was like is written down before how it is reached changes, and put back unless the agent says all is well.

The timer is a process of its own, which outlives the agent: a shell that sleeps, ignores SIGTERM (systemd.kill(5): it ends by itself within
`TimeoutStopSec`) and becomes `weft.agents.undo` if the file is still there. While it runs it holds a lock on the file.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from pyroute2 import IPRoute

from weft.agents import undo
from weft.agents.bonds import MODES
from weft.agents.observed import HERE, Observed
from weft.agents.undo import PUT_BACK, Before, PutBack
from weft.agents.uplinks import Change, settled, uplinks, way, wire_ports
from weft.topology.errors import WeftError
from weft.topology.hostrow import Spec

SCRIPT = 'trap "" TERM INT HUP; sleep "$1"; [ -e "$2" ] || exit 0; exec "$3" -m weft.agents.undo "$2"'
MARGIN = 0.1
"""Part of the time at whose end the agent touches nothing any more."""
UNDOING = ".undoing"


class Deadman:
    """Of one agent, in `folder`. One timer at a time, for all uplinks that change together."""

    def __init__(self, folder: Path, ovsdb: str, fabric: str, within: float) -> None:
        self._folder, self._ovsdb, self._fabric, self._within = folder, ovsdb, fabric, within
        self._timer: subprocess.Popen[bytes] | None = None

    # ---- the timer

    def pending(self) -> Before | None:
        """The change that is being tried."""
        try:
            path = self._path("*.json")
            return undo.read(path) if path else None
        except FileNotFoundError:
            return None

    def begin(self, changes: Iterable[Change], seen: Observed, serial: int, reach: list[str]) -> None:
        """Writes down how things are, and starts the timer. Raises WeftError: nothing may be changed then."""
        changes = list(changes)
        was = self._before(changes, seen, serial, reach)
        path = self._folder / f"undo-{time.monotonic_ns()}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            undo.write(path, asdict(was))
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                words = ("sh", "-c", SCRIPT, "weft-put-back", str(self._within), str(path), sys.executable)
                self._timer = subprocess.Popen(words, pass_fds=(file.fileno(),), start_new_session=True, cwd="/", stdin=subprocess.DEVNULL)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise WeftError(f"nothing of it is changed without a way back: {self._folder}: {str(error.strerror).lower()}") from None

    def late(self) -> bool:
        """The time is as good as over, or what was before is being put back: nothing is to be touched meanwhile."""
        was = self.pending()
        return bool(self._path(f"*{UNDOING}")) or (was is not None and self.left(was) <= 0)

    def left(self, was: Before) -> float:
        """Seconds to say that all is well."""
        return was.began + was.within * (1 - MARGIN) - time.monotonic()

    def resume(self) -> None:
        """After a reboot, or where somebody killed the timer: what was begun is put back now, by a timer that has run out."""
        for path in self._folder.glob("undo-*"):
            if path.suffix in (".json", UNDOING) and not _is_held(path):
                subprocess.run((sys.executable, "-m", "weft.agents.undo", str(path.with_suffix(".json"))), cwd="/", check=False)

    def confirm(self) -> bool:
        """All is well, and stays. False: it is too late to say so."""
        path = self._path("*.json")
        try:
            if path is None:
                return False
            path.unlink()
            path.with_suffix(undo.WHY).unlink(missing_ok=True)
        except FileNotFoundError:
            return False
        if self._timer is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._timer.pid, signal.SIGKILL)
            self._timer.wait()
            self._timer = None
        return True

    def note(self, why: str) -> None:
        """What is missing, for the reason that is reported if it is still missing then."""
        if path := self._path("*.json"):
            with contextlib.suppress(OSError):
                path.with_suffix(undo.WHY).write_text(why)

    def _path(self, pattern: str) -> Path | None:
        return next(iter(self._folder.glob(f"undo-{pattern}")), None)

    def _before(self, changes: list[Change], seen: Observed, serial: int, reach: list[str]) -> Before:
        there = [change.bridge for change in changes if change.bridge in seen.bridges]
        leading = [link.name for link in seen.links[HERE].values() if any(network == "default" for network, _ in link.routes)]
        names = dict.fromkeys([*(name for change in changes for name in (*change.nics, change.bridge)), *leading])
        with IPRoute() as ip:
            links = undo.before(ip, iter(names))
        return Before(
            ovsdb=self._ovsdb,
            fabric=self._fabric,
            began=time.monotonic(),
            within=self._within,
            ways={change.key: change.way for change in changes},
            serial=serial,
            reach=reach,
            bridges={bridge: [_wired(port.name, seen) for port in wire_ports(bridge, seen)] for bridge in there},
            hwaddr={bridge: mac for bridge in there if (mac := seen.bridges[bridge].mac)},
            fresh=tuple(change.bridge for change in changes if change.bridge not in seen.bridges),
            links=links,
        )

    # ---- what was put back

    def put_back(self, wanted: Mapping[str, Spec], serial: int) -> dict[str, str]:
        """By object: why it is not tried, as long as the same is asked for by the same `weft apply`."""
        path = self._folder / PUT_BACK
        try:
            told = [PutBack(**each) for each in json.loads(path.read_text())]
        except (OSError, ValueError, TypeError):
            return {}
        specs = uplinks(wanted)
        left = {each.key: each.reason for each in told if (each.way, each.serial) == (way(specs.get(each.key)), serial)}
        if not left:
            path.unlink(missing_ok=True)
        return left

    def has_put_back(self) -> bool:
        return (self._folder / PUT_BACK).exists()


def hold(wanted: Mapping[str, Spec], kept: Iterable[str], seen: Observed) -> dict[str, Spec]:
    """What a host should have, with these uplinks as they were last found good."""
    held = dict(wanted)
    bridges = {spec.bridge: spec for name in seen.bridges if (spec := settled(name, seen))}
    for key in kept:
        held.pop(key, None)
        held |= {f"uplink/{spec.name}": spec for spec in bridges.values() if f"uplink/{spec.name}" == key}
    return held


def _wired(port: str, seen: Observed) -> tuple[str, str, list[str]]:
    found = seen.ports[port]
    return port, found.bond if found.bond in MODES else "", [member.name for member in found.members] or [port]


def _is_held(path: Path) -> bool:
    """Its timer runs."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
