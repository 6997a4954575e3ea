"""What could have been found: without it, "no difference found" says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peval.stats.intervals import ROUNDING, difference_interval, reach
from peval.stats.units import Clusters, Floats, units

POWER = 0.8


def minimum_detectable_effect(
    differences: Sequence[float] | Floats, clusters: Clusters, alpha: float = 0.05
) -> float:
    """Return the true mean difference that would be found in 80 % of repetitions.

    Parameters
    ----------
    differences, clusters
        The paired differences that were seen, for their spread.
    alpha
        The level of the two-sided test; 0.05 / m in a family of m tests.

    Notes
    -----
    The sum of Student's t quantiles at 1 - alpha / 2 and at 0.8, times the standard error
    (Miller, arXiv 2411.00640, section 5). At most 1, the widest difference that scores in
    [0, 1] can have: 1 says that nothing could have been found, as where even all clusters
    differing one way would be no more than chance (the sign-flip test's p-value is at least
    2 to the power of 1 - G). Items that score 0 or 1 have to differ in so many places that
    McNemar's test can find them, whatever their spread: no less is promised. Of fewer than ten
    clusters or so the sign-flip test finds somewhat less than Student's.
    """
    from scipy.special import betaincinv

    d, index = np.asarray(differences, dtype=float), units(clusters)
    if 2.0 ** -int(index.max()) > alpha:
        return 1.0
    if np.ptp(d) <= ROUNDING:
        # No spread was seen; what could be otherwise unseen is the least that can be promised.
        interval = difference_interval(d, clusters)
        found = max(interval.high - interval.value, interval.value - interval.low)
    else:
        found = reach(d, index, 1 - alpha / 2, POWER)
    if int(index.max()) + 1 == len(d) and np.all(np.isin(d, (-1, 0, 1))):
        n_least = int(np.ceil(np.log2(2 / alpha)))
        found = max(found, float(betaincinv(n_least, len(d) - n_least + 1, POWER)))
    return min(1.0, found)
