"""Whole labs: how long one more guest takes in a small and in a large fabric, how long a lab takes to come up, what it weighs."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench.table import Figure
from weft.topology import names

WEFT = Path(sys.executable).with_name("weft")
HOSTS = 4
REPETITIONS = 9
SMALL, LARGE = 10, 500


def weft(*args: object) -> None:
    done = subprocess.run([WEFT, *map(str, args)], capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise RuntimeError(f"weft {' '.join(map(str, args))}: {done.stderr.strip()}")


def fabric(name: str, guests: int, extra: str = "") -> str:
    """A fabric of four hosts with so many guests on one isolated segment; guest g0 is on the first host."""
    hosts = "".join(f"  kvm{n}: {{address: 10.10.10.{n}/24}}\n" for n in range(1, HOSTS + 1))
    lines = "".join(f"  g{n}: {{host: kvm{n % HOSTS + 1}, nics: [{{segment: db, ip: {address(n)}}}]}}\n" for n in range(guests))
    return f"fabric: {name}\nsegments:\n  db: {{mode: isolated, subnets: [10.0.0.0/16]}}\nhosts:\n{hosts}guests:\n{lines}{extra}"


def address(number: int) -> str:
    return f"10.0.{1 + number // 200}.{1 + number % 200}"


class Growing:
    """A running lab that one guest is added to and taken from again and again."""

    def __init__(self, folder: Path, guests: int) -> None:
        self.name, self.guests = f"bench{guests}", guests
        self.file = folder / f"{self.name}.yaml"
        self.file.write_text(fabric(self.name, guests))
        weft("lab", "down", self.name)
        weft("lab", "up", self.file)

    def add_one(self) -> float:
        """Seconds from `weft apply` to the first answered ping of a guest that was not there; it goes again."""
        one = f"  more: {{host: kvm2, nics: [{{segment: db, ip: {address(self.guests)}}}]}}\n"
        self.file.write_text(fabric(self.name, self.guests, one))
        # The pinger knows the MAC: a lost ARP question would be asked again only after a second, whatever is measured.
        neighbour = ["neigh", "replace", address(self.guests), "lladdr", names.mac(self.name, "more.eth0"), "dev", "eth0"]
        subprocess.run(["ip", "-n", f"weft.{self.name}.g0", *neighbour], check=True)
        ping = ["ip", "netns", "exec", f"weft.{self.name}.g0", "ping", "-c", "1", "-W", "0.05", address(self.guests)]
        start = time.monotonic()
        applying = subprocess.Popen([WEFT, "apply", self.file], stdout=subprocess.DEVNULL)
        while subprocess.run(ping, capture_output=True).returncode:
            if time.monotonic() - start > 60:
                raise RuntimeError(f"{self.name}: the new guest does not answer")
        taken = time.monotonic() - start
        if applying.wait(60):
            raise RuntimeError(f"{self.name}: apply failed")
        self.file.write_text(fabric(self.name, self.guests))
        weft("apply", self.file)
        return taken

    def down(self) -> None:
        weft("lab", "down", self.name)


def one_more_guest() -> tuple[list[float], list[float]]:
    """Seconds for one more guest beside 10 and beside 500, alternating in one run."""
    small: list[float] = []
    large: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        labs = [Growing(Path(folder), guests) for guests in (SMALL, LARGE)]
        try:
            for growing in labs:
                growing.add_one()
            for _ in range(REPETITIONS):
                small.append(labs[0].add_one())
                large.append(labs[1].add_one())
        finally:
            for growing in labs:
                growing.down()
    return small, large


def coming_up() -> tuple[list[float], dict[str, int]]:
    """Seconds of `weft lab up` with 4 hosts and 16 guests, and the resident kilobytes of its processes."""
    times, memory = [], {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench16.yaml"
        file.write_text(fabric("bench16", 16))
        for _ in range(REPETITIONS):
            weft("lab", "down", "bench16")
            start = time.monotonic()
            weft("lab", "up", file)
            times.append(time.monotonic() - start)
        state = Path("/run/weft/bench16")
        for what, pid in (("controller", "controller"), ("store", "store"), ("agent", "kvm1/agent")):
            memory[what] = resident(int((state / f"{pid}.pid").read_text()))
        weft("lab", "down", "bench16")
    return times, memory


def figures() -> Iterable[Figure]:
    up, memory = coming_up()
    yield Figure("lab up, 4 hosts and 16 guests", "s", tuple(up), None, "")
    for what, kilobytes in memory.items():
        yield Figure(f"memory of the {what} of that lab", "MB", (kilobytes / 1024,), None, "")
    small, large = one_more_guest()
    against = f"the same beside {SMALL}"
    yield Figure(f"one more guest beside {LARGE}, apply to first ping", "s", tuple(large), tuple(small), against, ("<=", 1.3))


def resident(pid: int) -> int:
    """Kilobytes of a process that are its own or shared in proportion (proc(5), smaps_rollup: Pss)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
