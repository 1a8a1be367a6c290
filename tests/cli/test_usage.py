"""What `weft` says to words that it does not understand, and to those that ask for help."""

import subprocess
import sys
from pathlib import Path

import pytest

from weft.cli.main import COMMANDS, LATER

WEFT = str(Path(sys.executable).with_name("weft"))
SHOP = str(Path(__file__).parents[2] / "examples/shop.yaml")


def weft(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((WEFT, *words), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("plan", "missing argument 'FILE'. See weft plan --help"),
        ("plan --jsn x", "no such option: --jsn (Possible options: --json) See weft plan --help"),
        ("show guests hosts", "unexpected extra argument"),
        ("lab upp", "Did you mean 'up'? See weft lab --help"),
        ("frobnicate", "no such command 'frobnicate'. See weft --help"),
        ("apply x --wait soon", "'--wait'"),
        ("apply x --wait -1", "'--wait'"),
        ("topology --format png", "text, json, dot, svg"),
        ("agent --store tcp:127.0.0.1:1 --log loud", "debug, info, warning, error"),
        ("controller --store bogus", "unix:PATH or tcp:HOST:PORT"),
        ("show --store tcp:host:port", "unix:PATH or tcp:HOST:PORT"),
        (f"up {SHOP} --host kvm1 --log loud", "debug, info, warning, error"),
        ("why 12", "names no cookie"),
    ],
)
def test_words_that_nobody_understands_are_refused_in_one_line(words: str, said: str) -> None:
    done = weft(*words.split())
    assert done.returncode == 1, "2 is a plan with changes"
    assert done.stderr.count("\n") == 1 and said in done.stderr and done.stdout == ""


@pytest.mark.parametrize("words", [*sorted(LATER), "apply x --confirm 60s", "topology --format mermaid"])
def test_what_is_not_built_yet_says_so(words: str) -> None:
    done = weft(*words.split())
    assert done.returncode == 1 and done.stderr.endswith("not supported yet\n") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", ["", "-h", "--help", "lab", *(f"{name} --help" for name in COMMANDS)])
def test_help_is_an_answer(words: str) -> None:
    done = weft(*words.split())
    assert done.returncode == 0 and "Usage: weft" in done.stdout and done.stderr == ""
    assert "completion" not in done.stdout


def test_the_version_is_said() -> None:
    assert weft("--version").stdout.startswith("weft ")
