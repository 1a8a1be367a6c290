"""A whole fabric on one machine: every host a namespace with an Open vSwitch and an agent of its own, one store, one controller.

What a lab needs lies under ``/run/weft/FABRIC``: ``lab.json`` (what it was made from), the store's file and socket, an id and a log
for every process, and a folder for each host, which is its Open vSwitch's run directory. A lab that was killed while it came up
is taken down like any other: everything of it is found by its names and by the mark of its processes.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from weft.agents import partners, processes, wires
from weft.agents.processes import Process
from weft.topology import names, server
from weft.topology.errors import WeftError
from weft.topology.model import Fabric

VSWITCH_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PROGRAMS = {
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ip": "iproute2",
    "nft": "nftables",
    "ethtool": "ethtool",
    "dnsmasq": "dnsmasq-base",
}
"""What a lab runs, and the Debian package it is in."""
READY = 10.0
"""Seconds a server has until it answers on its socket."""
EARLIEST = 10.5
"""Seconds of uptime before which ovs-vswitchd 3.1 counts no processors (see `weft.agents.doctor`)."""
AGAIN = 0.03
"""Seconds before the next look for processes: one may just have started another, which has no mark while it becomes its program."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is there, whole or not, as its folder says."""

    fabric: str
    file: str
    hosts: Mapping[str, tuple[str, ...]]
    """Host -> its NICs."""
    processes: tuple[Process, ...]
    resolver: str = ""
    """Whom its hosts ask for names: `outside`."""
    lacp: tuple[str, ...] = ()
    """Uplinks (``kvm1/physnet``) whose wire speaks LACP."""

    @property
    def folder(self) -> Path:
        return server.run_folder(self.fabric)

    @property
    def store(self) -> str:
        return server.default_target(self.fabric)

    def pid(self, process: str) -> int | None:
        return processes.pid_of(process, self.fabric, self.folder)


def labs() -> list[str]:
    """Names of the labs on this machine."""
    return sorted(path.parent.name for path in server.RUN.glob("*/lab.json"))


def read(fabric: str) -> Lab | None:
    """What is known of a lab; None: there is none of this name."""
    try:
        said = json.loads((server.run_folder(fabric) / "lab.json").read_text())
    except (OSError, ValueError):
        return None
    made = tuple(Process(**{**each, "command": tuple(each["command"])}) for each in said["processes"])
    return Lab(said["fabric"], said["file"], {host: tuple(nics) for host, nics in said["hosts"].items()}, made)


def check() -> None:
    """Raises WeftError where no lab can be made on this machine."""
    if os.geteuid():
        raise WeftError("a lab is made of network namespaces: run weft lab as root")
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if missing:
        raise WeftError(f"not installed: {', '.join(sorted(missing))}: apt install {' '.join(sorted(missing))}")


def lay_out(fabric: Fabric, file: str) -> Lab:
    """The lab of a fabric on paper."""
    folder, store = server.run_folder(fabric.name), server.default_target(fabric.name)
    listen = f"unix:{folder}/controller.sock"
    outside = (sys.executable, "-m", "weft.agents.outside")
    made = [
        Process("store", tuple(server.command(folder / "store.db", [store]))),
        Process("outside", outside, names.namespace(fabric.name, wires.OUTSIDE)),
        Process("controller", (*weft(), "controller", "--store", store, "--listen", listen)),
    ]
    if wires.spoken(fabric):
        made += _switch(names.namespace(fabric.name, wires.WIRES), wires.WIRES, folder)
    for host in fabric.hosts:
        made += _host(names.namespace(fabric.name, host), host, folder, store, listen)
    hosts = {name: tuple(nic for nic, _ in wires.nics(host)) for name, host in fabric.hosts.items()}
    lacp = tuple(f"{host.name}/{uplink.name}" for host, uplink in wires.spoken(fabric))
    return Lab(fabric.name, file, hosts, tuple(made), str(fabric.lab.outside[1]) if fabric.lab else "", lacp)


def weft() -> tuple[str, ...]:
    """The command that runs as this one does."""
    script = Path(sys.executable).with_name("weft")
    return (str(script),) if script.exists() else (sys.executable, "-c", "from weft.cli.main import main; main()")


