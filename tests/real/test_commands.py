"""What commands do when they are interrupted, and beside each other."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.alone import alone
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
"""


def written(folder: Path, name: str, text: str = FABRIC) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("NAME", name))
    return file


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(written(tmp_path_factory.mktemp("commands"), "cmd-a"), "cmd-a") as made:
        yield made


def coming_up(file: Path) -> subprocess.Popen[str]:
    """A `weft lab up` that has come as far as starting processes."""
    running = subprocess.Popen([WEFT, "lab", "up", str(file)], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    while not Path(f"/run/weft/{file.stem}/controller.pid").exists() and running.poll() is None:
        time.sleep(0.005)
    return running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", [0, 0.2])
def test_an_up_that_is_interrupted_once_or_often_leaves_nothing(tmp_path: Path, number: signal.Signals, after: float) -> None:
    running = coming_up(written(tmp_path, "cmd-b"))
    time.sleep(after)
    for _ in range(5):
        running.send_signal(number)
        time.sleep(0.02)
    said = running.communicate(timeout=30)[1]
    assert leftovers("cmd-b") == [] and "Traceback" not in said and running.returncode != 0


@pytest.mark.parametrize("after", [0, 0.2, 0.4])
def test_an_up_whose_lab_is_taken_down_ends_with_a_line(tmp_path: Path, after: float) -> None:
    running = coming_up(written(tmp_path, "cmd-c"))
    time.sleep(after)
    done = weft("lab", "down", "cmd-c")
    said = running.communicate(timeout=20)[1]
    assert done.returncode == 0 and leftovers("cmd-c") == []
    assert running.returncode != 0 and "Traceback" not in said and said.count("\n") <= 1


def test_of_many_who_apply_at_once_each_does_so_or_says_why_not(here: Lab) -> None:
    running = [subprocess.Popen([WEFT, "apply", str(here.file)], stderr=subprocess.PIPE, text=True) for _ in range(6)]
    said = [(each.communicate(timeout=60)[1], each.returncode) for each in running]
    assert any(code == 0 for _, code in said)
    assert all("somebody else applied" in text and text.count("\n") == 1 for text, code in said if code)
    assert here.pings("one", "10.0.9.12")


def test_an_apply_that_is_interrupted_says_what_goes_on(here: Lab) -> None:
    here.run("lab", "fail", "controller", "--fabric", here.fabric)
    running = subprocess.Popen([WEFT, "apply", str(here.file)], stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=10)[1]
    here.run("lab", "heal", "controller", "--fabric", here.fabric)
    assert "is carried out all the same" in said and "Traceback" not in said and running.returncode == 130


def test_a_second_controller_that_cannot_listen_leaves_the_first_in_charge(here: Lab) -> None:
    here.run("apply", here.file)  # after which the first one listens, whatever became of it in another test
    folder, before = Path("/run/weft") / here.fabric, here.pid("controller")
    done = weft("controller", "--store", f"unix:{folder}/store.sock", "--listen", f"unix:{folder}/controller.sock")
    assert done.returncode == 1 and "already in use" in done.stderr
    here.run("apply", here.file)
    assert Path(f"/proc/{before}").exists()


def test_a_host_that_the_lab_does_not_have_is_refused_and_nothing_touched(here: Lab, tmp_path: Path) -> None:
    more = written(tmp_path, here.fabric, FABRIC.replace("guests:", "  kvm3: {address: 10.10.10.3/24}\nguests:"))
    done = weft("apply", more)
    assert done.returncode == 1 and 'host "kvm3" is not in the lab that runs' in done.stderr
    assert [row["host"] for row in here.show("hosts")] == ["kvm1", "kvm2"]


def test_a_fabric_that_runs_as_a_lab_is_not_brought_up_on_the_machine_itself(here: Lab) -> None:
    done = weft("up", here.file, "--host", "kvm1", timeout=10)
    assert done.returncode == 1 and done.stderr == f"{here.fabric} runs as a lab on this machine: weft lab down {here.fabric}\n"


def test_what_weft_up_made_is_no_labs_to_take_down(tmp_path: Path) -> None:
    folder = Path("/run/weft/cmd-d")
    folder.mkdir(parents=True)
    try:
        (folder / "store.sock").touch()
        down, up = weft("lab", "down", "cmd-d"), weft("lab", "up", written(tmp_path, "cmd-d"))
        assert (folder / "store.sock").exists()
    finally:
        (folder / "store.sock").unlink(missing_ok=True)
        folder.rmdir()
    for done in (down, up):
        assert done.returncode == 1 and done.stderr.startswith('"cmd-d" is no lab') and done.stderr.count("\n") == 1

DATABASE = """
ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server /etc/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock --detach --no-chdir -vconsole:off >/dev/null 2>&1
ovs-vsctl --no-wait -- init -- add-br br-weft -- set bridge br-weft external_ids:weft=other
"""


def test_a_machine_that_carries_another_fabric_is_not_brought_up(tmp_path: Path) -> None:
    with alone(network=True) as machine:
        assert machine.run(DATABASE) == ""
        said = machine.run(f".venv/bin/weft up {written(tmp_path, 'cmd-e')} --host kvm1", timeout=20)
    assert said.startswith('br-weft is of fabric "other"') and said.count("\n") == 1
