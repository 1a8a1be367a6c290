"""What pydantic finds wrong with a fabric file, said in the user's words."""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from weft.topology.document import subject_of
from weft.topology.schema import FabricFile
from weft.topology.yaml12 import Fault, Path

_KINDS = {
    "string_type": "is not text",
    "bool_type": "is not true or false",
    "int_type": "is not a whole number",
    "list_type": "is not a list",
    "tuple_type": "is not a list",
    "dict_type": "is not a map",
    "model_type": "is not a map",
}
_SINGULAR = {"subnets": "subnet", "nics": "NIC", "forwards": "forward", "routes": "route", "tags": "tag", "labels": "label"}
_SHOWN = 40
_ADDRESS = re.compile(r"[0-9a-fA-F:.]*[:.][0-9a-fA-F:./]*")


def complaints(error: ValidationError, data: Any, lines: dict[Path, int]) -> Iterator[tuple[Path, Fault]]:
    """Every fault and the path of the key it is about."""
    for problem in error.errors(include_url=False, include_context=True):
        place, about_key = _in_file(problem["loc"], data)
        missing = problem["type"] == "missing"
        path = place[:-1] if missing else place
        subject, rest = subject_of(path, data)
        said = _key_sentence(problem, place) if about_key else _sentence(problem, place, rest, data)
        line = next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), 1)
        yield place, Fault(line, f"{subject}: {said}" if subject else said)


def _in_file(loc: tuple[str | int, ...], data: Any) -> tuple[Path, bool]:
    """pydantic's location less what is not in the file: the forms of a union, the place of a single thing in a list."""
    place: list[str | int] = []
    at = data
    for step in loc:
        if isinstance(at, dict):
            if step in at:
                at = at[step]
            elif step == "[key]" or str(step).startswith("="):
                continue
            else:
                at = None  # a key that is missing
        elif isinstance(at, list) and isinstance(step, int):
            at = at[step]
        else:
            continue
        place.append(step)
    return tuple(place), loc[-1] == "[key]"


def _key_sentence(problem: Any, place: Path) -> str:
    key = place[-1]
    if problem["type"] == "string_type":
        return f'the name {key} is not text: write "{key}" in quotes'
    return f'the name "{key}" {_complaint(problem)}' if isinstance(key, str) else f"{key} {_complaint(problem)}"


def _sentence(problem: Any, place: Path, rest: Path, data: Any) -> str:
    kind, given = problem["type"], problem["input"]
    if kind == "missing":
        return f"{_words(rest)} needs {place[-1]}" if rest else f'"{place[-1]}" is missing'
    if kind in ("extra_forbidden", "invalid_key"):
        return _unknown(place, rest, data)
    if given is None:
        return f"{_words(rest) or 'it'} is empty"
    complaint = _complaint(problem)
    if kind == "literal_error":
        complaint += suggestion(given, [word.strip("' ") for word in problem["ctx"]["expected"].replace(" or ", ",").split(",")])
    if isinstance(given, dict | list):
        return f"{_words(rest)} {complaint}".strip()
    if kind in ("list_type", "tuple_type"):
        complaint += f": write [{given}]"
    if kind == "string_type":
        complaint += f': write "{given}" in quotes' if isinstance(given, int | float) and not isinstance(given, bool) else ""
    return f"{_words(rest)} {shown(given)} {complaint}".strip()


def _complaint(problem: Any) -> str:
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "literal_error":
        return f"is not {problem['ctx']['expected']}".replace("'", "")
    return _KINDS.get(problem["type"], "cannot be used")


def _unknown(place: Path, rest: Path, data: Any) -> str:
    within = f" in {_words(rest[:-1])}" if len(rest) > 1 else ""
    return f'unknown key "{place[-1]}"{within}{suggestion(place[-1], _keys_at(place[:-1]))}'


def suggestion(given: Any, known: Iterable[str]) -> str:
    """``, did you mean "vlan"?`` where something known is close; else nothing."""
    close = get_close_matches(str(given).lower(), list(known), n=1, cutoff=0.6)
    return f', did you mean "{close[0]}"?' if close else ""


def shown(given: Any) -> str:
    """A value as a sentence quotes it: numbers and addresses bare, words in quotes, long ones cut."""
    if isinstance(given, bool):
        return str(given).lower()
    text = str(given)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    bare = not isinstance(given, str) or _ADDRESS.fullmatch(text)
    return text if bare else f'"{text}"'


def _words(rest: Path) -> str:
    """``("forwards", 0, "listen")`` as ``forward listen``."""
    steps = [*rest, None]
    return " ".join(_SINGULAR.get(step, step) if isinstance(steps[n + 1], int) else step for n, step in enumerate(rest) if isinstance(step, str))


def _keys_at(place: Path) -> list[str]:
    """The keys a map at this place may have, of all its forms."""
    shapes: list[Any] = [FabricFile]
    for step in place:
        shapes = [inner for shape in shapes for inner in _step(shape, step)]
    return [name for shape in shapes for name in _file_keys(shape)]


def _file_keys(shape: Any) -> Iterator[str]:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        for name, field in shape.model_fields.items():
            yield field.validation_alias if isinstance(field.validation_alias, str) else name


def _step(shape: Any, step: str | int) -> Iterator[Any]:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        for name, field in zip(_file_keys(shape), shape.model_fields.values(), strict=True):
            if name == step:
                yield from _forms(field.annotation)
    elif get_origin(shape) is dict:
        yield from _forms(get_args(shape)[1])
    elif get_origin(shape) is tuple and isinstance(step, int):
        yield from _forms(get_args(shape)[0])


def _forms(shape: Any) -> Iterator[Any]:
    """A union's members, without what annotates them."""
    if hasattr(shape, "__metadata__"):
        yield from _forms(shape.__origin__)
    elif get_origin(shape) in (dict, tuple, None) or isinstance(shape, type):
        yield shape
    else:
        for member in get_args(shape):
            yield from _forms(member)
