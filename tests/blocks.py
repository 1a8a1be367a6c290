"""The code blocks of the documents people wrote, and what is run or looked at in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.print import PRINTED

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in PRINTED),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Step:
    """A command of a `console` block and what is printed below it; ``...`` stands for anything."""

    command: str
    output: str


def blocks(*languages: str) -> list[Block]:
    return [block for path in DOCUMENTS for block in blocks_of(path) if not languages or block.language in languages]


def blocks_of(path: Path) -> Iterator[Block]:
    text = path.read_text()
    for found in FENCE.finditer(text):
        yield Block(str(path.relative_to(ROOT)), text.count("\n", 0, found.start()) + 1, found[1], found[2])


def steps(block: Block) -> list[Step]:
    """Lines that begin with ``$`` are commands; what stands before the first is not looked at."""
    found = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [Step(command, output) for command, _, output in (part.partition("\n") for part in found)]


def agrees(said: str, printed: str) -> bool:
    """Whether a command printed what a document says, but for ``...`` and the space at the ends of lines."""
    pattern = re.escape(tidy(said)).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, tidy(printed), re.DOTALL) is not None


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
