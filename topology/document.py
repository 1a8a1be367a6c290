"""A fabric file that was read: what it says, which line says it, and what is wrong with it so far."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from weft.topology.errors import WeftError
from weft.topology.schema import FabricFile
from weft.topology.terms import Source
from weft.topology.yaml12 import Fault, Path

KINDS = {
    "segments": "segment",
    "hosts": "host",
    "guests": "guest",
    "policies": "policy",
    "invariants": "invariant",
    "services": "service",
    "mirrors": "mirror",
    "qos": "qos",
    "switches": "switch",
    "links": "link",
}
"""Sections that hold many of a kind, and the kind's name."""


@dataclass(frozen=True, slots=True)
class Document:
    """The parts of a file that are well formed, as `spec`; the rest is in `faults`, and named in `broken`."""

    file: str
    spec: FabricFile
    data: Mapping[str, Any]
    lines: Mapping[Path, int]
    faults: tuple[Fault, ...] = ()
    broken: frozenset[Path] = frozenset()
    """Objects (``("segments", "lan")``) and sections that are left out of `spec`: nobody is told that they do not exist."""

    def line(self, *path: str | int) -> int:
        """The line of an object, else of what it is in."""
        return self.lines.get(path) or (self.line(*path[:-1]) if path else 1)

    def source(self, *path: str | int) -> Source:
        return Source(self.file, self.line(*path))

    def items(self, section: str) -> Iterator[tuple[Path, Any]]:
        """What a section of `spec` holds, each with its path in the file."""
        held = getattr(self.spec, section)
        if isinstance(held, Mapping):
            return (((section, name), item) for name, item in held.items())
        given = self.data.get(section)
        places = range(len(given)) if isinstance(given, list) else ()
        return zip(((section, place) for place in places if (section, place) not in self.broken), held, strict=False)

    def is_broken(self, section: str, name: str) -> bool:
        return (section, name) in self.broken or (section,) in self.broken


@dataclass(slots=True)
class Faults:
    """What is found wrong with a document, to be said all at once."""

    document: Document
    found: list[Fault] = field(default_factory=list)

    def add(self, path: Path, sentence: str) -> None:
        """`sentence` is about the object at `path`, and stands on the line of the key at `path`."""
        subject, _ = subject_of(path, self.document.data)
        said = f"{subject}: {sentence}" if subject else sentence
        self.found.append(Fault(self.document.line(*path), said))

    def throw(self) -> None:
        """Raises WeftError if there is any fault, with one line for each, in the order of the file."""
        every = sorted({*self.document.faults, *self.found}, key=lambda fault: (fault.line, fault.sentence))
        if every:
            raise WeftError(*(f"{self.document.file}:{fault.line}: {_one_line(fault.sentence)}" for fault in every))


def _one_line(sentence: str) -> str:
    """Whatever the names and values in it are."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in sentence)


def subject_of(path: Path, data: Any) -> tuple[str, Path]:
    """How a sentence calls the object that a path leads into, and the rest of the path within that object."""
    match path:
        case ("guests", str(guest), "nics", int(place), *rest):
            return f'endpoint "{guest}.eth{place}"', tuple(rest)
        case ("hosts", str(host), "uplinks", str(uplink), *rest):
            return f'host "{host}" uplink "{uplink}"', tuple(rest)
        case (str(section), name, *rest) if section in KINDS:
            return f"{KINDS[section]} {_label(data.get(section), name)}", tuple(rest)
        case (str(section), *rest) if rest and section in ("overlay", "monitor", "lab"):
            return section, tuple(rest)
    return "", path


def _label(section: Any, key: str | int) -> str:
    """Items of a list go by their name where they have one, else by their place."""
    if isinstance(section, list) and isinstance(key, int):
        item = section[key]
        name = item.get("name") if isinstance(item, dict) else None
        key = name if isinstance(name, str) else key + 1
    return f'"{key}"' if isinstance(key, str) else str(key)
