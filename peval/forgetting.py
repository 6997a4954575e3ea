"""Was the base's score kept? Said of every whole task, with the task's margin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from peval.metrics import higher_is_better, is_neutral, is_share
from peval.stats import Interval, Verdict, retention
from peval.types import Comparison


def judged(
    comparisons: Iterable[Comparison], margins: Mapping[str, float]
) -> tuple[Comparison, ...]:
    """Return comparisons, those of shares on whole tasks with their verdicts.

    Parameters
    ----------
    margins
        By task, the loss that does not matter. A task that states none has no verdicts.
    """
    return tuple(_judged(c, margins.get(c.task)) for c in comparisons)


def _judged(c: Comparison, margin: float | None) -> Comparison:
    if c.group is not None or margin is None or not is_share(c.metric) or is_neutral(c.metric):
        return c
    return dataclasses.replace(c, margin=margin, retention=verdict(c, margin))


def verdict(c: Comparison, margin: float) -> Verdict | None:
    """Return "kept", "lost" or "undecided"; None where there is no interval."""
    if c.delta is None or c.low is None or c.high is None:
        return None
    gain = Interval(c.delta, c.low, c.high, c.n_items, c.n_clusters)
    if not higher_is_better(c.metric):
        gain = Interval(-c.delta, -c.high, -c.low, c.n_items, c.n_clusters)
    return retention(gain, margin)
