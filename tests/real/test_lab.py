"""A lab as a whole: it comes up, stands what is done to it, and goes away without a trace."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.labs import ROOT, WEFT, Lab, lab, leftovers, weft

pytestmark = pytest.mark.real

FABRIC = """
fabric: NAME
segments:
  db: {mode: isolated, subnets: [10.0.9.0/24]}
hosts:
  kvm1: {address: 10.10.10.1/24}
  kvm2: {address: 10.10.10.2/24}
guests:
  one: {host: kvm1, nics: [{segment: db, ip: 10.0.9.11}]}
  two: {host: kvm2, nics: [{segment: db, ip: 10.0.9.12}]}
  too: {host: kvm2, nics: [{segment: db, ip: 10.0.9.13}]}
"""
TWO = "10.0.9.12"


def written(folder: Path, name: str) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(FABRIC.replace("NAME", name))
    return file


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(written(tmp_path_factory.mktemp("lab"), "lab-a"), "lab-a") as made:
        yield made


def until(said: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if said():
            return True
        time.sleep(0.1)
    return False


def wired(here: Lab) -> bool:
    rows = json.loads(here.run("lab", "status", here.fabric, "--json"))
    return all(row["state"] == "ok" for row in rows)


def test_a_command_runs_in_a_guest_on_a_host_and_outside(here: Lab) -> None:
    inside = ("lab", "exec", "--fabric", here.fabric)
    assert "10.0.9.11/24" in here.run(*inside, "one", "--", "ip", "address")
    assert "br-weft" in here.run(*inside, "kvm1", "--", "ovs-vsctl", "show")
    assert "203.0.113.1/24" in here.run(*inside, "outside", "--", "ip", "address")


def test_the_exit_code_of_a_command_is_passed_on(here: Lab) -> None:
    assert weft("lab", "exec", "--fabric", here.fabric, "one", "--", "sh", "-c", "exit 7").returncode == 7


def test_a_guest_that_is_not_there_is_one_line_that_says_who_is(here: Lab) -> None:
    done = weft("lab", "exec", "--fabric", here.fabric, "three", "--", "true")
    assert done.returncode == 1
    assert done.stderr == 'lab lab-a has no "three": it has kvm1, kvm2, one, outside, too, two\n'


def test_everybody_is_pinged_from_everybody(here: Lab) -> None:
    rows = json.loads(here.run("lab", "ping", here.fabric, "--json"))
    assert {tuple(row) for row in rows} == {("from", "to", "address", "expected", "answered")}
    assert {(row["from"], row["to"]) for row in rows if row["answered"]} == {
        (a, f"{b}.eth0") for a in ("one", "two", "too") for b in ("one", "two", "too") if a != b
    }


def test_the_gateway_answers_on_the_host_of_each_guest(here: Lab) -> None:
    assert here.pings("one", "10.0.9.1")
    assert here.pings("two", "10.0.9.1")


def test_an_answer_that_is_not_the_expected_one_gives_exit_code_2(here: Lab) -> None:
    here.exec("two", "ip", "link", "set", "eth0", "arp", "off")
    here.exec("one", "ip", "neigh", "flush", "dev", "eth0")
    done = weft("lab", "ping", here.fabric)
    here.exec("two", "ip", "link", "set", "eth0", "arp", "on")
    assert done.returncode == 2


def test_a_second_lab_lives_beside_the_first(here: Lab, tmp_path: Path) -> None:
    with lab(written(tmp_path, "lab-b"), "lab-b") as other:
        assert other.pings("one", TWO)
        assert here.pings("one", TWO)
        assert "say which with --fabric" in weft("lab", "exec", "one", "--", "true").stderr
    assert here.pings("one", TWO)


def test_down_is_the_same_twice() -> None:
    for _ in range(2):
        assert weft("lab", "down", "lab-nobody").returncode == 0


def test_a_broken_file_makes_no_lab(tmp_path: Path) -> None:
    file = written(tmp_path, "lab-c")
    file.write_text(file.read_text().replace("kvm2, nics", "kvm3, nics"))
    done = weft("lab", "up", file)
    assert done.returncode == 1
    assert "kvm3" in done.stderr
    assert leftovers("lab-c") == []


@pytest.mark.parametrize("after", [0.3, 0.7, 1.2, 2.0])
def test_down_removes_what_a_killed_up_left(tmp_path: Path, after: float) -> None:
    file = written(tmp_path, "lab-d")
    coming = subprocess.Popen([WEFT, "lab", "up", file], cwd=ROOT, stdout=subprocess.DEVNULL)
    time.sleep(after)
    coming.kill()
    coming.wait()
    assert weft("lab", "down", file).returncode == 0
    assert leftovers("lab-d") == []


def test_down_stops_a_lab_that_still_comes_up(tmp_path: Path) -> None:
    file = written(tmp_path, "lab-e")
    coming = subprocess.Popen([WEFT, "lab", "up", file], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert until(Path("/run/weft/lab-e/lab.json").exists)
    assert weft("lab", "down", file).returncode == 0
    assert coming.wait(10) != 0
    assert leftovers("lab-e") == []


def test_an_interrupted_up_takes_down_what_it_made(tmp_path: Path) -> None:
    coming = subprocess.Popen([WEFT, "lab", "up", written(tmp_path, "lab-f")], cwd=ROOT, stderr=subprocess.DEVNULL)
    assert until(Path("/run/weft/lab-f/kvm1").exists)
    coming.send_signal(signal.SIGINT)
    assert coming.wait(20) == 130
    assert leftovers("lab-f") == []


def test_a_number_in_a_pid_file_that_is_somebody_elses_is_not_killed(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    folder = Path("/run/weft/lab-g")
    folder.mkdir(parents=True)
    (folder / "controller.pid").write_text(str(bystander.pid))
    assert weft("lab", "down", "lab-g").returncode == 0
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert leftovers("lab-g") == []


class Watching:
    """Pings of a guest every 20 ms, counted."""

    def __init__(self, here: Lab) -> None:
        self.process = here.start("one", "ping", "-i", "0.02", "-W", "1", TWO)

    def lost(self) -> int:
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=20)[0]
        sent, received = (int(word) for word in said.splitlines()[-2].split() if word.isdigit())
        assert sent > 20
        return sent - received if sent - received > 1 else 0  # the last one may be under way


@pytest.mark.parametrize("what", [("controller",), ("agent", "kvm1"), ("store",)])
def test_a_killed_process_costs_no_packet_and_resumes(here: Lab, what: tuple[str, ...]) -> None:
    before = here.ovs("kvm1", "ovs-vsctl", "-f", "csv", "--columns=_uuid,name,ofport", "list", "Interface")
    watching = Watching(here)
    here.run("lab", "fail", *what, "--fabric", here.fabric)
    assert not wired(here)
    time.sleep(1)
    here.run("lab", "heal", *what, "--fabric", here.fabric)
    assert until(lambda: wired(here))
    assert watching.lost() == 0
    assert here.ovs("kvm1", "ovs-vsctl", "-f", "csv", "--columns=_uuid,name,ofport", "list", "Interface") == before


def test_what_went_wrong_while_the_agent_was_dead_is_put_right_when_it_is_back(here: Lab) -> None:
    here.run("lab", "fail", "agent", "kvm2", "--fabric", here.fabric)
    here.ovs("kvm2", "ovs-vsctl", "del-port", "too-eth0")
    assert not here.pings("one", "10.0.9.13")
    here.run("lab", "heal", "agent", "kvm2", "--fabric", here.fabric)
    assert until(lambda: here.pings("one", "10.0.9.13"))


def port_deleted(here: Lab) -> None:
    here.ovs("kvm2", "ovs-vsctl", "del-port", "two-eth0")


def link_deleted(here: Lab) -> None:
    here.exec("kvm2", "ip", "link", "delete", "two-eth0")


def link_down(here: Lab) -> None:
    here.exec("kvm2", "ip", "link", "set", "two-eth0", "down")


def guest_address_removed(here: Lab) -> None:
    here.exec("two", "ip", "address", "flush", "dev", "eth0")


def controller_changed(here: Lab) -> None:
    here.ovs("kvm2", "ovs-vsctl", "set-controller", "br-weft", "tcp:127.0.0.1:1")


def bridge_deleted(here: Lab) -> None:
    here.ovs("kvm2", "ovs-vsctl", "del-br", "br-weft")


def switch_killed(here: Lab) -> None:
    here.run("lab", "fail", "host", "kvm2", "--fabric", here.fabric)
    here.run("lab", "heal", "host", "kvm2", "--fabric", here.fabric)


def nic_gone_and_back(here: Lab) -> None:
    here.exec("kvm2", "ip", "link", "set", "under0", "netns", f"weft.{here.fabric}.outside")
    assert not here.pings("one", TWO)
    assert "10.10.10.2/24" in here.exec("kvm2", "ip", "address").stdout
    here.exec("outside", "ip", "link", "set", "under0", "netns", f"weft.{here.fabric}.kvm2")


def rules_of_the_services_removed(here: Lab) -> None:
    rules = here.exec("kvm2.svc", "ip", "rule").stdout
    assert "iif s.db prohibit" in rules
    here.exec("kvm2.svc", "ip", "rule", "delete", "pref", "100")
    assert until(lambda: here.exec("kvm2.svc", "ip", "rule").stdout == rules)


def cable_pulled(here: Lab) -> None:
    here.run("lab", "fail", "link", "kvm2", "--fabric", here.fabric)
    assert not here.pings("one", TWO)
    here.run("lab", "heal", "link", "kvm2", "--fabric", here.fabric)


DRIFTS = [
    port_deleted,
    link_deleted,
    link_down,
    guest_address_removed,
    controller_changed,
    bridge_deleted,
    switch_killed,
    nic_gone_and_back,
    rules_of_the_services_removed,
    cable_pulled,
]


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.__name__)
def test_what_somebody_else_changed_is_put_right(here: Lab, drift: Callable[[Lab], None]) -> None:
    drift(here)
    assert until(lambda: wired(here) and here.pings("one", TWO), 30)
    target = here.ovs("kvm2", "ovs-vsctl", "get-controller", "br-weft").strip()
    assert target == f"unix:/run/weft/{here.fabric}/kvm2/weft-controller.sock"


def test_what_is_not_ours_is_never_touched(here: Lab) -> None:
    here.ovs("kvm1", "ovs-vsctl", "add-br", "mine", "--", "set", "bridge", "mine", "datapath_type=netdev")
    here.exec("kvm1", "ip", "link", "add", "mine0", "type", "veth", "peer", "name", "mine1")
    here.ovs("kvm1", "ovs-vsctl", "add-port", "br-weft", "mine0")
    time.sleep(1)
    assert "mine0" in here.ovs("kvm1", "ovs-vsctl", "list-ports", "br-weft")
    here.run("lab", "fail", "agent", "kvm1", "--fabric", here.fabric)
    here.run("lab", "heal", "agent", "kvm1", "--fabric", here.fabric)
    assert until(lambda: wired(here))
    assert "mine" in here.ovs("kvm1", "ovs-vsctl", "list-br").split()
    assert "mine0" in here.ovs("kvm1", "ovs-vsctl", "list-ports", "br-weft")
    here.ovs("kvm1", "ovs-vsctl", "del-br", "mine", "--", "del-port", "br-weft", "mine0")


def test_without_root_it_is_one_line() -> None:
    done = subprocess.run(
        ["unshare", "--user", str(WEFT), "lab", "down", "lab-h"], capture_output=True, text=True, env=os.environ, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stderr == "a lab is made of network namespaces: run weft lab as root\n"
