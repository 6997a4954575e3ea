"""How well scores tell members from non-members: curves, and points on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from peval.stats import Interval, mean_interval

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.05)
MAX_POINTS = 400

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def roc(scores: Floats, is_member: Bools) -> tuple[Floats, Floats]:
    """Return false and true positive rates from (0, 0) to (1, 1), one point per distinct score."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], is_member[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true, false = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    return (
        np.concatenate([[0.0], false / max(1, (~hits).sum())]),
        np.concatenate([[0.0], true / max(1, hits.sum())]),
    )


def curve(scores: Floats, is_member: Bools) -> list[list[float]]:
    """Return a ROC curve's corners, evenly thinned where there are many, as [false, true] rates."""
    false, true = roc(scores, is_member)
    corner = np.ones(len(false), dtype=bool)
    corner[1:-1] = ~(
        ((false[1:-1] == false[:-2]) & (false[1:-1] == false[2:]))
        | ((true[1:-1] == true[:-2]) & (true[1:-1] == true[2:]))
    )
    at = np.flatnonzero(corner)
    kept = at[np.unique(np.linspace(0, len(at) - 1, MAX_POINTS).astype(int))]
    points: list[list[float]] = np.column_stack([false[kept], true[kept]]).tolist()
    return points


def is_meaningful(rate: float, n_non_members: int) -> bool:
    """Tell whether a false-positive rate can be seen: one false positive must not exceed it."""
    return n_non_members * rate >= 1


def tpr_at(scores: Floats, is_member: Bools, rate: float) -> Interval:
    """Return the highest true-positive rate at a false-positive rate of at most ``rate``.

    The interval is Wilson's over members, for the threshold that these scores gave.
    """
    false, true = roc(scores, is_member)
    value = float(true[false <= rate + 1e-12].max())
    n = int(is_member.sum())
    caught = np.zeros(n)
    caught[: round(value * n)] = 1
    return mean_interval(caught, [str(i) for i in range(n)])


def balanced_accuracy(scores: Floats, is_member: Bools) -> Interval:
    """Return the balanced accuracy at the best threshold, found on the other half of the records.

    Every second record of each kind makes a half, so that no record is judged by a threshold that
    it helped to find: the value is 0.5 on average where scores say nothing.

    Notes
    -----
    The interval joins Wilson's of both rates (Newcombe's hybrid method).
    """
    half = np.empty(len(scores), dtype=int)
    for kind in (is_member, ~is_member):
        half[kind] = np.arange(kind.sum()) % 2
    right = np.empty(len(scores))
    for number in (0, 1):
        mine, other = half == number, half != number
        threshold = best_threshold(scores[other], is_member[other])
        right[mine] = (scores[mine] >= threshold) == is_member[mine]
    rates = [_rate(right[kind]) for kind in (is_member, ~is_member)]
    value = sum(r.value for r in rates) / 2
    down = sum((r.value - r.low) ** 2 for r in rates) ** 0.5 / 2
    up = sum((r.high - r.value) ** 2 for r in rates) ** 0.5 / 2
    return Interval(value, max(0.0, value - down), min(1.0, value + up), len(scores), len(scores))


def best_threshold(scores: Floats, is_member: Bools) -> float:
    """Return the score from which on calling a record a member is right most often, balanced."""
    false, true = roc(scores, is_member)
    ranked = np.unique(scores)[::-1]
    best = int(np.argmax(true - false))
    if best == 0:
        return float(np.inf)
    if best == len(ranked):
        return float(ranked[-1])
    return float((ranked[best - 1] + ranked[best]) / 2)


def _rate(right: Floats) -> Interval:
    return mean_interval(right, [str(i) for i in range(len(right))])


def gap_interval(pair: tuple[Sequence[float], Sequence[float]]) -> Interval:
    """Return the difference of the means of two sets of shares (Newcombe's hybrid method).

    References
    ----------
    Newcombe, Stat. Med. 17 (1998) 873-890.
    """
    one, two = (mean_interval(x, [str(i) for i in range(len(x))]) for x in pair)
    value = one.value - two.value
    down = ((one.value - one.low) ** 2 + (two.high - two.value) ** 2) ** 0.5
    up = ((one.high - one.value) ** 2 + (two.value - two.low) ** 2) ** 0.5
    n = one.n_items + two.n_items
    return Interval(value, max(-1.0, value - down), min(1.0, value + up), n, n)
