"""Tests of paired differences: McNemar for binary items, sign flips of clusters for the rest.

Nothing here is drawn at random, so the same data give the same p-value in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from peval.stats.units import Clusters, Floats, Ints, has_several, units

MAX_ENUMERATED = 14
MAX_CONVOLVED = 128
MAX_LEVEL = 512
STEPS_PER_SD = 2048
REACH_SD = 8.5


@dataclass(frozen=True)
class Test:
    """A two-sided p-value and how it was obtained."""

    p_value: float
    name: str


def paired_test(differences: Sequence[float] | Floats, clusters: Clusters) -> Test:
    """Test that paired differences are symmetric about 0, as fits them.

    McNemar's exact test where items that score 0 or 1 are the sample, else `sign_flip_test`.
    """
    d = np.asarray(differences, dtype=float)
    if np.all(np.isin(d, (-1, 0, 1))) and int(units(clusters).max()) + 1 == len(d):
        return mcnemar(int((d == 1).sum()), int((d == -1).sum()))
    return sign_flip_test(d, clusters)


def mcnemar(n_gained: int, n_lost: int) -> Test:
    """Return McNemar's exact test on the items that one of a pair alone has right.

    References
    ----------
    McNemar, Psychometrika 12 (1947) 153-157.
    """
    return Test(_sign_test(n_gained, n_lost), "McNemar, exact")


def sign_flip_test(differences: Sequence[float] | Floats, clusters: Clusters) -> Test:
    """Test that paired differences are symmetric about 0 by flipping whole clusters' signs.

    Notes
    -----
    Up to 14 clusters that differ, all flips are counted. Beyond that the distribution of the
    flipped sum is found by convolution, the clusters' totals rounded to 1/2048 of the sum's
    standard deviation (not at all where they are whole or half points), in the observed sum too:
    the test is exact for the rounded totals. Beyond 128 clusters the smaller ones' sum is taken as
    normal.
    """
    d, index = np.asarray(differences, dtype=float), units(clusters)
    unit = "clusters" if has_several(clusters) else "items"
    totals = np.asarray(np.bincount(index, weights=d), dtype=float)
    # Sorted, so that rounding does not depend on the order of items; 1e-12: sums that should
    # cancel do so but for the last bits.
    totals = np.sort(totals[np.abs(totals) > 1e-12])
    if len(totals) <= MAX_ENUMERATED:
        return Test(_enumerated(totals), f"sign-flip over {unit}, exact")
    sizes = np.abs(totals)
    if np.ptp(sizes) <= 1e-12 * sizes.max():
        p_value = _sign_test(int((totals > 0).sum()), int((totals < 0).sum()))
        return Test(p_value, f"sign-flip over {unit}, exact")
    return Test(_convolved(totals), f"sign-flip over {unit}")


def _sign_test(n_one: int, n_other: int) -> float:
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(n_one, n_other), n_one + n_other, 0.5)))


def _enumerated(totals: Floats) -> float:
    sums = np.zeros(1)
    for total in totals:
        sums = np.concatenate([sums + total, sums - total])
    # Sums of floats in another order differ in the last bits: equal sums must count as equal.
    return float(np.mean(np.abs(sums) >= abs(totals.sum()) * (1 - 1e-9)))


def _convolved(totals: Floats) -> float:
    """Return the p-value from the flipped sum's distribution on a lattice."""
    from scipy.special import ndtr

    totals = totals[np.argsort(-np.abs(totals), kind="stable")]
    large, small = totals[:MAX_CONVOLVED], totals[MAX_CONVOLVED:]
    step = _step(large)
    levels = np.maximum(np.rint(np.abs(large) / step), 1).astype(int)
    observed = int((np.sign(large) * levels).sum())
    chances, outside = _flipped_sum(levels)
    sums = np.arange(len(chances)) - len(chances) // 2
    if len(small):
        spread = float((small**2).sum() ** 0.5)
        observed_total = abs(observed * step + small.sum())
        p_value = 2 * float(chances @ ndtr((sums * step - observed_total) / spread))
    else:
        p_value = float(chances[np.abs(sums) >= abs(observed)].sum())
    return min(1.0, p_value + outside)


def _step(totals: Floats) -> float:
    """Return the lattice's step: the scores' own where they have one, so that ties stay ties."""
    largest = float(np.abs(totals).max())
    for own in (1.0, 0.5):
        if largest <= MAX_LEVEL * own and np.all(
            np.abs(totals / own - np.rint(totals / own)) < 1e-9
        ):
            return own
    return float((totals**2).sum() ** 0.5) / STEPS_PER_SD


def _flipped_sum(levels: Ints) -> tuple[Floats, float]:
    """Return the chances of each sum of randomly signed levels, and of any sum beyond them.

    Sums further out than 8.5 standard deviations are not followed; Hoeffding's inequality
    bounds their chance.
    """
    spread = float((levels.astype(float) ** 2).sum())
    window = int(min(levels.sum(), np.ceil(REACH_SD * spread**0.5)))
    chances = np.ones(1)  # of the sums from -filled to filled
    for level in np.sort(levels):
        half = chances / 2
        chances = np.concatenate([half, np.zeros(2 * level)])
        chances[2 * level :] += half
        beyond = max(0, len(chances) // 2 - window)
        chances = chances[beyond : len(chances) - beyond]
    outside = 0.0 if window == levels.sum() else 2 * float(np.exp(-(window**2) / (2 * spread)))
    return chances, outside
