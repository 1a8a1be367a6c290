"""Every `console` block of the documents is run, in order, and prints what it says."""

import os
import re
import subprocess

import pytest

from tests.blocks import ROOT, agrees, blocks, steps
from tests.real.labs import leftovers, weft

pytestmark = pytest.mark.real

DOCUMENTS = list(dict.fromkeys(block.document for block in blocks("console")))
ENVIRONMENT = os.environ | {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "120", "LANG": "C.UTF-8"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_prints_what_it_says(document: str) -> None:
    labs = set(re.findall(r"^fabric: (\S+)", "".join(path.read_text() for path in (ROOT / "examples").glob("*.yaml")), re.MULTILINE))
    try:
        for block in blocks("console"):
            if block.document == document:
                for step in steps(block):
                    printed = run(step.command)
                    assert agrees(step.output, printed), f"{block}: $ {step.command}\n{printed}"
    finally:
        for fabric in labs:
            if leftovers(fabric):
                weft("lab", "down", fabric)
    assert [left for fabric in labs for left in leftovers(fabric)] == []


def run(command: str) -> str:
    """What a reader sees in the checkout: both streams, in the order they come."""
    shell = ["bash", "-c", command]
    return subprocess.run(
        shell, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    ).stdout
