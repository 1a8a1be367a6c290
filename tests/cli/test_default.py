"""The fabric of `weft up` without a file."""

from pathlib import Path

import pytest

from weft.cli.default import default_file, host_name
from weft.topology.errors import WeftError
from weft.topology.load import load


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("kvm1", "kvm1"), ("KVM1.example.org", "kvm1"), ("node_7", "node-7"), ("7up", "h-7up"), ("", "h"), ("host", "h-host"),
        ("x" * 40, "x" * 32), ("-a-", "a"), ("localhost", "localhost"),
    ],
)  # fmt: skip
def test_a_machine_has_a_name_that_a_file_can_say(hostname: str, name: str) -> None:
    assert host_name(hostname) == name


def test_the_file_is_made_once_and_then_belongs_to_its_user(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "default.yaml"
    assert load(str(default_file("kvm1", file))).spec.segments["default"].uplink == "host"
    file.write_text("fabric: mine\n")
    assert default_file("kvm1", file).read_text() == "fabric: mine\n"


def test_where_it_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("")
    with pytest.raises(WeftError, match=r"default\.yaml: "):
        default_file("kvm1", tmp_path / "etc" / "default.yaml")
