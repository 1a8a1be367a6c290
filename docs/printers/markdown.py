"""The little Markdown that printed documents are made of, and the docstrings they are made from."""

import ast
import inspect
import itertools
from collections.abc import Iterable, Sequence
from types import ModuleType


def printed_from(source: str) -> str:
    return f"<!-- Printed from {source} by `make docs`; do not edit. -->\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *([cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def docstring(thing: object) -> str:
    return prose(inspect.getdoc(thing) or "")


def prose(text: str) -> str:
    """Docstrings write code as ``code``, Markdown as `code`."""
    return inspect.cleandoc(text).replace("``", "`")


def attribute_docs(module: ModuleType) -> dict[str, str]:
    """What stands under each module-level assignment: name -> docstring."""
    return docs_under(ast.parse(inspect.getsource(module)).body)


def class_docs(module: ModuleType) -> dict[str, dict[str, str]]:
    """Class -> attribute -> what stands under it."""
    body = ast.parse(inspect.getsource(module)).body
    return {node.name: docs_under(node.body) for node in body if isinstance(node, ast.ClassDef)}


def docs_under(body: list[ast.stmt]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node, below in itertools.pairwise(body):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            for name in names_bound(node):
                found[name] = prose(below.value.value)
    return found


def names_bound(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
