"""libvirt that is killed in the middle of an apply: what is its part fails and is said, all else is done, and it is made good afterwards."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.hypervisors import until
from tests.real.labs import weft
from tests.real.plugged import Plugged, plugged

pytestmark = pytest.mark.real

NAME = "lvtrouble"
MORE = [f"more{number}" for number in range(12)]
RETURN = 15
"""Seconds until all is as it should be, once libvirtd answers again: RETRY, and as many networks as there are to be made."""


@pytest.fixture(scope="module")
def real() -> Iterator[Plugged]:
    with plugged(NAME) as here:
        here.with_guests()
        yield here


def more(text: str) -> str:
    """With six segments more, and a guest on each host in the first of them."""
    segments = "".join(f"  {name}: {{mode: isolated, subnets: [10.1.{number}.0/24]}}\n" for number, name in enumerate(MORE))
    text = text.replace("hosts:\n", f"{segments}hosts:\n")
    return text + "".join(f"  new{host}: {{host: kvm{host}, nics: [{{segment: more0, ip: 10.1.0.{host}1}}]}}\n" for host in (1, 2))


def kill_at(real: Plugged, word: str, number: int, stop: threading.Event) -> None:
    """Ends libvirtd of kvm1 as soon as its agent has said that word that often since now."""
    log = Path(f"/run/weft/{NAME}/kvm1/agent.log")
    begin = log.stat().st_size
    while not stop.is_set():
        with log.open("rb") as file:
            file.seek(begin)
            if file.read().count(word.encode()) >= number:
                real.one.kill()
                return
        time.sleep(0.001)


def killed_while(real: Plugged, file: Path, word: str, number: int) -> str:
    """What `weft apply` says on standard error, of whose networks this many were begun with when libvirtd was killed."""
    stop = threading.Event()
    killer = threading.Thread(target=kill_at, args=(real, word, number, stop))
    killer.start()
    try:
        done = weft("apply", file, "--store", f"unix:/run/weft/{NAME}/store.sock")
    finally:
        killer.join(5)
        stop.set()
        killer.join()
    assert not real.one.runs, done.stdout + done.stderr
    assert done.returncode == 1, done.stdout + Path(f"/run/weft/{NAME}/kvm1/agent.log").read_text()[-6000:]
    return done.stderr


def sound(real: Plugged) -> bool:
    return real.libvirt("kvm1") == real.libvirt("kvm2") == "ok" and all(row["state"] == "wired" for row in real.lab.show("guests"))


@pytest.mark.parametrize("number", (1, 4, 12))
def test_a_libvirtd_that_dies_between_two_networks_of_one_apply(real: Plugged, number: int, tmp_path: Path) -> None:
    less = real.lab.file.read_text()
    file = tmp_path / f"{NAME}.yaml"
    file.write_text(more(less))
    said = killed_while(real, file, "libvirt network of segment more", number)
    assert said.count("\n") == 1 and "kvm1" in said and "libvirt" in said, said
    assert real.lab.pings("new1", "10.1.0.21")
    assert real.lab.pings("ns2", "10.0.9.21")
    assert "libvirt" in real.libvirt("kvm1") and "\n" not in real.libvirt("kvm1")
    real.one.start()
    assert until(lambda: sound(real), RETURN), real.lab.show("hosts")
    assert {f"{NAME}-{name}" for name in MORE} <= real.one.networks()
    file.write_text(less)
    done = weft("apply", file, "--store", f"unix:/run/weft/{NAME}/store.sock")
    assert done.returncode == 0, done.stderr
    assert until(lambda: not [name for name in real.one.networks() if "-more" in name], 10)
