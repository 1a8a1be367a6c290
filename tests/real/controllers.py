"""`weft controller` as a process of its own, beside an Open vSwitch of the tests."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.ovs import Ovs

WEFT = str(Path(sys.executable).parent / "weft")


class Running:
    """The process and what it logged."""

    def __init__(self, ovs: Ovs, *options: str) -> None:
        self.ovs = ovs
        self.target = f"unix:{ovs.rundir}/weft.sock"
        self._log = ovs.rundir / "controller.log"
        command = (WEFT, "controller", "--listen", self.target, "--ovsdb", f"unix:{ovs.rundir}/db.sock", *options)
        with self._log.open("a") as log:
            self.process = subprocess.Popen(command, stderr=log, env=ovs.env)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def listening(self) -> bool:
        assert self.process.poll() is None, self.log
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.target.removeprefix("unix:")) == 0

    def take(self, bridge: str) -> None:
        """Makes it the controller of `bridge` and waits until the bridge has flows."""
        self.ovs.vsctl("set-controller", bridge, self.target)
        until(lambda: self.ovs.flows(bridge) != [])

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


@contextmanager
def running(ovs: Ovs, *options: str) -> Iterator[Running]:
    controller = Running(ovs, *options)
    try:
        until(lambda: controller.listening)
        yield controller
    finally:
        if controller.process.poll() is None:
            controller.stop(signal.SIGKILL)


def until(holds: Callable[[], bool], seconds: float = 15) -> None:
    """Waits until `holds`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
