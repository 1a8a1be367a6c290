"""From a fabric file to a `Document`: read, parsed, validated, every error kept with its line."""

from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from weft.topology.complaints import complaints
from weft.topology.document import KINDS, Document
from weft.topology.errors import WeftError
from weft.topology.model import Fabric
from weft.topology.resolve import resolve
from weft.topology.schema import FabricFile
from weft.topology.yaml12 import Path, Tree, parse


def load_fabric(path: str, lab: bool = False) -> Fabric:
    """The fabric that a file describes. Raises WeftError with one line for everything that is wrong with it."""
    return resolve(load(path), lab)


def load(path: str) -> Document:
    """Reads a file. Raises WeftError where it cannot be read or is not YAML; what else is wrong is in the document's `faults`."""
    return loads(_text(path), path)


def loads(text: str, file: str) -> Document:
    """The same for a text; `file` is what its lines are called."""
    tree = parse(text, file)
    if tree.data is None and not tree.faults:
        raise WeftError(f'{file}: empty: a fabric file begins with "fabric: NAME"')
    if not isinstance(tree.data, dict):
        raise WeftError(f'{file}:1: not a map: a fabric file begins with "fabric: NAME"')
    return document(file, tree)


def document(file: str, tree: Tree) -> Document:
    """Validates what a text held. Objects that are wrong are left out, so that the others are looked at all the same."""
    data: dict[str, Any] = {key: value for key, value in tree.data.items() if value is not None or key not in FabricFile.model_fields}
    faults, broken = list(tree.faults), set[Path]()
    try:
        return Document(file, FabricFile.model_validate(data), data, tree.lines, tuple(faults))
    except ValidationError as error:
        for path, fault in complaints(error, data, tree.lines):
            faults.append(fault)
            broken.add(_object(path))
    sound = FabricFile.model_validate(_without(data, broken))
    return Document(file, sound, data, tree.lines, tuple(faults), frozenset(broken))


def _text(path: str) -> str:
    try:
        return FilePath(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise WeftError(f"{path}:{line}: not UTF-8") from None
    except OSError as error:
        raise WeftError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _object(path: Path) -> Path:
    """The smallest thing that can be left out when something under `path` is wrong."""
    return path[:2] if path[0] in KINDS else path[:1]


def _without(data: dict[str, Any], broken: set[Path]) -> dict[str, Any]:
    """`data` less its broken objects."""
    sound: dict[str, Any] = {"fabric": "unnamed"}  # in case its own name is broken
    for section, value in data.items():
        if (section,) in broken:
            continue
        if isinstance(value, dict) and section in KINDS:
            sound[section] = {name: inner for name, inner in value.items() if (section, name) not in broken}
        elif isinstance(value, list):
            sound[section] = [inner for place, inner in enumerate(value) if (section, place) not in broken]
        else:
            sound[section] = value
    return sound

