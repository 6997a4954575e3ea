"""Running the way of a program often enough before any is forked.

The interpreter rewrites a function's code as it learns what it does, and notes each attribute that
it looked up: in a forked process every page so written is copied once more.
"""

from __future__ import annotations

import socket
import sys

from .candidate import MODULE
from .candidate import serve as serve_program
from .channel import Channel

N_ROUNDS = 64
PROGRAM = '''
import math
from typing import Any, List, Optional


def f(xs: List[Any], n: int = 0, text: Optional[str] = None):
    """Use what most programs use."""
    out, seen, found = [], {}, set()
    for i, x in enumerate(sorted(xs)):
        seen[x] = seen.get(x, 0) + 1
        out.append(x * n + i % 2 - n // 3)
        found.add(x)
        if x in seen and not out[-1] > max(n, 1):
            continue
    out.extend([len(out), sum(out), min(xs), abs(-n), int("1"), round(1.5)])
    out.sort(reverse=True)
    words = (text or "").lower().strip().upper().split(" ")
    parts = "".join([c for c in str(n) if c.isdigit()]).replace("1", "2") + ",".join(words)
    return out, list(seen.items()), math.sqrt(n), list(zip(xs, out)), parts[::-1], tuple(found)
'''


def warm_up() -> None:
    """Load and call a program of our own many times, as `candidate.serve` does for others."""
    for _ in range(N_ROUNDS):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            tests = Channel(ours)
            tests.send({"n": "0" * 16, "op": "load", "code": PROGRAM, "name": "f"})
            call = {"n": "0" * 16, "op": "call", "of": 0, "kw": {}}
            tests.send({**call, "args": [[3, 1, 2], 4, "a b"]})
            ours.shutdown(socket.SHUT_WR)
            serve_program(Channel(theirs))
            answers = [tests.receive() for _ in range(2)]
    del sys.modules[MODULE]
    if not all("value" in answer for answer in answers):
        raise RuntimeError(f"the program to warm up with does not run: {answers}")
