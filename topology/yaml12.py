"""YAML text to plain data, with the line of every node: libyaml's parser, and the scalars of YAML 1.2's core schema.

So `no` is text, `0o17` a number and `12:30:45` text (YAML 1.2.2, 10.3.2). Keys said twice are found, tags and recursion refused.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from weft.topology.errors import WeftError

Path = tuple[str | int, ...]
"""Keys and indices from the top of the file to a node."""

MOST_NODES = 500_000
"""Beyond this, aliases of aliases would eat the memory."""
MOST_NESTED = 100

_WORDS = dict.fromkeys(("", "~", "null", "Null", "NULL")) | {
    word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAYBE_NUMBER = frozenset("+-.0123456789")
_PLAIN = "plain"
_QUOTED = "tag:yaml.org,2002:str"
_MAP, _LIST = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and the line it stands on."""

    line: int
    sentence: str


@dataclass(slots=True)
class Tree:
    """What a text holds. A key's line is where the key stands, an item's where the item begins."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0


class _Loader(yaml.CSafeLoader):
    """libyaml's parser; a plain scalar is only marked as such, for `_scalar` to read."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return _MAP if kind is yaml.MappingNode else _LIST


def parse(text: str, file: str) -> Tree:
    """Raises WeftError where the text is not YAML; what is only wrong with its nodes is in the tree's `faults`."""
    _refuse_depth(text, file)
    try:
        node = yaml.compose(text, _Loader)
    except yaml.YAMLError as error:
        raise WeftError(_syntax(error, text, file)) from None
    tree = Tree()
    if node is not None:
        tree.data = _plain(node, (), tree, ())
    return tree


def _refuse_depth(text: str, file: str) -> None:
    """PyYAML's binding recurses without a guard of its own: 100,000 brackets, or as many dashes, end the process."""
    depth, line = 0, 1
    for found in re.finditer(r"[\[\]{}\n]|^ *(?:[-?:] +){50}|^ {1000}", text, re.MULTILINE):
        sign = found[0]
        line += sign == "\n"
        depth += 1 if sign in "[{" else -1 if sign in "]}" else 0
        if depth > MOST_NESTED or len(sign) > MOST_NESTED:
            raise WeftError(f"{file}:{line}: more than {MOST_NESTED} levels deep")


def _syntax(error: yaml.YAMLError, text: str, file: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    if mark is None:
        return f"{file}: not YAML: {problem}"
    if "another document" in problem:
        problem = "a second document begins here, a fabric file is one"
    if text[mark.index : mark.index + 1] == "\t":
        problem = "a tab, where YAML wants spaces"
    if problem.startswith("did not find expected"):
        problem += " (look at the indentation and the brackets)"
    return f"{file}:{mark.line + 1}: not YAML: {problem}"


def _plain(node: yaml.Node, path: Path, tree: Tree, above: tuple[int, ...]) -> Any:
    line = node.start_mark.line + 1
    tree.nodes += 1
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, line, tree)
    if id(node) in above or len(above) > MOST_NESTED or tree.nodes > MOST_NODES:
        _fault(tree, line, "aliases make this endless" if id(node) in above or tree.nodes > MOST_NODES else "too many levels deep")
        return None
    if node.tag not in (_MAP, _LIST):
        _fault(tree, line, f'tags such as "{_short(node.tag)}" are not used here')
    above = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        return [_item(child, (*path, place), tree, above) for place, child in enumerate(node.value)]
    assert isinstance(node, yaml.MappingNode)
    return _map(node, path, tree, above)


def _item(node: yaml.Node, path: Path, tree: Tree, above: tuple[int, ...]) -> Any:
    tree.lines[path] = node.start_mark.line + 1
    return _plain(node, path, tree, above)


def _map(node: yaml.MappingNode, path: Path, tree: Tree, above: tuple[int, ...]) -> dict[Any, Any]:
    data: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            _fault(tree, line, "a key is a word, not a list or a map")
            continue
        key = _scalar(key_node, line, tree)
        if key.__class__ is not str and key.__class__ is not int:
            key = key_node.value
        inner = (*path, key)
        if key in data:
            _fault(tree, line, f'"{key}" is said twice, first on line {tree.lines[inner]}')
            continue
        tree.lines[inner] = line
        data[key] = _plain(value_node, inner, tree, above)
    return data


def _scalar(node: yaml.ScalarNode, line: int, tree: Tree) -> Any:
    text: str = node.value
    if node.tag == _QUOTED:
        return text
    if node.tag != _PLAIN:
        _fault(tree, line, f'tags such as "{_short(node.tag)}" are not used here')
        return text
    if text[:1] in _MAYBE_NUMBER:
        return _number(text)
    return _WORDS.get(text, text)


def _number(text: str) -> Any:
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    return float(text.replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(text.lower()) else text


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _fault(tree: Tree, line: int, sentence: str) -> None:
    fault = Fault(line, sentence)
    if fault not in tree.faults:
        tree.faults.append(fault)
