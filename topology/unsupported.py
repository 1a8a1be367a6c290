"""What a fabric file may say and weft does not do yet: refused, never ignored."""

from collections.abc import Iterator

from weft.topology.document import Document, Faults
from weft.topology.yaml12 import Path

LATER = "not supported yet"

_SECTIONS = ("invariants", "switches", "links")


def refuse_unsupported(document: Document, faults: Faults) -> None:
    for path, what in _found(document):
        faults.add(path, what)


def _found(document: Document) -> Iterator[tuple[Path, str]]:
    spec = document.spec
    if spec.overlay.type == "stt":
        yield ("overlay", "type"), "stt is in no maintained kernel: use geneve"
    for section in _SECTIONS:
        for path, _ in document.items(section):
            yield path, LATER
