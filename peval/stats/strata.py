"""Means over strata that are all there is, such as the tasks of a group: each counts alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peval.stats.intervals import QUANTILE, Interval, wilson_bounds
from peval.stats.paired import Test
from peval.stats.units import Floats


def stratified_interval(strata: Sequence[Floats]) -> Interval:
    """Return the mean of the strata's means of scores in [0, 1], with its interval.

    Only the items of each stratum were drawn, so its variance is that of the strata's means. The
    interval is Wilson's with as many trials as would give a proportion that variance; where all
    scores of all strata are alike, every item is a trial.

    Parameters
    ----------
    strata
        Scores, one array of shape (n_items,) for each stratum, n_items >= 1.
    """
    value, error = _mean(strata)
    n_items = sum(map(len, strata))
    trials = value * (1 - value) / error**2 if error > 0 else float(n_items)
    low, high = wilson_bounds(value, trials) if trials > 0 else (0.0, 1.0)
    return Interval(value, low, high, n_items, n_items)


def stratified_difference(strata: Sequence[Floats]) -> tuple[Interval, Test]:
    """Return the mean of the strata's mean paired differences, its interval and a z test of 0."""
    from scipy.special import ndtr, ndtri

    value, error = _mean(strata)
    half = float(ndtri(QUANTILE)) * error
    n_items = sum(map(len, strata))
    p_value = 2 * float(ndtr(-abs(value) / error)) if error > 0 else float(value == 0)
    interval = Interval(value, max(-1.0, value - half), min(1.0, value + half), n_items, n_items)
    return interval, Test(p_value, "stratified z")


def _mean(strata: Sequence[Floats]) -> tuple[float, float]:
    """Return the mean of means and its standard error; a stratum of one item adds none."""
    means = [float(x.mean()) for x in strata]
    variances = [float(np.var(x, ddof=1)) / len(x) if len(x) > 1 else 0.0 for x in strata]
    return float(np.mean(means)), float(np.sqrt(sum(variances))) / len(strata)
