"""How many threads a process has, asked of the kernel: no limit on resources binds root's."""

from __future__ import annotations

import os


def open_proc() -> int:
    """Return a descriptor of `/proc`, which lasts when the root is changed; -1 for none."""
    try:
        return os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1


def count(proc: int, pidfd: int) -> int:
    """Return a process's number of threads; 0 if it has ended or there is no `/proc`."""
    try:
        with open(os.open(f"self/fdinfo/{pidfd}", os.O_RDONLY, dir_fd=proc)) as info:  # noqa: PTH123
            pid = next((line.split()[1] for line in info if line.startswith("Pid:")), "-1")
        # Its own number in the process namespace that `proc` shows, not in ours.
        return os.stat(f"{pid}/task", dir_fd=proc).st_nlink - 2
    except OSError:
        return 0
