"""A worker's scratch directory, gone when the worker's process group is, whatever ended it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from peval.patience import turns

_MEMORY = Path("/dev/shm")
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Scratch:
    """A name that nobody else has, under which files may lie in memory or on disk."""

    name: str

    def place(self, n_bytes: int) -> Path:
        """Return a directory with room: in memory if that leaves half of it free, else on disk."""
        memory, disk = self._places()
        roomy = memory.parent.is_dir() and shutil.disk_usage(memory.parent).free > 2 * n_bytes
        chosen = memory if roomy else disk
        chosen.mkdir(mode=0o700, exist_ok=True)
        return chosen

    def remove(self) -> None:
        """Remove all that lies there, trying again while a dying process still writes."""
        for turn_s in turns(_PATIENCE_S, 0.05):
            if not any(place.exists() for place in self._places()):
                return
            for place in self._places():
                shutil.rmtree(place, ignore_errors=True)
            time.sleep(turn_s)

    def _places(self) -> tuple[Path, Path]:
        return _MEMORY / self.name, Path(tempfile.gettempdir()) / self.name


def new_scratch() -> Scratch:
    """Return a scratch directory's name; nothing is made yet."""
    return Scratch(f"peval-{os.getpid()}-{secrets.token_hex(6)}")


def fork_cleaner(scratch: Scratch, other_fds: Iterable[int]) -> int:
    """Fork a small process, outside this group, that removes a scratch directory in the end.

    Returns
    -------
    int
        A file descriptor to be left with the guard alone: the end comes when that is dead.
    """
    watch, alarm = os.pipe()
    if os.fork():
        os.close(watch)
        return alarm
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for fd in {0, 1, 2, alarm, *other_fds}:
        os.close(fd)
    os.read(watch, 1)
    scratch.remove()
    os._exit(0)