def environment(fabric: str, host: str) -> dict[str, str]:
    """What Open vSwitch's commands need to find a host's own."""
    return _at(server.run_folder(fabric) / host)


def _at(folder: Path) -> dict[str, str]:
    return {f"OVS_{what}": str(folder) for what in ("RUNDIR", "DBDIR", "LOGDIR")}


def _host(space: str, host: str, folder: Path, store: str, controller: str) -> list[Process]:
    at = folder / host
    agent = ("agent", "--host", host, "--store", store, "--controller", controller, "--ovsdb", f"unix:{at}/db.sock", "--state", f"{at}/kept")
    return [*_switch(space, host, folder), Process(f"{host}/agent", (*weft(), *agent), space, _at(at))]


def _switch(space: str, whose: str, folder: Path) -> list[Process]:
    """An Open vSwitch of somebody's own."""
    at = folder / whose
    quiet = ("--pidfile", "--no-chdir", "-vconsole:warn", "-vsyslog:off")
    database = ("ovsdb-server", str(at / "conf.db"), f"--remote=punix:{at}/db.sock", *quiet)
    return [
        Process(f"{whose}/ovsdb-server", database, space, _at(at), writes_pid=True),
        Process(f"{whose}/ovs-vswitchd", ("ovs-vswitchd", f"unix:{at}/db.sock", *quiet), space, _at(at), writes_pid=True),
    ]


def up(lab: Lab, fabric: Fabric, fill: Callable[[], None], say: Say) -> None:
    """Makes a lab: `fill` writes the fabric into the store once that answers. Raises WeftError, and takes down what it made."""
    check()
    with _claim(lab):
        try:
            say("namespaces and wires")
            wires.build(fabric)
            _start(lab, "store", lab.folder / "store.sock")
            say("the fabric into the store")
            fill()
            say(f"{len(lab.hosts)} hosts")
            _start(lab, "controller")
            _start(lab, "outside")
            template = _open_vswitch_database(lab.folder)
            if wires.spoken(fabric):
                _start_switch(lab, wires.WIRES, template)
                partners.speak(fabric, lab.folder / wires.WIRES / "db.sock")
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda host: _start_host(lab, host, template), lab.hosts))
        except BaseException:
            remove(lab.fabric)
            raise


def _start_host(lab: Lab, host: str, template: Path) -> None:
    _start_switch(lab, host, template)
    _start(lab, f"{host}/agent")


def _start_switch(lab: Lab, whose: str, template: Path) -> None:
    (lab.folder / whose).mkdir(exist_ok=True)
    shutil.copy(template, lab.folder / whose / "conf.db")
    _start(lab, f"{whose}/ovsdb-server", lab.folder / whose / "db.sock")
    _start(lab, f"{whose}/ovs-vswitchd")


def _start(lab: Lab, name: str, door: Path | None = None) -> None:
    """Starts one of its processes; with `door`, its socket, returns when somebody answers there."""
    process = next(each for each in lab.processes if each.name == name)
    if name.endswith("ovs-vswitchd"):
        time.sleep(max(0.0, EARLIEST - time.monotonic()))
    pid = processes.start(process, lab.fabric, lab.folder)
    deadline = time.monotonic() + READY
    while door and not answers(door):
        if not processes.alive(pid) or time.monotonic() > deadline:
            raise WeftError(f"{name} did not start: {_last_line(lab.folder / f'{name}.log')}")
        time.sleep(0.005)


def answers(door: Path) -> bool:
    """Whether a connection to a unix socket is taken; one that is bound and not listened on yet is there, and refuses."""
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(door))
        except OSError:
            return False
    return True


def check_running(lab: Lab) -> None:
    """Raises WeftError for the first process that has ended, with the last thing it said."""
    for process in lab.processes:
        if processes.has_ended(process.name, lab.folder):
            log = lab.folder / f"{process.name}.log"
            raise WeftError(f"{process.name} ended: {_last_line(log)}: look into {log}, then weft lab down {lab.fabric}")


def _last_line(log: Path) -> str:
    try:
        return log.read_text(errors="replace").strip().splitlines()[-1]
    except (OSError, IndexError):
        return "it said nothing"


