"""The units of weft on this machine, or in a file system that is to become one (``systemctl --root``)."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from weft.agents.files import write_whole
from weft.cli.units import FIRST, HELD, NAMES
from weft.topology.errors import WeftError

FOLDER = Path("/etc/systemd/system")
Done = list[tuple[str, str]]
"""What was done (`add`, `change`, `remove`, `keep`, `start`, `stop`) with what."""


class Systemd:
    """Below `root`. `live`: it is this machine, and what is brought is started too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.live = root.resolve() == Path("/")

    def check(self, word: str) -> None:
        """Raises WeftError where units cannot be installed."""
        if os.geteuid():
            raise WeftError(f"weft {word} needs root: units, bridges and Open vSwitch belong to it")
        if self.live and not Path("/run/systemd/system").is_dir():  # sd_booted(3)
            raise WeftError(f"systemd does not run here: weft up FILE runs without it, weft {word} --root DIR works on a file system")
        if shutil.which("systemctl") is None:
            raise WeftError("systemctl is not installed: apt install systemd")

    def below(self, path: Path) -> Path:
        return self.root / path.relative_to("/")

    def found(self) -> dict[str, str]:
        """Units of ours that are there, with their text. Raises WeftError for one of our names that somebody else made."""
        there = {name: path.read_text() for name in NAMES if (path := self.below(FOLDER / name)).is_file()}
        for name, text in there.items():
            if not text.startswith(FIRST):
                raise WeftError(f"{self.below(FOLDER / name)} is there and not of weft install: rename or remove it")
        return there

    def bring(self, units: Mapping[str, str]) -> Done:
        """Makes these the units of ours, and runs them from now on."""
        before = self.found()
        done = list(self._remove(sorted(before.keys() - units.keys())))
        for name, text in units.items():
            path = self.below(FOLDER / name)
            if before.get(name) == text:
                done.append(("keep", str(path)))
                continue
            _write(path, text)
            done.append(("change" if name in before else "add", str(path)))
        self._systemctl("enable", *units)
        if self.live:
            self._systemctl("daemon-reload")
            changed = {Path(path).name for action, path in done if action in ("add", "change")}
            for name in units:
                if name != HELD:
                    self._systemctl("restart" if name in changed else "start", name)
                    done.append(("start", name))
        return done

    def take_back(self) -> Done:
        """Ends and removes every unit of ours."""
        return list(self._remove(sorted(self.found())))

    def _remove(self, names: list[str]) -> Iterator[tuple[str, str]]:
        if not names:
            return
        if self.live:
            self._systemctl("stop", *names)
            yield from (("stop", name) for name in names)
        self._systemctl("disable", *names)
        for name in names:
            path = self.below(FOLDER / name)
            path.unlink(missing_ok=True)
            yield "remove", str(path)
        if self.live:
            self._systemctl("daemon-reload")

    def _systemctl(self, *words: str) -> None:
        where = [] if self.live else [f"--root={self.root}"]
        done = subprocess.run(["systemctl", *where, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or "failed").splitlines()[0]
            raise WeftError(f"systemctl {' '.join(words)}: {said}")


def _write(path: Path, text: str) -> None:
    """Whole or not at all. Raises WeftError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise WeftError(f"{path}: {(error.strerror or str(error)).lower()}") from None
