"""AUROC with an interval: how well a score tells members from others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from peval.stats.intervals import QUANTILE, Interval
from peval.stats.units import Clusters, Floats, Ints, units

FEW_UNITS = 6


def auroc_interval(
    scores: Sequence[float] | Floats,
    positive: Sequence[bool] | NDArray[np.bool_],
    clusters: Clusters,
) -> Interval:
    """Return the chance that a positive scores above a negative (ties count half).

    Parameters
    ----------
    scores, positive, clusters
        One of each per item; both kinds of items must be there.

    Notes
    -----
    DeLong's variance, summed within clusters as Obuchowski does, on the logit scale with
    Student's t. Positives and negatives are two samples, so the degrees of freedom are Welch's; of
    clusters, one less than hold the rarer kind. Where all positives lie on one side of all
    negatives that variance is 0, and where one item or cluster holds all of a kind it says nothing
    of that kind: the score interval with Hanley and McNeil's variance stands in (Newcombe's method
    5).

    Raises
    ------
    ValueError
        If there are no positives or no negatives.

    References
    ----------
    DeLong et al., Biometrics 44 (1988) 837-845; Obuchowski, Biometrics 53 (1997) 567-578;
    Newcombe, Stat. Med. 25 (2006) 559-573.
    """
    x, is_positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    n_positive, n_negative = int(is_positive.sum()), int((~is_positive).sum())
    if not n_positive or not n_negative:
        raise ValueError("AUROC needs positives and negatives")
    index = units(clusters)
    n_units = int(index.max()) + 1
    below = (_ranks(x) - _ranks_within(x, is_positive)) / np.where(
        is_positive, n_negative, n_positive
    )
    value = float(below[is_positive].mean())
    share = np.where(is_positive, below - value, (1 - below) - value)
    error, freedom = _standard_error(share, is_positive, index)
    m, n = _count(index, is_positive), _count(index, ~is_positive)
    low, high = _newcombe(value, m, n)
    if error > 0 and freedom > 0 and value not in (0.0, 1.0):
        own = _logit_bounds(value, error, freedom)
        few = min(m, n) < FEW_UNITS
        low, high = (min(low, own[0]), max(high, own[1])) if few else own
    return Interval(value, low, high, len(x), n_units)


def _ranks(x: Floats) -> Floats:
    """Return ranks from 1, those of equals averaged."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _ranks_within(x: Floats, is_positive: NDArray[np.bool_]) -> Floats:
    """Return each item's rank among the items of its own kind."""
    ranks = np.empty(len(x))
    for kind in (is_positive, ~is_positive):
        ranks[kind] = _ranks(x[kind])
    return ranks


def _standard_error(
    share: Floats, is_positive: NDArray[np.bool_], index: Ints
) -> tuple[float, float]:
    """Return the standard error from each item's deviation, summed within units, and its df.

    The degrees of freedom are 0 where one unit holds all of a kind.
    """
    n_units = int(index.max()) + 1
    least = min(_count(index, is_positive), _count(index, ~is_positive))
    n_own = np.where(is_positive, is_positive.sum(), (~is_positive).sum())
    if n_units == len(share):  # DeLong: each kind has its own n - 1
        parts = share**2 / (n_own * np.maximum(n_own - 1, 1))
        each = [(parts[kind].sum(), kind.sum()) for kind in (is_positive, ~is_positive)]
        total, spread = parts.sum(), sum(v**2 / max(n - 1, 1) for v, n in each)
        freedom = total**2 / spread if least > 1 and spread else 0.0
        return float(total**0.5), float(freedom)
    totals = np.bincount(index, weights=share / n_own)
    return float((n_units / (n_units - 1) * (totals**2).sum()) ** 0.5), float(least - 1)


def _logit_bounds(value: float, error: float, df: float) -> tuple[float, float]:
    from scipy.special import stdtrit

    half = float(stdtrit(df, QUANTILE)) * error / (value * (1 - value))
    centre = float(np.log(value / (1 - value)))
    return float(1 / (1 + np.exp(half - centre))), float(1 / (1 + np.exp(-half - centre)))


def _count(index: Ints, mask: NDArray[np.bool_]) -> int:
    """Return how many units hold such items."""
    return len(np.unique(index[mask]))


def _newcombe(value: float, m: int, n: int) -> tuple[float, float]:
    """Return the AUROCs that lie just within z standard errors of the one observed."""
    from scipy.special import ndtri

    z, halfway = float(ndtri(QUANTILE)), (m + n) / 2 - 1

    def excess(a: float) -> float:
        spread = 1 + halfway * (1 - a) / (2 - a) + halfway * a / (1 + a)
        return abs(value - a) - z * float((a * (1 - a) * spread / (m * n)) ** 0.5)

    def edge(inside: float, outside: float) -> float:
        if excess(outside) <= 0:
            return outside
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if excess(middle) > 0 else (middle, outside)
        return inside

    return edge(value, 0.0), edge(value, 1.0)
