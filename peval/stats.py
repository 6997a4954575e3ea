"""Intervals and paired differences that respect clusters.

Items of one cluster (a Super-NaturalInstructions task) resemble each other, so the clusters are
the sample, not the items (Miller, arXiv 2411.00640). With a single cluster the items are the
sample, and the result speaks of that cluster alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MAX_EXACT_CLUSTERS = 14
N_RESAMPLES = 10_000
INTERVAL = "jackknife-t95"

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; `n_clusters` is what the width rests on."""

    value: float
    low: float
    high: float
    n_items: int
    n_clusters: int


@dataclass(frozen=True)
class Test:
    """A two-sided p-value and how it was obtained."""

    p_value: float
    name: str


def mean_interval(values: Sequence[float] | Floats, clusters: Sequence[str]) -> Interval:
    """Return the mean of scores in [0, 1] over items, with its interval.

    Parameters
    ----------
    values
        Scores, shape (n_items,), n_items >= 1.
    clusters
        The cluster of each item, same length.

    Notes
    -----
    The mean of items is a ratio of cluster totals; its standard error is the jackknife's over
    clusters, with Student's t at G - 1 degrees of freedom. With items as the sample this is the
    ordinary t interval, and no interval is narrower than that, as clusters can agree by chance.
    Where items that score 0 or 1 are the sample, or where
    all scores are alike, it is Wilson's interval (with as many trials as there are clusters),
    which never has width 0.
    """
    x = np.asarray(values, dtype=float)
    interval = _t_interval(x, _units(clusters))
    binary_items = interval.n_clusters == len(x) and bool(np.all((x == 0) | (x == 1)))
    if binary_items or (np.ptp(x) == 0 and interval.n_clusters > 1):
        return _wilson(interval)
    low, high = max(0.0, interval.low), min(1.0, interval.high)
    return Interval(interval.value, low, high, interval.n_items, interval.n_clusters)


def difference_interval(differences: Sequence[float] | Floats, clusters: Sequence[str]) -> Interval:
    """Return the mean of paired differences in [-1, 1] with its interval; as `mean_interval`.

    Where no item differs, the share of items that could differ unseen (Wilson's upper bound)
    bounds the mean on both sides.
    """
    d = np.asarray(differences, dtype=float)
    interval = _t_interval(d, _units(clusters))
    if not d.any() and interval.n_clusters > 1:
        most = _wilson(interval).high
        return Interval(0.0, -most, most, interval.n_items, interval.n_clusters)
    low, high = max(-1.0, interval.low), min(1.0, interval.high)
    return Interval(interval.value, low, high, interval.n_items, interval.n_clusters)


def sign_flip_test(
    differences: Sequence[float] | Floats, clusters: Sequence[str], seed: int
) -> Test:
    """Test that paired differences are symmetric about 0 by flipping whole clusters' signs.

    Exact up to 14 clusters that differ, else by 10,000 random flips (counted with the observed
    one, so that p is never 0).
    """
    d = np.asarray(differences, dtype=float)
    totals = np.bincount(_units(clusters), weights=d)
    totals = totals[totals != 0]
    unit = "clusters" if len(set(clusters)) > 1 else "items"
    if len(totals) == 0:
        return Test(1.0, f"sign-flip over {unit}, exact")
    # Sums of floats in another order differ in the last bits: equal sums must count as equal.
    threshold = abs(totals.sum()) * (1 - 1e-12)
    if len(totals) <= MAX_EXACT_CLUSTERS:
        sums = np.zeros(1)
        for total in totals:
            sums = np.concatenate([sums + total, sums - total])
        return Test(float(np.mean(np.abs(sums) >= threshold)), f"sign-flip over {unit}, exact")
    hits = _random_flips(totals, threshold, seed)
    p_value = (hits + 1) / (N_RESAMPLES + 1)
    return Test(p_value, f"sign-flip over {unit}, {N_RESAMPLES} draws, seed {seed}")


def _random_flips(totals: Floats, threshold: float, seed: int) -> int:
    """Count random sign flips whose sum is at least as far from 0 as `threshold`."""
    rng = np.random.default_rng(seed)
    rows = max(1, 4_000_000 // len(totals))
    bounds = [*range(0, N_RESAMPLES, rows), N_RESAMPLES]
    hits = 0
    for start, end in pairwise(bounds):
        signs = rng.integers(0, 2, (end - start, len(totals)), dtype=np.int8) * 2.0 - 1.0
        hits += int(np.count_nonzero(np.abs(signs @ totals) >= threshold))
    return hits


def _units(clusters: Sequence[str]) -> Ints:
    """Return each item's sampling unit: its cluster, or itself where all share one cluster."""
    names, index = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    return np.arange(len(clusters)) if len(names) == 1 else index


def _t_interval(x: Floats, units: Ints) -> Interval:
    """Return the mean of `x` with the t interval of the jackknife over units."""
    from scipy.special import stdtrit

    n, mean = len(x), float(x.mean())
    n_units = int(units.max()) + 1
    if n_units < 2:
        return Interval(mean, -np.inf, np.inf, n, n_units)
    totals, sizes = np.bincount(units, weights=x), np.bincount(units)
    without = (totals.sum() - totals) / (n - sizes)
    variance = (n_units - 1) / n_units * float(((without - mean) ** 2).sum())
    quantile = 0.5 + CONFIDENCE / 2
    half = float(stdtrit(n_units - 1, quantile)) * variance**0.5
    if n_units < n:
        alone = float(stdtrit(n - 1, quantile)) * float(x.std(ddof=1)) / n**0.5
        half = max(half, alone)
    return Interval(mean, mean - half, mean + half, n, n_units)


def _wilson(interval: Interval) -> Interval:
    """Return Wilson's score interval; the widest that a mean of scores in [0, 1] can need."""
    from scipy.special import ndtri

    n, p = interval.n_clusters, interval.value
    z = float(ndtri(0.5 + CONFIDENCE / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    # Rounding must not push a bound past the mean that it bounds.
    low, high = min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))
    return Interval(p, low, high, interval.n_items, n)
