"""The wheel, installed as a user installs it: a Python environment of its own that has no checkout."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.test_house import copy

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def weft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of such an environment. The libraries are those of the checkout's: installing them again is pip's matter and not ours."""
    folder = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, copy(folder)], check=True, timeout=120)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=60)
    (wheel,) = folder.glob("weft-*.whl")
    subprocess.run([*pip, "--python", folder / "env/bin/python", "install", "--no-deps", wheel], check=True, timeout=60)
    return folder / "env/bin/weft"


def run(weft: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Its libraries by PYTHONPATH, which reads no .pth file: the checkout itself, installed in place beside them, is not found."""
    environment = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}
    return subprocess.run([weft, *map(str, words)], capture_output=True, text=True, timeout=60, env=environment, cwd="/")


def test_it_runs_from_where_it_was_installed(weft: Path) -> None:
    where = run(weft.with_name("python"), "-c", "import weft.cli.main as main; print(main.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(weft.parents[1])
    assert run(weft, "--version").stdout.startswith("weft 0.")


def test_the_doctor_runs(weft: Path) -> None:
    done = run(weft, "doctor", "--json")
    assert {"kernel", "Open vSwitch", "datapath"} <= {finding["about"] for finding in json.loads(done.stdout)}


def test_install_makes_units_that_run_this_very_command(weft: Path, tmp_path: Path) -> None:
    done = run(weft, "install", "--host", "kvm1", "--root", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/weft/default.yaml").exists()
    units = [path.read_text() for path in (tmp_path / "etc/systemd/system").glob("weft-[acs]*.service")]
    assert len(units) == 3 and all(f"ExecStart={weft} " in text for text in units)
