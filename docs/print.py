"""Print the documents that are made from code, or with --check say which of them differ from it (exit code 1).

    python -m docs.print [--check]
"""

import sys
from collections.abc import Callable
from pathlib import Path

from docs.printers import commands, fabric_file, pipeline, store

DOCS = Path(__file__).parent
PRINTED: dict[str, Callable[[], str]] = {
    "commands.md": commands.text,
    "fabric-file.md": fabric_file.text,
    "pipeline.md": pipeline.text,
    "store.md": store.text,
}


def fresh() -> dict[Path, str]:
    """What every printed document should say now."""
    return {DOCS / name: printed() for name, printed in PRINTED.items()}


def differing() -> list[Path]:
    return [path for path, text in fresh().items() if not path.exists() or path.read_text() != text]


def main(*arguments: str) -> int:
    if arguments == ("--check",):
        stale = [path.relative_to(DOCS.parent) for path in differing()]
        for path in stale:
            print(f"{path} differs from the code it is printed from: make docs", file=sys.stderr)
        return 1 if stale else 0
    for path in (texts := fresh()):
        path.write_text(texts[path])
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
