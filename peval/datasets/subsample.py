"""Seeded subsamples."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

Record = TypeVar("Record")


def choose(records: Sequence[Record], n: int, source: random.Random) -> list[Record]:
    """Return ``n`` records as ``source`` draws them; all, untouched, where there are no more.

    As in allenai/open-instruct (``eval/*/run_eval.py``), which draws nothing when everything is
    kept: one source may serve several lists in turn, so the order of the calls matters.
    """
    if len(records) <= n:
        return list(records)
    return source.sample(list(records), n)
