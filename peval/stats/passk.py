"""pass@k: the chance that one of k programs passes, from n >= k that were tried."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from peval.stats.intervals import Interval, mean_interval
from peval.stats.units import Clusters, Floats


def pass_at_k(
    n: Sequence[int] | NDArray[np.int_], c: Sequence[int] | NDArray[np.int_], k: int
) -> Floats:
    """Return the unbiased estimate 1 - C(n - c, k) / C(n, k) for each problem.

    Parameters
    ----------
    n, c
        Programs tried and programs that passed, shape (n_problems,).
    k
        At most the smallest `n`.

    Raises
    ------
    ValueError
        If a problem has fewer than `k` programs.

    References
    ----------
    Chen et al., arXiv 2107.03374.

    Examples
    --------
    >>> pass_at_k([10, 10], [0, 3], k=1).round(2).tolist()
    [0.0, 0.3]
    """
    tried, passed = np.asarray(n, dtype=int), np.asarray(c, dtype=int)
    if k < 1 or (len(tried) and tried.min() < k):
        raise ValueError(f"pass@{k} needs at least {k} programs for every problem")
    # C(n - c, k) / C(n, k) is a product of k ratios; one of them is 0 where n - c < k.
    chance = np.ones(len(tried))
    for i in range(k):
        chance *= np.maximum(tried - passed - i, 0) / (tried - i)
    return 1 - chance


def pass_at_k_interval(
    n: Sequence[int] | NDArray[np.int_],
    c: Sequence[int] | NDArray[np.int_],
    k: int,
    clusters: Clusters,
) -> Interval:
    """Return the mean of `pass_at_k` over problems with its interval; problems are the items."""
    return mean_interval(pass_at_k(n, c, k), clusters)
