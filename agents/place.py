"""Where an agent works."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from weft.agents.reach import Address


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent works."""

    host: str
    store: str
    ovsdb: str
    folder: Path
    """Open vSwitch's run directory."""
    state: Path
    """Where it keeps what it was told (`weft.agents.keep`), and how to put the host back (`weft.agents.deadman`)."""
    controller: str | None = None
    """Overrides where the store says that the controller listens."""
    within: float = 30.0
    """Seconds in which the store has to answer again after a change of how the host is reached."""
    reachable: tuple[Address, ...] = ()
    """Who has to answer as well."""


def link_below(folder: Path, path: Path) -> Path:
    """A path below `folder` that leads to `path`: itself, or a symbolic link."""
    if path.is_relative_to(folder):
        return path
    link = folder / "weft-controller.sock"
    if not link.is_symlink() or link.readlink() != path:
        fresh = folder / f".weft-{os.getpid()}"
        fresh.symlink_to(path)
        fresh.replace(link)
    return link


def this_host() -> str:
    return socket.gethostname().partition(".")[0]
