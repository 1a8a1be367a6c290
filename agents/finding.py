"""What `weft doctor` finds, and where it looks: a host is a file system below a folder, and programs that are asked."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["ok", "warning", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `fail`: weft cannot work here; `warning`: something it offers is not to be had here, or will not work as meant."""

    about: str
    verdict: Verdict
    found: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """A host that is looked at. `root` is ``/``, or a folder that holds the same files."""

    root: Path = Path("/")
    path: str | None = None
    """Where programs are looked for; None: as everywhere."""

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        """Of a file; empty where there is none."""
        try:
            return self.at(path).read_text(errors="replace").strip()
        except OSError:
            return ""

    def program(self, name: str) -> str | None:
        return shutil.which(name, path=self.path)

    def runs(self, *command: str) -> bool:
        done = self._run(*command)
        return done is not None and done.returncode == 0

    def output(self, *command: str) -> str:
        """What a program says; empty where it fails."""
        done = self._run(*command)
        return done.stdout if done is not None and done.returncode == 0 else ""

    def _run(self, *command: str) -> subprocess.CompletedProcess[str] | None:
        program = self.program(command[0])
        if program is None:
            return None
        try:
            return subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=5, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
