"""A fabric file as objects for the store, one row each, and back: nothing is lost, neither an order nor a line.

The path of an object is that of its source (``segments/db``, ``guests/web1``, ``overlay``). Its text is JSON: what the file says is
under ``is``; ``lines`` holds how far below its own line the parts of it stand, where they do, and ``place`` tells things on one
line apart.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from weft.topology.document import Document
from weft.topology.load import document
from weft.topology.yaml12 import Path, Tree

MAPS = ("segments", "hosts", "guests", "switches")
NAMED = ("policies", "services", "mirrors")
"""Lists whose items have names."""

Objects = Mapping[str, tuple[str, int]]
"""Path -> JSON text and line."""


def to_objects(source: Document) -> dict[str, tuple[str, int]]:
    """The objects of a document without faults."""
    below: dict[Path, list[Path]] = {}
    for path in source.lines:
        for depth in (1, 2):
            if len(path) > depth:
                below.setdefault(path[:depth], []).append(path)
    places: Counter[tuple[Any, int]] = Counter()
    made = {}
    for name, path, value in _parts(source.data):
        line = source.line(*path)
        key = (path[0], line) if len(path) > 1 else (name, line)
        entry: dict[str, Any] = {"is": value}
        if lines := [[*inner[len(path) :], away] for inner in below.get(path, ()) if (away := source.line(*inner) - line)]:
            entry["lines"] = lines
        if places[key]:
            entry["place"] = places[key]
        places[key] += 1
        made[name] = (json.dumps(entry, separators=(",", ":")), line)
    return made


def said(text: str) -> Any:
    """What the file says of an object, without where."""
    return json.loads(text)["is"]


def from_objects(file: str, objects: Objects) -> Document:
    """The document again. Raises WeftError through `resolve` only where another version of weft wrote the objects."""
    tree = Tree(data={})
    entries = ((path, json.loads(text), line) for path, (text, line) in objects.items())
    for name, entry, line in sorted(entries, key=lambda found: (found[2], found[1].get("place", 0), found[0])):
        path = _put(tree.data, name, entry["is"])
        tree.lines[path] = line
        tree.lines |= {(*path, *inner[:-1]): line + inner[-1] for inner in entry.get("lines", ())}
    return document(file, tree)


def _parts(data: Mapping[str, Any]) -> Iterator[tuple[str, Path, Any]]:
    """Name in the store, path in the file and value of every object."""
    for section, held in data.items():
        if section in MAPS:
            yield from ((f"{section}/{name}", (section, name), value) for name, value in held.items())
        elif section in NAMED:
            yield from ((f"{section}/{value['name']}", (section, place), value) for place, value in enumerate(held))
        else:
            yield section, (section,), held


def _put(data: dict[str, Any], name: str, value: Any) -> Path:
    section, _, key = name.partition("/")
    if section in MAPS:
        data.setdefault(section, {})[key] = value
        return section, key
    if section in NAMED:
        items = data.setdefault(section, [])
        items.append(value)
        return section, len(items) - 1
    data[section] = value
    return (section,)
