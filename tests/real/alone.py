"""A place where nothing else of this machine's weft or Open vSwitch is seen, and that takes along what was started in it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "120", "LANG": "C.UTF-8"}
PRIVATE = ("/run/weft", "/run/netns", "/run/openvswitch", "/etc/openvswitch", "/var/log/openvswitch", "/var/lib/weft", "/etc/weft")
FIRST = """
trap '' CHLD
for folder in {folders}; do mkdir -p $folder && mount -t tmpfs private $folder || exit; done
{more}
echo ready
exec sleep infinity
"""
"""The first process there: it ignores SIGCHLD, so that the kernel buries what is left to it."""


class Alone:
    """Mount and process namespaces, held by a process; where asked for, a network of its own too."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, command: str, timeout: float = 300) -> str:
        """What a person sees who types a shell command there, in the checkout: both streams, in the order they come."""
        shell = [*self._enter(), "bash", "-c", f"cd {quote(str(ROOT))}\n{command}"]
        done = subprocess.run(shell, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self._enter(), *command], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--root"]


@contextmanager
def alone(network: bool = False) -> Iterator[Alone]:
    """Such a place for as long as the block runs; with `network`, no interface but its own is there."""
    first = FIRST.format(folders=" ".join(PRIVATE), more="mount -t sysfs sys /sys; ip link set lo up" if network else "")
    kinds = ["--mount", "--pid", *(["--net"] if network else [])]
    unshare = ["unshare", *kinds, "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-c", first]
    with subprocess.Popen(unshare, stdout=subprocess.PIPE, text=True) as keeper:
        try:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == "ready\n"
            yield Alone(int(Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text()))
        finally:
            keeper.kill()