def _open_vswitch_database(folder: Path) -> Path:
    """An Open vSwitch database with its one root row: the hosts' begin as copies of it."""
    made = folder / "conf.db"
    transaction = json.dumps(["Open_vSwitch", {"op": "insert", "table": "Open_vSwitch", "row": {}}])
    for words in (("create", made, VSWITCH_SCHEMA), ("transact", made, transaction)):
        done = subprocess.run(["ovsdb-tool", *map(str, words)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise WeftError(f"ovsdb-tool {words[0]}: {done.stderr.strip()}")
    return made


@contextmanager
def _claim(lab: Lab) -> Iterator[None]:
    """Makes the lab's folder, which only one can make, and holds a lock in it while the lab comes up."""
    refused = WeftError(f"a lab called {lab.fabric} is there already: weft lab down {lab.fabric}")
    if wires.namespaces(lab.fabric):
        raise refused
    try:
        server.RUN.mkdir(parents=True, exist_ok=True)
        lab.folder.mkdir()
    except FileExistsError:
        raise refused from None
    with _lock(lab.fabric).open("w") as lock:
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        server.prepare(lab.folder / "store.db")
        for host in lab.hosts:
            (lab.folder / host).mkdir()
            (lab.folder / host / "resolv.conf").write_text(f"nameserver {lab.resolver}\n" if lab.resolver else "")
        (lab.folder / "lab.json").write_text(json.dumps(asdict(lab)))
        yield


def _lock(fabric: str) -> Path:
    return server.run_folder(fabric) / "up.lock"


def down(fabric: str) -> bool:
    """Takes a lab down, whole or not; False where there was nothing. Safe to do again, and while it still comes up."""
    check()
    _stop_coming_up(fabric)
    return remove(fabric)


def _stop_coming_up(fabric: str) -> None:
    """Ends a `weft lab up` that still runs: it holds the lock that it wrote its id into."""
    try:
        with _lock(fabric).open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.kill(int(lock.read() or 0), signal.SIGTERM)
                fcntl.flock(lock, fcntl.LOCK_EX)
    except (OSError, ValueError):
        return


def remove(fabric: str) -> bool:
    """Ends every process of a lab, then removes its namespaces and its files."""
    folder, found = server.run_folder(fabric), False
    while pids := processes.belonging(fabric, wires.namespaces(fabric)):
        processes.end(pids)
        time.sleep(AGAIN)
        found = True
    found = found or bool(wires.namespaces(fabric)) or folder.exists()
    wires.remove(fabric)
    shutil.rmtree(folder, ignore_errors=True)
    return found


def fail(lab: Lab, what: str, name: str) -> None:
    """Kills a process (-9), a whole host, or pulls a host's cables: all, or that of one NIC (``kvm1/ens224``)."""
    if what == "link":
        wires.plug(lab.fabric, *_cables(lab, name), up=False)
        return
    pids = [pid for each in _named(lab, what, name) if (pid := lab.pid(each)) is not None]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    processes.end(pids)


def heal(lab: Lab, what: str, name: str) -> None:
    """Starts again what does not run, plugs in what was pulled."""
    if what == "link":
        wires.plug(lab.fabric, *_cables(lab, name), up=True)
        return
    for each in _named(lab, what, name):
        if lab.pid(each) is None:
            _start(lab, each)


def _cables(lab: Lab, name: str) -> tuple[str, tuple[str, ...]]:
    """A host and those of its NICs that are meant: all, or the one that is named with it."""
    host, one, nic = name.partition("/")
    there = _nics(lab, host)
    if one and nic not in there:
        raise WeftError(f'host "{host}" of lab {lab.fabric} has no NIC "{nic}": it has {", ".join(there) or "none"}')
    return host, (nic,) if one else there


def _nics(lab: Lab, host: str) -> tuple[str, ...]:
    if host not in lab.hosts:
        raise WeftError(f'lab {lab.fabric} has no host "{host}": it has {", ".join(lab.hosts)}')
    return lab.hosts[host]


def _named(lab: Lab, what: str, name: str) -> list[str]:
    """Names of processes: ``controller``, ``store``, or of a host its ``agent`` or all of it (``host``)."""
    if what in ("controller", "store"):
        return [what]
    _nics(lab, name)
    return [each.name for each in lab.processes if each.name == f"{name}/{what}" or (what == "host" and each.name.startswith(f"{name}/"))]
