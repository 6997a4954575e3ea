"""Files from strangers are tried in a process of its own, where they can break nothing of ours."""

from __future__ import annotations

import subprocess
import sys


def complaint(program: str, *arguments: str, text: str = "", timeout_s: float, late: str) -> str:
    """Return what a program prints, which says what is wrong; "" where nothing is.

    ``text`` is its standard input; ``late`` is said where it does not end in time.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", program, *arguments], capture_output=True,
            input=text.encode("utf-8", "replace"), timeout=timeout_s, env={}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return late
    if child.returncode:
        return "takes too much time or memory"
    return child.stdout.decode("utf-8", "replace").strip()
