"""Limits of time that hold on a machine which is busy, or stands still for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(cpu_s: float) -> Iterator[None]:
    """Allow so much CPU time, ours and that of the processes that we waited for."""
    before_s = sum(os.times()[:4])
    yield
    assert sum(os.times()[:4]) - before_s < cpu_s
