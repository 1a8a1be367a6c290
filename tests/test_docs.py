"""Documents say what is so: printed ones are fresh, and what a reader would type exists."""

import re
import shlex

import pytest

from docs.print import differing
from tests.blocks import ROOT, Block, agrees, blocks
from weft.cli.main import COMMANDS
from weft.topology.load import loads
from weft.topology.resolve import resolve

TOOLS = {"apt-get", "cd", "git", "ip", "ovs-vsctl", "sudo", "virsh"}
"""What a reader may be told to type that is not ours."""


def test_printed_documents_are_as_the_code_is() -> None:
    assert [path.name for path in differing()] == [], "run: make docs"


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    assert {block.language for block in blocks()} <= {"console", "sh", "yaml", ""}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_what_a_reader_is_told_to_type_exists(block: Block) -> None:
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        while words and words[0] == "sudo":
            words = words[1:]
        match words:
            case ["make", *names]:
                assert set(names) <= targets(), line
            case [".venv/bin/weft", name, *rest]:
                assert name in COMMANDS, line
                printed = (ROOT / "docs/commands.md").read_text()
                assert [word for word in rest if word.startswith("--") and len(word) > 2 and word not in printed] == [], line
            case [program, *_]:
                assert program in TOOLS or (ROOT / program).exists(), line


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_fabric_file_in_a_document_is_sound(block: Block) -> None:
    if block.text not in {path.read_text() for path in (ROOT / "examples").glob("*.yaml")}:
        resolve(loads(block.text, str(block)), lab=True)


def test_every_link_between_documents_leads_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_three_dots_stand_for_anything_and_nothing_else_does() -> None:
    assert agrees("a ... c\n", "a b\nb c  \n")
    assert agrees("a.b", "a.b")
    assert not agrees("a.b", "acb")
    assert not agrees("a", "a b")
