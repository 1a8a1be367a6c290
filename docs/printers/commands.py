"""docs/commands.md: every command with its arguments and options, from the signatures that typer reads."""

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo, ParameterInfo

from docs.printers.markdown import docstring, printed_from, prose
from weft.cli.main import COMMANDS


def text() -> str:
    parts = [printed_from("cli/"), "# The commands\n", HEAD]
    for name, (module, _) in COMMANDS.items():
        parts += list(commands(f"weft {name}", import_module(module).app))
    return "\n".join(parts)


HEAD = """\
Every reading command takes `--json` (stable keys) and writes tables for people otherwise. Exit codes: 0 done; 1 refused or
failed, the reason on standard error; 2 `plan` found changes. Long-running commands stop cleanly on SIGINT and SIGTERM.
"""


def commands(name: str, app: typer.Typer) -> Iterator[str]:
    """The commands of one `typer.Typer`: the only one by the name of the app, several each by its own."""
    group = app.registered_callback is not None or len(app.registered_commands) > 1
    if group:
        about = app.registered_callback.callback if app.registered_callback else None
        yield f"## {name}\n"
        if about and about.__doc__:
            yield docstring(about) + "\n"
    for command in app.registered_commands:
        function = command.callback
        assert function is not None
        own = command.name or function.__name__.replace("_", "-")
        yield from one(f"### {name} {own}" if group else f"## {name}", f"{name} {own}" if group else name, function)


def one(headline: str, name: str, function: Callable[..., Any]) -> Iterator[str]:
    parameters = [Parameter(*found) for found in declared(function)]
    usage = " ".join([name, *(p.usage for p in parameters if p.usage)])
    yield f"{headline}\n"
    yield f"    {usage}\n"
    yield docstring(function) + "\n"
    if parameters:
        yield "\n".join(f"- `{p.names}`{p.default}{': ' if p.help else ''}{p.help}" for p in parameters) + "\n"


def declared(function: Callable[..., Any]) -> Iterator[tuple[str, Any, ParameterInfo, Any]]:
    """Name, type, what typer is told, default of each parameter that a user can give."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if get_origin(hints[name]) is Annotated:
            kind, *told = get_args(hints[name])
            for info in told:
                if isinstance(info, ParameterInfo) and not info.hidden:
                    yield name, kind, info, parameter.default


class Parameter:
    """One argument or option, in words."""

    def __init__(self, name: str, kind: Any, info: ParameterInfo, default: Any) -> None:
        self.option = isinstance(info, OptionInfo)
        self.kind, self.info, self.given = kind, info, default
        # In Annotated, the first name given to typer.Option or typer.Argument lands in its `default`.
        decls = tuple(word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str))
        self.long = decls or (f"--{name.replace('_', '-')}",)
        self.value = info.metavar or metavar(kind, name)
        self.flag = kind is bool

    @property
    def names(self) -> str:
        if not self.option:
            return self.value
        return ", ".join(self.long) + ("" if self.flag else f" {self.value}")

    @property
    def usage(self) -> str:
        shown = self.long[0] + ("" if self.flag else f" {self.value}") if self.option else self.value
        repeated = "..." if get_origin(self.kind) in (list, tuple) and not shown.endswith("...") else ""
        must = self.given in (inspect.Parameter.empty, ...) or shown.startswith("[")
        return (shown if must else f"[{shown}]") + repeated

    @property
    def default(self) -> str:
        shown = self.given not in (inspect.Parameter.empty, ..., None, False, "") and not isinstance(self.given, list | tuple)
        given = self.given.value if isinstance(self.given, Enum) else self.given
        return f" (default `{given}`)" if shown else ""

    @property
    def help(self) -> str:
        return prose(" ".join((self.info.help or "").split()))


def metavar(kind: Any, name: str) -> str:
    """The word for a value: `FILE` of a path, the choices where they are few, else the parameter's name."""
    if get_origin(kind) in (Union, UnionType):
        kind = next(option for option in get_args(kind) if option is not NoneType)
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(choice.value) for choice in kind)
    if kind is Path:
        return "FILE"
    return name.strip("_").upper().replace("_", "-")


