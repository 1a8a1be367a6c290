"""`weft install` and `weft uninstall`: units that systemd takes, processes that work with what those leave them."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.real.alone import ROOT, Alone, alone
from tests.real.labs import weft
from tests.real.waiting import until

pytestmark = pytest.mark.real

FABRIC = """
fabric: in-inst
segments:
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: host, dhcp: true, dns: true}
hosts:
  kvm1: {}
guests:
  one: {host: kvm1, nics: [{segment: office, attach: netns}]}
  two: {host: kvm1, nics: [{segment: office, ip: 192.168.122.9, attach: netns}]}
"""
OPEN_VSWITCH = """
set -e
ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server /etc/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile --detach --no-chdir -vconsole:off >/dev/null 2>&1
ovs-vsctl --no-wait init
ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach --no-chdir --log-file -vconsole:off >/dev/null 2>&1
"""
NAMES = ["weft-agent.service", "weft-controller.service", "weft-hold.service", "weft-store.service"]
NO_SYSTEMD = "mkdir -p /run/systemd && mount -t tmpfs private /run/systemd"
REFUSE_EXECUTABLE = "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""PR_SET_MDWE (prctl(2)): what MemoryDenyWriteExecute= asks, where the kernel has it (6.3)."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "inst.yaml"
    file.write_text(FABRIC)
    return file


def actions(*words: object) -> dict[str, str]:
    """By the last part of what was done: how."""
    done = weft(*words, "--json")
    assert done.returncode == 0, done.stderr
    return {Path(row["object"]).name: row["action"] for row in json.loads(done.stdout)}


def test_install_says_what_it_did_and_again_keeps_it_and_uninstall_takes_back_exactly_that(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "root"
    theirs = root / "etc/systemd/system/multi-user.target.wants/theirs.service"
    theirs.parent.mkdir(parents=True)
    theirs.symlink_to("/etc/systemd/system/theirs.service")
    names = {*NAMES, "store.db"}
    assert actions("install", file, "--root", root) == dict.fromkeys(names, "add")
    assert actions("install", file, "--root", root) == dict.fromkeys(names, "keep")
    enabled = {path.name: path.parent.name for path in root.rglob("*.wants/weft-*")}
    assert enabled == dict.fromkeys(NAMES, "multi-user.target.wants") | {"weft-hold.service": "ovs-vswitchd.service.wants"}
    assert actions("uninstall", "--root", root) == dict.fromkeys(NAMES, "remove")
    assert [path.name for path in root.glob("etc/**/*") if not path.is_dir()] == ["theirs.service"]
    assert (root / "var/lib/weft/in-inst/store.db").exists()
    assert actions("uninstall", "--root", root) == {}


def test_a_host_that_gives_up_its_store_has_its_units_taken_back(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "root"
    actions("install", file, "--root", root)
    done = actions("install", "--host", "kvm1", "--store", "tcp:10.10.10.9:6640", "--root", root)
    assert done == {
        "weft-store.service": "remove", "weft-controller.service": "remove", "weft-agent.service": "change", "weft-hold.service": "keep",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("FILE", "--store", "tcp:10.0.0.1:6640"), "FILE and --listen are for the host that it runs on"),
        (("FILE", "--host", "kvm9"), "--host kvm9: the file has no such host: it has kvm1"),
        (("--store", "10.0.0.1", "--root", "/tmp"), '"10.0.0.1" is not unix:PATH or tcp:HOST:PORT'),
        (("FILE", "--root", "/proc"), "/proc/var"),
    ],
)
def test_what_cannot_be_installed_is_one_line(file: Path, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    given = [str(file) if word == "FILE" else word for word in words]
    done = weft("install", *given, *([] if "--root" in given else ["--root", str(tmp_path / "root")]))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert said in done.stderr


def test_a_unit_of_our_name_that_somebody_else_made_is_left_alone(tmp_path: Path, file: Path) -> None:
    unit = tmp_path / "root/etc/systemd/system/weft-agent.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    for word in (("install", file), ("uninstall",)):
        done = weft(*word, "--root", tmp_path / "root")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "not of weft install" in done.stderr
    assert unit.read_text() == "[Service]\nExecStart=/bin/true\n"


def test_systemd_takes_the_units_and_says_how_exposed_they_are(tmp_path: Path, file: Path) -> None:
    actions("install", file, "--root", tmp_path)
    paths = sorted((tmp_path / "etc/systemd/system").glob("*.service"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    exposed = {}
    for path in paths:
        told = subprocess.run(["systemd-analyze", "security", "--offline=true", path], capture_output=True, text=True)
        exposed[path.name] = float(re.search(r"exposure level for \S+: ([\d.]+)", told.stdout)[1])  # type: ignore[index]
    assert exposed["weft-store.service"] <= 2.5 and exposed["weft-controller.service"] <= 2.5
    assert exposed["weft-agent.service"] <= 7.5


def confined(machine: Alone, unit: Path) -> None:
    """Starts what a unit starts, with the capabilities that it leaves, no new privileges and no memory that becomes code."""
    text = unit.read_text()
    command = shlex.split(re.search(r"^ExecStart=(.*)$", text, re.M)[1])  # type: ignore[index]
    left = re.search(r"^CapabilityBoundingSet=(.*)$", text, re.M)[1].split()  # type: ignore[index]
    bounded = ",".join(("-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in left)))
    words = ["setpriv", "--no-new-privs", f"--bounding-set={bounded}"]
    if "MemoryDenyWriteExecute=yes" in text:
        words += ["python3", "-c", REFUSE_EXECUTABLE]
    at = f"/var/log/openvswitch/{unit.stem}"
    machine.run(f"setsid sh -c {shlex.quote(f'echo $$ >{at}.pid; exec {shlex.join([*words, *command])}')} >{at}.log 2>&1 </dev/null &")


def test_the_processes_do_their_work_with_what_the_units_leave_them(file: Path) -> None:
    with alone(network=True) as machine:
        assert machine.run(OPEN_VSWITCH) == ""
        assert machine.run(f".venv/bin/weft install {file} --root /var/lib/weft/image >/dev/null") == ""
        machine.run("mv /var/lib/weft/image/var/lib/weft/in-inst /var/lib/weft/")
        folder = Path(f"/proc/{machine.pid}/root/var/lib/weft/image/etc/systemd/system")
        for name in ("weft-store", "weft-controller", "weft-agent"):
            confined(machine, folder / f"{name}.service")
        ping = "ip netns exec weft.in-inst.one ping -q -c 2 -i 0.2 -W 1"
        assert until(lambda: " 0% packet loss" in machine.run(f"{ping} 192.168.122.9")), machine.run("cat /var/log/openvswitch/weft-*.log")
        assert " 0% packet loss" in machine.run(f"{ping} 192.168.122.1")
        assert until(lambda: "two" in machine.run("ip netns exec weft.in-inst.one host two 192.168.122.1"))
        hold = (folder / "weft-hold.service").read_text()
        assert machine.run(re.search(r"^ExecStartPre=(.*)$", hold, re.M)[1]) == ""  # type: ignore[index]
        assert until(lambda: "weft-hold" not in machine.run("ovs-vsctl get Open_vSwitch . external_ids"))
        assert "flow-restore-wait" not in machine.run("ovs-vsctl get Open_vSwitch . other_config")
        machine.run("cd /var/log/openvswitch; kill -9 $(cat weft-agent.pid weft-controller.pid)")
        machine.run("ovs-vsctl add-br br-theirs -- set bridge br-theirs datapath_type=netdev")
        said = machine.run(f"{NO_SYSTEMD} && mkdir /run/systemd/system; {ROOT}/.venv/bin/weft uninstall --unwire --json 2>/dev/null")
        assert json.loads(said) == [{"action": "unwire", "object": "in-inst"}]
        assert machine.run("ovs-vsctl list-br") == "br-theirs\n"
        assert "s.office" not in machine.run("ip link") and "one-eth0" not in machine.run("ip link")


def test_without_systemd_install_is_one_line_and_says_what_works(file: Path) -> None:
    with alone(network=True) as machine:
        said = machine.run(f"{NO_SYSTEMD}; {ROOT}/.venv/bin/weft install {file}")
    assert said == "systemd does not run here: weft up FILE runs without it, weft install --root DIR works on a file system\n"
