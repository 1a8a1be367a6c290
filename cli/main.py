"""The one command `weft`. Each subcommand lives in a module of its own, imported when it is called and not before."""

import gc
import sys
from importlib import import_module, metadata
from typing import Annotated, Any

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
    "guest": ("weft.cli.guest", "Plug a guest of libvirt into a segment, or unplug it, live."),
    "libvirt": ("weft.cli.libvirt", "What libvirt gets of a fabric: its networks, and the XML of guests' NICs."),
    "topology": ("weft.cli.topology", "The fabric as a graph."),
    "lab": ("weft.cli.lab", "The whole fabric on this one machine, hosts and guests as namespaces."),
    "up": ("weft.cli.up", "Store, controller and agent of one real host in one go."),
    "install": ("weft.cli.install", "Have systemd run store, controller and agent of this host."),
    "uninstall": ("weft.cli.uninstall", "Take back what `install` did."),
    "controller": ("weft.cli.controller", "Run the OpenFlow controller."),
    "agent": ("weft.cli.agent", "Run the agent of one host."),
    "store": ("weft.cli.store", "Run the store."),
    "doctor": ("weft.cli.doctor", "What this host can and cannot do, each failure with its mend."),
}
"""Name -> (module with a `typer.Typer` called `app`, one line for `weft --help`), in the order of the help."""

LATER = {"confirm", "run", "trace"}

Refusal: Any = typer.BadParameter.__mro__[2]
"""What typer raises for words that it does not understand: it makes only this descendant public."""


class Lazy(typer.core.TyperGroup):
    """A group that imports a subcommand's module when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in LATER:
            raise WeftError(f"weft {cmd_name}: not supported yet")
        if cmd_name not in COMMANDS:
            return None
        module, summary = COMMANDS[cmd_name]
        if len(sys.argv) < 2 or cmd_name not in sys.argv:  # only its line in the help is asked for
            return typer.core.TyperCommand(cmd_name, help=summary)
        command = typer.main.get_command(import_module(module).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Lazy,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"weft {metadata.version('weft')}")
        raise typer.Exit


@app.callback()
def weft(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    """An OpenFlow controller and host agent for KVM hosts: one file says what the network of all hosts should be."""


LASTING = {"up", "controller", "agent"}
"""Commands that run on."""


def main() -> None:
    """Run `weft`; a WeftError becomes its lines on standard error and exit code 1, and so do words that nobody understands."""
    if not LASTING & set(sys.argv[1:2]):
        gc.disable()  # the others end before their garbage matters: a third of the time that a file of 500 guests takes
    try:
        sys.exit(app(standalone_mode=False))
    except WeftError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        sys.exit(1)
    except Refusal as error:
        if line := in_a_line(error):
            print(line, file=sys.stderr)
        sys.exit(1 if line else 0)
    except KeyboardInterrupt:
        sys.exit(130)
    except (BrokenPipeError, typer.Abort):
        sys.exit(1)


def in_a_line(error: Any) -> str:
    """Which command did not understand what, and where it says what it does; empty where it was called bare, and has shown its help."""
    command = error.ctx.command_path if getattr(error, "ctx", None) else "weft"
    said = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    return f"{command}: {said[0].lower()}{said[1:]}{' ' if said[-1] in '?)' else '. '}See {command} --help" if said else ""


if __name__ == "__main__":
    main()
