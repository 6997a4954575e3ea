"""Waiting for the event itself, on a machine of whatever speed."""

from __future__ import annotations

import time
from collections.abc import Callable

from peval.patience import turns


def comes_true(condition: Callable[[], object], within_s: float = 60.0) -> bool:
    """Wait until a condition holds, and say whether it does; time that stood still is not spent."""
    for turn_s in turns(within_s, 0.02):
        if condition():
            return True
        time.sleep(turn_s)
    return bool(condition())
