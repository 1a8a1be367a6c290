"""Every `console` block of the documents is run, in order, and prints what it says."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import pytest

from tests.blocks import ROOT, agrees, blocks, steps

pytestmark = pytest.mark.real

DOCUMENTS = list(dict.fromkeys(block.document for block in blocks("console")))
ENVIRONMENT = os.environ | {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "120", "LANG": "C.UTF-8"}

ALONE = """
trap '' CHLD
mkdir -p /run/weft /run/netns
mount -t tmpfs weft /run/weft
mount -t tmpfs netns /run/netns
echo ready
exec sleep infinity
"""
"""The first process where documents are run: it ignores SIGCHLD, so that the kernel buries what is left to it."""


@pytest.fixture
def alone() -> Iterator[int]:
    """A process whose mount and process namespaces see no other lab of this machine; all that was started there ends with it."""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-c", ALONE]
    with subprocess.Popen(unshare, stdout=subprocess.PIPE, text=True) as keeper:
        try:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == "ready\n"
            yield int(Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text())
        finally:
            keeper.kill()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_prints_what_it_says(document: str, alone: int) -> None:
    for block in blocks("console"):
        if block.document == document:
            for step in steps(block):
                printed = run(step.command, alone)
                assert agrees(step.output, printed), f"{block}: $ {step.command}\n{printed}"
    assert run("ls /run/weft; ip netns list", alone) == ""


def run(command: str, where: int) -> str:
    """What a reader sees who types this in the checkout: both streams, in the order they come."""
    shell = ["nsenter", "--target", str(where), "--mount", "--pid", "--root", "bash", "-c", f"cd {quote(str(ROOT))}\n{command}"]
    done = subprocess.run(shell, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    return done.stdout
