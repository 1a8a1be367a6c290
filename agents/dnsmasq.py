"""dnsmasq, one process for each segment of a host that asks for it, in the service namespace: looked at, started, told to read again, ended.

Below the run folder: ``SEGMENT.conf`` and the other files of `weft.agents.dnsmasq_files`, ``SEGMENT.pid``, ``SEGMENT.log``, and
``SEGMENT.read``, which says what a process has read. A process carries a mark in its environment: whose it is, what it was started with
and on which interface. So an agent that was killed finds it again, and one whose configuration or interface is another is started anew.
Leases are in a file of dnsmasq's own, which outlives it.
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from weft.agents import processes, spaces
from weft.agents.dnsmasq_files import FILES
from weft.agents.files import write_whole
from weft.agents.inotify import Watcher
from weft.agents.marked import mark_of, pid_in, start
from weft.agents.observed import Answering, Lease
from weft.agents.service_steps import Answer, StopAnswering
from weft.topology import server
from weft.topology.errors import WeftError
from weft.topology.names import service_namespace, service_port

MARK = "WEFT_DNSMASQ"
"""Variable in the environment: ``FABRIC/HOST/SEGMENT DIGEST INTERFACE-INDEX``."""
STATE = Path("/var/lib/weft")
"""Where leases are on a host that is no lab: they outlive a reboot."""
READABLE = 0o644
"""dnsmasq reads again as a user of its own."""
SETTLED = 0.15
"""Seconds after which a process that could not begin has ended."""

class Dnsmasq:
    """Of one host. Used by the worker thread; `changes` says when leases do."""

    def __init__(self, fabric: str, host: str, listen: Callable[[int], None]) -> None:
        """`listen`: is given descriptors that become readable when a process ends."""
        self.whose = f"{fabric}/{host}"
        self._namespace = service_namespace(fabric, host)
        self._lab = os.environ.get(processes.MARK) == fabric
        run = server.run_folder(fabric)
        self._folder = (run / host if self._lab else run) / "dnsmasq"
        self._leases = self._folder if self._lab else STATE / fabric / "dnsmasq"
        self._resolvers = run / host / "resolv.conf" if self._lab else Path("/etc/resolv.conf")
        self._listen = listen
        self._children: list[subprocess.Popen[bytes]] = []
        self._ends: dict[int, int] = {}
        """By process: a descriptor that says when it ends."""
        self.changes = Watcher()

    # ---- what is

    def observe(self) -> dict[str, Answering]:
        """Processes of ours that run, by segment."""
        self._children = [child for child in self._children if child.poll() is None]
        running = {path.stem: pid for path in self._folder.glob("*.pid") if (pid := self._pid(path.stem))}
        for gone in self._ends.keys() - set(running.values()):
            os.close(self._ends.pop(gone))
        return {segment: self._look(segment, pid) for segment, pid in running.items()}

    def resolvers(self) -> tuple[str, ...]:
        """The IPv4 resolvers of this host that can be reached from the service namespace: not those on its own loopback."""
        found = _resolvers(self._resolvers)
        if not found and not self._lab:  # systemd-resolved listens on 127.0.0.53; what it asks itself stands here
            found = _resolvers(Path("/run/systemd/resolve/resolv.conf"))
        return found

    def _pid(self, segment: str) -> int | None:
        return pid_in(self._folder / f"{segment}.pid", MARK, f"{self.whose}/{segment}")

    def _look(self, segment: str, pid: int) -> Answering:
        if pid not in self._ends:
            with suppress(OSError):
                self._ends[pid] = os.pidfd_open(pid)
                self._listen(self._ends[pid])
        with suppress(OSError):
            self.changes.watch(self._lease_file(segment))
        _, started_with, index = (*mark_of(pid, MARK), "", "", "")[:3]
        on_it = index == str(self._index(segment))
        try:
            reader, read = (self._folder / f"{segment}.read").read_text().split()
        except (OSError, ValueError):
            reader, read = "", ""
        return Answering(started_with if on_it else "", read if reader == str(pid) else "", tuple(self._read_leases(segment)))

    def _index(self, segment: str) -> int:
        """Of the interface it answers on; 0: there is none. A socket that was bound to one that was made anew hears nothing."""
        with suppress(OSError, WeftError), spaces.inside(self._namespace):
            return socket.if_nametoindex(service_port(segment))
        return 0

    def _lease_file(self, segment: str) -> Path:
        return self._leases / f"{segment}.leases"

    def _read_leases(self, segment: str) -> Iterator[Lease]:
        with suppress(OSError):
            yield from leases(self._lease_file(segment).read_text())

    # ---- what is done

    def apply(self, step: Answer | StopAnswering) -> None:
        """Raises WeftError where dnsmasq is missing, or with the reason it gives for not starting."""
        pid = self._pid(step.segment)
        if isinstance(step, StopAnswering):
            self._end(step.segment, pid)
            return
        for folder in (self._folder, self._leases):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)  # it reads again as a user of its own
        for kind, text in (("conf", step.conf), *step.files):
            write_whole(self._folder / f"{step.segment}.{kind}", text, mode=READABLE)
        if pid is not None and step.again:
            os.kill(pid, signal.SIGHUP)
        else:
            processes.end([pid] if pid else [])
            self._prepare(step)
            pid = self._start(step)
        write_whole(self._folder / f"{step.segment}.read", f"{pid} {step.read}\n", mode=READABLE)

    def _end(self, segment: str, pid: int | None) -> None:
        processes.end([pid] if pid else [])
        for kind in ("conf", *FILES, "pid", "read", "log"):
            (self._folder / f"{segment}.{kind}").unlink(missing_ok=True)

    def _prepare(self, step: Answer) -> None:
        """Leases of addresses that belong to somebody else by now are no leases; and it calls itself what it is called on every host."""
        path = self._lease_file(step.segment)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if not line.startswith("duid ") and not any(_is_taken(lease, step) for lease in leases(line))]
        duid = f"duid 00:03:00:01:{step.mac}\n"  # DUID-LL of Ethernet (RFC 8415, 11.4); IPv6's leases come after it
        fours = [line for line in kept if ":" not in (line.split() + [""] * 3)[2]]
        path.write_text("".join((*fours, duid, *(line for line in kept if line not in fours))))

    def _start(self, step: Answer) -> int:
        program = shutil.which("dnsmasq", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise WeftError("dnsmasq is not installed: apt install dnsmasq-base")
        at = self._folder / step.segment
        words = [program, "--keep-in-foreground", f"--conf-file={at}.conf", f"--pid-file={at}.pid"]
        words += [f"--{option}={at}.{kind}" for kind, option in FILES.items()]
        words += [f"--dhcp-leasefile={self._lease_file(step.segment)}", *(["--log-facility=-"] if self._lab else [])]
        inside = ["nsenter", f"--net=/run/netns/{step.namespace}", "--"]  # becomes the program
        mark = f"{self.whose}/{step.segment} {step.started_with} {self._index(step.segment)}"
        child = start(at, [*inside, *words], {MARK: mark})
        self._children.append(child)
        with suppress(subprocess.TimeoutExpired):
            child.wait(SETTLED)
            raise WeftError(f"dnsmasq of segment {step.segment}: {_last_line(Path(f'{at}.log'))}")
        return child.pid


def leases(text: str) -> Iterator[Lease]:
    """Of a lease file: ``EXPIRY MAC ADDRESS NAME CLIENT-ID``; of IPv6 ``EXPIRY IAID ADDRESS NAME DUID``, after the server's own DUID."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 5 and words[0].isdecimal():
            until, hardware, address, name, client = words
            mac = hardware.rpartition("-")[2] if ":" not in address else mac_of(client)
            yield Lease(address, mac, int(until), "" if name == "*" else name)


def _is_taken(lease: Lease, step: Answer) -> bool:
    return bool(lease.mac) and step.owners.get(lease.address, lease.mac) != lease.mac


def mac_of(duid: str) -> str:
    """The MAC in a DUID of the kinds that have one, by Ethernet; empty: another kind (RFC 8415, 11)."""
    octets = duid.lower().split(":")
    sized = {"00:01:00:01": 14, "00:03:00:01": 10}.get(":".join(octets[:4]))
    return ":".join(octets[-6:]) if sized == len(octets) else ""


def _resolvers(path: Path) -> tuple[str, ...]:
    try:
        words: list[list[str]] = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return ()
    named = dict.fromkeys(line[1] for line in words if len(line) > 1 and line[0] == "nameserver")
    return tuple(address for address in named if _is_ipv4(address) and not address.startswith(("127.", "0.")))


def _is_ipv4(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, text)
    except OSError:
        return False
    return True


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("dnsmasq: ").strip() if lines else "it ended and said nothing"
