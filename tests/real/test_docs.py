"""Every `console` block of the documents is run, in order, and prints what it says."""

import pytest

from tests.blocks import agrees, blocks, steps
from tests.real.alone import alone

pytestmark = pytest.mark.real

DOCUMENTS = list(dict.fromkeys(block.document for block in blocks("console")))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_prints_what_it_says(document: str) -> None:
    with alone() as reader:
        for block in blocks("console"):
            if block.document == document:
                for step in steps(block):
                    printed = reader.run(step.command)
                    assert agrees(step.output, printed), f"{block}: $ {step.command}\n{printed}"
        assert reader.run("ls /run/weft; ip netns list") == ""
