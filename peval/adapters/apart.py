"""Files from strangers are tried in a process of its own, where they can break nothing of ours."""

from __future__ import annotations

import subprocess
import sys

_WALL_S = 60.0  # what a program may take is CPU time: a machine may be busy


def complaint(program: str, *arguments: str, text: str = "") -> str:
    """Return what a program prints, which says what is wrong; "" where nothing is.

    ``text`` is its standard input. It limits its own memory and CPU time.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", program, *arguments], capture_output=True,
            input=text.encode("utf-8", "replace"), timeout=_WALL_S, env={}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"does not end within {_WALL_S:g} s"
    if child.returncode:
        return "takes too much time or memory"
    return child.stdout.decode("utf-8", "replace").strip()
