"""Intervals of means over items: scores, paired differences, win rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from peval.stats.units import Clusters, Floats, Ints, units

CONFIDENCE = 0.95
QUANTILE = 0.5 + CONFIDENCE / 2
INTERVAL = "wilson-jackknife-t95"
ROUNDING = 1e-12
"""Scores no further apart are alike but for the last bits."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; `n_clusters` is what the width rests on."""

    value: float
    low: float
    high: float
    n_items: int
    n_clusters: int


def mean_interval(values: Sequence[float] | Floats, clusters: Clusters) -> Interval:
    """Return the mean of scores in [0, 1] over items, with its interval.

    Parameters
    ----------
    values
        Scores, shape (n_items,), n_items >= 1.
    clusters
        The cluster of each item, same length.

    Notes
    -----
    Wilson's score interval, which stays within [0, 1] and never has width 0, with as many trials
    as would give a proportion the standard error that these scores have (Franco et al.), and
    Student's t at G - 1 degrees of freedom in place of the normal quantile. The mean of items is
    a ratio of cluster totals; its standard error is the jackknife's over clusters, and no less
    than that over items, as clusters can agree by chance. For items that score 0 or 1 it is
    Wilson's own interval; where all scores are alike, clusters are the trials.

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212; Franco, Little, Louis and Slud, J. Surv. Stat.
    Methodol. 7 (2019) 334-364.
    """
    x, index = np.asarray(values, dtype=float), units(clusters)
    n_units, p = int(index.max()) + 1, float(x.mean())
    if n_units < 2:
        return Interval(p, 0.0, 1.0, len(x), n_units)
    binary_items = n_units == len(x) and bool(np.all((x == 0) | (x == 1)))
    if binary_items or np.ptp(x) <= ROUNDING:
        low, high = wilson_bounds(p, n_units)
    else:
        quantile = _t(n_units - 1, QUANTILE)
        variance = (reach(x, index, QUANTILE) / quantile) ** 2
        low, high = wilson_bounds(p, p * (1 - p) / variance, quantile)
    return Interval(p, low, high, len(x), n_units)


def difference_interval(differences: Sequence[float] | Floats, clusters: Clusters) -> Interval:
    """Return the mean of paired differences in [-1, 1] with its interval; as `mean_interval`.

    Where items that score 0 or 1 are the sample, the interval is Bonett and Price's adjusted one
    for paired proportions. Where all differences are alike (none among them), the share of items
    that could be otherwise unseen (Wilson's upper bound of none) bounds the mean on both sides.

    References
    ----------
    Bonett and Price, J. Educ. Behav. Stat. 37 (2012) 479-488.
    """
    d, index = np.asarray(differences, dtype=float), units(clusters)
    interval = _t_interval(d, index)
    if interval.n_clusters < 2:
        return _within(interval, -1.0)
    binary_items = interval.n_clusters == len(d) and bool(np.all(np.isin(d, (-1, 0, 1))))
    if d.any() and binary_items:
        interval = _bonett_price(d)
    elif np.ptp(d) <= ROUNDING:
        _, unseen = wilson_bounds(0.0, interval.n_clusters)
        mean = interval.value
        interval = replace(
            interval, low=mean - unseen * (1 + mean), high=mean + unseen * (1 - mean)
        )
    return _within(interval, -1.0)


def amount_interval(values: Sequence[float] | Floats, clusters: Clusters) -> Interval:
    """Return the mean of amounts, which have no upper bound and are never less than 0.

    Student's t with the jackknife's standard error, as in `mean_interval`, cut off at 0. Bounds are
    infinite where there is one amount, or all are alike: then nothing shows how far they vary.
    """
    x = np.asarray(values, dtype=float)
    found = _t_interval(x, units(clusters))
    if np.ptp(x) <= ROUNDING * abs(found.value):
        return replace(found, low=-np.inf, high=np.inf)
    return replace(found, low=max(0.0, found.low))


def standard_error(x: Floats, index: Ints) -> float:
    """Return the jackknife's standard error of the mean over units, or infinity for one unit."""
    n, n_units = len(x), int(index.max()) + 1
    if n_units < 2:
        return float(np.inf)
    totals, sizes = np.bincount(index, weights=x), np.bincount(index)
    without = (totals.sum() - totals) / (n - sizes)
    return float(((n_units - 1) / n_units * ((without - x.mean()) ** 2).sum()) ** 0.5)


def reach(x: Floats, index: Ints, *quantiles: float) -> float:
    """Return the sum of t quantiles times the standard error; over items where that is wider."""
    n, n_units = len(x), int(index.max()) + 1
    if n_units < 2:
        return float(np.inf)
    widest = sum(_t(n_units - 1, q) for q in quantiles) * standard_error(x, index)
    if n_units < n:
        alone = sum(_t(n - 1, q) for q in quantiles) * float(x.std(ddof=1)) / n**0.5
        return float(max(widest, alone))
    return float(widest)


def wilson_bounds(p: float, n: float, z: float | None = None) -> tuple[float, float]:
    """Return the bounds of Wilson's score interval for a share `p` of `n` trials."""
    from scipy.special import ndtri

    z = float(ndtri(QUANTILE)) if z is None else z
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    # Rounding must not push a bound past the mean that it bounds.
    return float(min(p, max(0.0, centre - half))), float(max(p, min(1.0, centre + half)))


def _t(df: int, quantile: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, quantile))


def _t_interval(x: Floats, index: Ints) -> Interval:
    """Return the mean of `x` with the t interval of the jackknife over units."""
    mean, half = float(x.mean()), reach(x, index, QUANTILE)
    return Interval(mean, mean - half, mean + half, len(x), int(index.max()) + 1)


def _bonett_price(d: Floats) -> Interval:
    """Return the interval of a difference of two proportions on the same items."""
    from scipy.special import ndtri

    n = len(d)
    gained, lost = ((np.count_nonzero(d == sign) + 1) / (n + 2) for sign in (1, -1))
    centre = gained - lost
    half = float(ndtri(QUANTILE)) * ((gained + lost - centre**2) / (n + 2)) ** 0.5
    return Interval(float(d.mean()), centre - half, centre + half, n, n)


def _within(interval: Interval, lowest: float) -> Interval:
    """Keep the bounds in [lowest, 1]."""
    return replace(interval, low=max(lowest, interval.low), high=min(1.0, interval.high))
