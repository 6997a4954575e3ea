"""Emptying the directory that a program wrote into, whatever it left there."""

from __future__ import annotations

import os
import stat


def empty(directory: str) -> None:
    """Remove everything in `directory`, however deep.

    Subdirectories are moved to the top before they are emptied, so that neither recursion nor
    the length of a path nor the number of descriptors grows with the depth.
    """
    while entries := _entries(directory):
        for entry in entries:
            path = f"{directory}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                os.chmod(path, stat.S_IRWXU)  # noqa: PTH101
                _lift(path, directory)
                os.rmdir(path)  # noqa: PTH106
            else:
                os.unlink(path)  # noqa: PTH108


def _entries(directory: str) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return list(entries)


def _lift(path: str, directory: str) -> None:
    for entry in _entries(path):
        inner = f"{path}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            os.chmod(inner, stat.S_IRWXU)  # noqa: PTH101
            # A name that the program, dead by now, cannot have guessed and taken.
            os.rename(inner, f"{directory}/.{os.urandom(16).hex()}")  # noqa: PTH104
        else:
            os.unlink(inner)  # noqa: PTH108


def exceeds(directory: str, max_bytes: int, max_entries: int) -> bool:
    """Say whether `directory` holds more than it may."""
    n_bytes = n_entries = 0
    waiting = [directory]
    while waiting:
        try:
            entries = _entries(waiting.pop())
            n_entries += len(entries)
            for entry in entries:
                n_bytes += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
        except OSError:
            # It vanished, or its path is too long; neither hides many bytes from the next look.
            n_entries += 100
        if n_bytes > max_bytes or n_entries > max_entries:
            return True
    return False
