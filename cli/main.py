"""The one command `weft`. Each subcommand lives in a module of its own, imported when it is called and not before."""

import sys
from importlib import import_module
from typing import Any

import typer
import typer.core
import typer.main

from weft.topology.errors import WeftError

COMMANDS = {
    "check": ("weft.cli.check", "Read, validate and compile a fabric file; touch nothing."),
    "plan": ("weft.cli.plan", "Say what `apply` would change: intent, flows per switch, actions per host."),
    "apply": ("weft.cli.apply", "Make it so."),
    "show": ("weft.cli.show", "What is, beside what should be."),
    "why": ("weft.cli.why", "Which line of which file made this flow."),
    "topology": ("weft.cli.topology", "The fabric as a graph."),
    "lab": ("weft.cli.lab", "The whole fabric on this one machine, hosts and guests as namespaces."),
    "up": ("weft.cli.up", "Store, controller and agent of one real host in one go."),
    "controller": ("weft.cli.controller", "Run the OpenFlow controller."),
    "agent": ("weft.cli.agent", "Run the agent of one host."),
    "store": ("weft.cli.store", "Run the store."),
    "doctor": ("weft.cli.doctor", "What this host can and cannot do, each failure with its mend."),
}
"""Name -> (module with a `typer.Typer` called `app`, one line for `weft --help`), in the order of the help."""


class Lazy(typer.core.TyperGroup):
    """A group that imports a subcommand's module when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, summary = COMMANDS[cmd_name]
        if len(sys.argv) < 2 or cmd_name not in sys.argv:  # only its line in the help is asked for
            return typer.core.TyperCommand(cmd_name, help=summary)
        command = typer.main.get_command(import_module(module).app)
        command.name = cmd_name
        return command


app = typer.Typer(cls=Lazy, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def weft() -> None:
    """An OpenFlow controller and host agent for KVM hosts: one file says what the network of all hosts should be."""


def main() -> None:
    """Run `weft`; a WeftError becomes its lines on standard error and exit code 1."""
    try:
        app()
    except WeftError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
