"""Files that are whole or not there, whenever this process is killed."""

import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, text: str, durable: bool = False, mode: int | None = None) -> None:
    """The old contents or the new ones, also where the power goes if `durable`; `mode`: as chmod(2) has it. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("w") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if mode is not None:
            fresh.chmod(mode)
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
