"""Waiting by turns: a machine that stood still, or a process that was stopped, has not waited."""

from __future__ import annotations

import time
from collections.abc import Iterator


def turns(patience_s: float, longest_s: float = 1.0) -> Iterator[float]:
    """Yield how long to wait at a time, until so many seconds have been waited for in all.

    A turn counts for no more than it was given, however late its end is noticed: whoever is waited
    for may have stood still as long.
    """
    left_s = patience_s
    while left_s > 0:
        turn_s = min(left_s, longest_s)
        started_s = time.monotonic()
        yield turn_s
        left_s -= min(time.monotonic() - started_s, turn_s)
