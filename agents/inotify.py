"""Files that change, told by the kernel (inotify(7)), which the standard library does not reach."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

CHANGED = 0x2 | 0x8 | 0x80
"""IN_MODIFY, IN_CLOSE_WRITE and, in a folder, IN_MOVED_TO."""

_libc = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """`fileno` becomes readable when something that is watched changes."""

    def __init__(self) -> None:
        self._notify: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._notify

    def hush(self) -> None:
        """Forgets what was said."""
        with suppress(BlockingIOError):
            while os.read(self._notify, 1 << 16):
                pass

    def watch(self, path: Path) -> None:
        """A file or a folder, where it is there. Twice is once: the same one has one watch."""
        if path.exists():
            _libc.inotify_add_watch(self._notify, bytes(path), CHANGED)
