"""What systemd-resolved was told for one link alone, name servers and domains (resolvectl(1)), carried to another link.

A link without an address is asked nothing, so what is left at the first one does no harm, and is there when the addresses return.
"""

import subprocess
from contextlib import suppress
from pathlib import Path

from weft.topology.errors import WeftError

NAME = "systemd-resolve"
"""As its process is called: 15 characters of it."""
KINDS = ("dns", "domain", "default-route")


def runs_here(proc: Path = Path("/proc")) -> bool:
    """In this network namespace: in another one, a link of the same number is another link."""
    here = (proc / "self/ns/net").readlink()
    for comm in proc.glob("[0-9]*/comm"):
        with suppress(OSError):
            if comm.read_text().strip() == NAME and (comm.parent / "ns/net").readlink() == here:
                return True
    return False


def carry(source: str, target: str) -> None:
    """Does nothing where it does not run, or knows nothing of the source. Raises WeftError."""
    if not runs_here():
        return
    told = {kind: _resolvectl(kind, source) for kind in KINDS}
    if told["dns"] or told["domain"]:
        for kind, words in told.items():
            _resolvectl(kind, target, *words)


def _resolvectl(kind: str, link: str, *words: str) -> list[str]:
    """What it says behind ``Link 3 (nic0):``."""
    done = subprocess.run(["resolvectl", kind, link, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WeftError(f"resolvectl {kind} {link}: {done.stderr.strip() or 'failed'}")
    return done.stdout.partition("):")[2].split()
