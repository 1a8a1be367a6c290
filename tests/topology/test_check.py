"""`weft check` and `weft topology`, as a user meets them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.topology.sound import SOUND
from weft.topology.load import load_fabric

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


def weft(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from weft.cli.main import main; sys.argv[0] = 'weft'; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(SOUND.replace("  db1: {host: kvm2", "  db1: {host: kvm2"))
    (tmp_path / "bad.yaml").write_text(SOUND.replace("vlan: 5", "vlan: 5000").replace("10.0.9.5", "10.0.9.4"))
    return tmp_path


def test_a_good_file_gets_one_line(folder):
    (folder / "good.yaml").write_text(SOUND.replace("  lan: {mode: bridged, uplink: physnet, vlan: 5}\n", ""))
    done = weft("check", "good.yaml", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good.yaml: 2 hosts, 2 segments, 2 guests, nothing wrong\n", "")


def test_what_is_hardly_meant_is_a_warning(folder):
    done = weft("check", "shop.yaml", cwd=folder)
    assert done.returncode == 0
    assert done.stdout == "shop.yaml: 2 hosts, 3 segments, 2 guests, 1 warning\n"
    assert done.stderr == 'shop.yaml:6: segment "lan": no guest is in it\n'


def test_a_bad_file_gets_its_lines_on_standard_error_and_exit_code_1(folder):
    done = weft("check", "bad.yaml", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        'bad.yaml:6: segment "lan": vlan 5000 is not 1-4094',
        'bad.yaml:11: endpoint "db1.eth0": ip 10.0.9.4 is already that of "web1.eth1"',
    ]


def test_programs_get_the_same_keys_for_good_and_bad(folder):
    good, bad = (weft("check", "--json", file, cwd=folder) for file in ("shop.yaml", "bad.yaml"))
    assert (good.returncode, bad.returncode) == (0, 1)
    assert json.loads(good.stdout).keys() == json.loads(bad.stdout).keys()
    assert (json.loads(good.stdout)["guests"], len(json.loads(bad.stdout)["errors"])) == (2, 2)


def test_a_fabric_is_drawn_in_every_format(folder):
    assert weft("topology", "shop.yaml", cwd=folder).stdout.startswith("shop\n")
    assert json.loads(weft("topology", "shop.yaml", "--json", cwd=folder).stdout)["graph"] == {"name": "shop"}
    assert weft("topology", "shop.yaml", "--format", "dot", cwd=folder).stdout.startswith('digraph "shop" {')


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_sound_for_real_hosts_and_for_a_lab(path):
    assert load_fabric(str(path)).name == load_fabric(str(path), lab=True).name == path.stem
