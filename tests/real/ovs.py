"""An Open vSwitch of one's own: its own database, daemon and network namespace, all gone on `stop`.

Real processes behind the fixtures of `tests.real.conftest`; a controller in the test's own process reaches it through
``unix:RUNDIR/…`` sockets, which is also the only place where Open vSwitch looks for them.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def run(*command: str, env: dict[str, str] | None = None, given: str | None = None) -> str:
    """Standard output of a command; raises with its standard error in the message where it fails."""
    done = subprocess.run(command, env=env, input=given, text=True, capture_output=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def alive(pid: int) -> bool:
    """False for a zombie too: in a container nobody may be there to bury a daemon."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Ovs:
    """ovsdb-server and ovs-vswitchd in namespace `namespace` with everything they write under `rundir`."""

    def __init__(self, namespace: str = "") -> None:
        self.rundir = Path(tempfile.mkdtemp(prefix="wovs.", dir="/run"))
        self.namespace = namespace or f"weft.test.{self.rundir.name}"
        self.env = os.environ | {f"OVS_{what}": str(self.rundir) for what in ("RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR")}
        self._guests: list[str] = []

    def __enter__(self) -> "Ovs":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        run("ip", "netns", "add", self.namespace)
        self.inside("ip", "link", "set", "lo", "up")
        database = str(self.rundir / "conf.db")
        run("ovsdb-tool", "create", database, SCHEMA)
        self._daemon("ovsdb-server", database, f"--remote=punix:{self.rundir}/db.sock")
        self.vsctl("--no-wait", "init")
        self._daemon("ovs-vswitchd", f"unix:{self.rundir}/db.sock")
        self.vsctl("show")

    def _daemon(self, program: str, *args: str) -> None:
        """Starts it and waits until it answers on its control socket, which is made last."""
        log = f"--log-file={self.rundir}/{program}.log"
        command = ("ip", "netns", "exec", self.namespace, program, *args, log, "-vconsole:off", "--pidfile", "--detach", "--no-chdir")
        run(*command, env=self.env)

    def stop(self) -> None:
        for program in ("ovs-vswitchd", "ovsdb-server"):
            self.kill(program)
        for space in (*self._guests, self.namespace):
            subprocess.run(("ip", "netns", "del", space), check=False, capture_output=True)
        shutil.rmtree(self.rundir, ignore_errors=True)

    def pid(self, program: str) -> int:
        return int((self.rundir / f"{program}.pid").read_text())

    def kill(self, program: str, signal: int = 15) -> None:
        """Ends one of the two daemons and waits until it is gone."""
        try:
            pid = self.pid(program)
            os.kill(pid, signal)
        except (FileNotFoundError, ProcessLookupError):
            return
        while alive(pid):
            time.sleep(0.01)

    def restart_switch(self) -> None:
        self.kill("ovs-vswitchd", 9)
        self._daemon("ovs-vswitchd", f"unix:{self.rundir}/db.sock")

    def inside(self, *command: str) -> str:
        """Runs a command in the namespace."""
        return run("ip", "netns", "exec", self.namespace, *command, env=self.env)

    def vsctl(self, *args: str) -> str:
        return run("ovs-vsctl", f"--db=unix:{self.rundir}/db.sock", "--timeout=20", *args, env=self.env)

    def appctl(self, *args: str) -> str:
        return run("ovs-appctl", *args, env=self.env)

    def ofctl(self, *args: str, given: str | None = None) -> str:
        return run("ovs-ofctl", "-OOpenFlow14", *args, env=self.env, given=given)

    def flows(self, bridge: str) -> list[str]:
        """Every flow, without counters and durations, sorted."""
        return sorted(line.strip() for line in self.ofctl("--no-stats", "dump-flows", bridge).splitlines())

    def add_bridge(self, name: str, *ports: str, **settings: str) -> None:
        """A userspace bridge in secure mode with internal ports; `settings` are columns of the Bridge."""
        columns = {"datapath_type": "netdev", "fail_mode": "secure"} | settings
        args = ["--", "add-br", name, "--", "set", "bridge", name, *(f"{key}={value}" for key, value in columns.items())]
        for port in ports:
            args += ["--", "add-port", name, port, "--", "set", "interface", port, "type=internal"]
        self.vsctl(*args)

    def guest(self, bridge: str, port: str, address: str, *settings: str) -> None:
        """A namespace ``NAMESPACE.PORT`` with `address` (CIDR) behind an internal port; `settings` are columns of the Port."""
        self.vsctl("add-port", bridge, port, *settings, "--", "set", "interface", port, "type=internal")
        space = f"{self.namespace}.{port}"
        run("ip", "netns", "add", space)
        self._guests.append(space)
        self.inside("ip", "link", "set", "dev", port, "netns", space)
        for command in (("link", "set", "lo", "up"), ("addr", "add", address, "dev", port), ("link", "set", "dev", port, "up")):
            run("ip", "-n", space, *command)

    def guest_run(self, port: str, *command: str) -> subprocess.CompletedProcess[str]:
        space = ("ip", "netns", "exec", f"{self.namespace}.{port}")
        return subprocess.run((*space, *command), text=True, capture_output=True, timeout=60)

    @contextmanager
    def listening(self, port: str, what: str) -> Iterator[list[str]]:
        """The packets of a kind (pcap-filter(7)) that reach a guest meanwhile, a line each, known when the block ends."""
        words = ["ip", "netns", "exec", f"{self.namespace}.{port}", "tcpdump", "-lni", port, what]
        heard: list[str] = []
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as dumping:
            assert dumping.stderr is not None
            while "listening on" not in dumping.stderr.readline():
                pass
            yield heard
            time.sleep(0.3)
            dumping.terminate()
            heard += filter(None, dumping.communicate()[0].splitlines())

    def pings(self, port: str, address: str, count: int = 1) -> bool:
        return self.guest_run(port, "ping", "-c", str(count), "-i", "0.2", "-W", "1", address).returncode == 0
