"""Labs as a user has them: the command `weft`, in a process of its own, on real Open vSwitch and real namespaces."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WEFT = Path(sys.executable).with_name("weft")


def weft(*args: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs the command; output and exit code are the caller's to judge."""
    return subprocess.run([WEFT, *map(str, args)], capture_output=True, text=True, timeout=timeout, cwd=ROOT)


class Lab:
    """A lab that is up: `fabric` is its name, `file` what it was made from."""

    def __init__(self, fabric: str, file: Path) -> None:
        self.fabric, self.file = fabric, file

    def run(self, *args: object, timeout: float = 120) -> str:
        """Runs `weft`, which must succeed, and gives its standard output."""
        done = weft(*args, timeout=timeout)
        assert done.returncode == 0, f"weft {' '.join(map(str, args))}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def show(self, what: str) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = json.loads(self.run("show", what, "--fabric", self.fabric, "--json"))
        return shown

    def exec(self, name: str, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command in a guest, a host or `outside`."""
        space = ("ip", "netns", "exec", f"weft.{self.fabric}.{name}")
        return subprocess.run([*space, *command], capture_output=True, text=True, timeout=timeout)

    def start(self, name: str, *command: str) -> subprocess.Popen[str]:
        space = ("ip", "netns", "exec", f"weft.{self.fabric}.{name}")
        return subprocess.Popen([*space, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def pings(self, name: str, address: str, *options: str) -> bool:
        return self.exec(name, "ping", "-c", "2", "-i", "0.2", "-W", "2", *options, address).returncode == 0

    def ovs(self, host: str, *command: str) -> str:
        """An ovs-… command at a host's own Open vSwitch."""
        env = {f"OVS_{what}": f"/run/weft/{self.fabric}/{host}" for what in ("RUNDIR", "DBDIR", "LOGDIR")}
        settings = [f"{key}={value}" for key, value in env.items()]
        done = subprocess.run(["env", *settings, *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def flows(self, host: str, bridge: str = "br-weft") -> list[str]:
        """The flows of a bridge without counters, sorted."""
        return sorted(self.ovs(host, "ovs-ofctl", "-OOpenFlow14", "--no-stats", "dump-flows", bridge).splitlines())

    def pid(self, what: str) -> int:
        return int(Path(f"/run/weft/{self.fabric}/{what}.pid").read_text())


@contextmanager
def lab(file: Path, fabric: str) -> Iterator[Lab]:
    """A lab for as long as the block runs; one left over by a killed test run goes first."""
    weft("lab", "down", fabric)
    here = Lab(fabric, file)
    try:
        here.run("lab", "up", file)
        yield here
    finally:
        done = weft("lab", "down", fabric)
        assert done.returncode == 0, done.stderr
        left = leftovers(fabric)
        assert not left, left


def leftovers(fabric: str) -> list[str]:
    """Namespaces, processes and files of a fabric that are still there."""
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    found = [space for space in spaces if space.startswith(f"weft.{fabric}.")]
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
        except OSError:
            continue
        if any(f"/run/weft/{fabric}/".encode() in word for word in words):
            found.append(b" ".join(words).decode())
    return found + [str(path) for path in Path("/run/weft").glob(fabric)]
