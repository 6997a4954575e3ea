"""Means over strata that are all there is, such as the tasks of a group: each counts alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peval.stats.intervals import (
    QUANTILE,
    ROUNDING,
    Interval,
    difference_interval,
    wilson_bounds,
)
from peval.stats.paired import Test, paired_test
from peval.stats.units import Floats

FEW_ITEMS = 6


def stratified_interval(strata: Sequence[Floats]) -> Interval:
    """Return the mean of the strata's means of scores in [0, 1], with its interval.

    Only the items of each stratum were drawn, so its variance is that of the strata's means. The
    interval is Wilson's with as many trials as would give a proportion that variance, and Student's
    t at Welch's degrees of freedom; where the scores of every stratum are alike, every item is a
    trial.

    Parameters
    ----------
    strata
        Scores, one array of shape (n_items,) for each stratum, n_items >= 1.
    """
    from scipy.special import stdtrit

    value, error, freedom = _mean(strata)
    n_items = sum(map(len, strata))
    if n_items == 1:
        return Interval(value, 0.0, 1.0, n_items, n_items)
    if error > 0:
        quantile = float(stdtrit(freedom, QUANTILE))
        low, high = wilson_bounds(value, value * (1 - value) / error**2, quantile)
    else:
        low, high = wilson_bounds(value, n_items)
    return Interval(value, low, high, n_items, n_items)


def stratified_difference(strata: Sequence[Floats]) -> tuple[Interval, Test]:
    """Return the mean of the strata's mean paired differences, its interval and a t test of 0.

    Variances within the strata are estimated, each by itself, so the degrees of freedom are those
    of Welch and Satterthwaite. Where every stratum is one item, or none varies within itself, there
    is no variance within strata to rest on: items are then tested as a sample of their own.

    Parameters
    ----------
    strata
        Paired differences in [-1, 1], one array of shape (n_items,) for each stratum.

    References
    ----------
    Welch, The generalization of "Student's" problem when several different population variances
    are involved, Biometrika 34 (1947).
    """
    from scipy.special import stdtr, stdtrit

    value, error, freedom = _mean(strata)
    together = np.concatenate(strata)
    n_items = len(together)
    if error == 0 or n_items == len(strata):
        items = list(map(str, range(n_items)))
        alone = difference_interval(together, items)
        shift = value - alone.value
        low, high = max(-1.0, alone.low + shift), min(1.0, alone.high + shift)
        return Interval(value, low, high, n_items, n_items), paired_test(together, items)
    half = float(stdtrit(freedom, QUANTILE)) * error
    interval = Interval(value, max(-1.0, value - half), min(1.0, value + half), n_items, n_items)
    return interval, Test(2 * float(stdtr(freedom, -abs(value) / error)), "stratified t")


def _mean(strata: Sequence[Floats]) -> tuple[float, float, float]:
    """Return the mean of means, its standard error, and the error's degrees of freedom.

    Few items of a stratum can be alike by chance, so theirs is no less than the variance within all
    strata together. That of a single item is also no less than its distance to the mean of all.
    """
    sizes = np.array(list(map(len, strata)))
    means = np.array([x.mean() for x in strata])
    n, value = len(strata), float(means.mean())
    squares = np.array([((x - x.mean()) ** 2).sum() for x in strata])
    n_free = max(1, int((sizes - 1).sum()))
    pooled = squares.sum() / n_free / sizes
    apart = (means - value) ** 2 * n / max(1, n - 1)
    own = np.where(sizes > 1, squares / np.maximum(sizes - 1, 1) / sizes, apart)
    borrows = (own < pooled) & ((sizes < FEW_ITEMS) | (squares <= ROUNDING))
    variances = np.where(borrows, pooled, own)
    freedoms = np.where(borrows, n_free, np.where(sizes > 1, sizes - 1, max(1, n - 1)))
    total, spread = variances.sum(), (variances**2 / freedoms).sum()
    return value, float(np.sqrt(total)) / n, float(total**2 / spread) if spread > 0 else 0.0
