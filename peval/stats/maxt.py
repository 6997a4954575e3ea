"""All against the base at once: one permutation test that knows they share it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peval.stats.units import Clusters, Floats, units

N_FLIPS = 10_000
FLIPS_AT_ONCE = 8_000_000

Block = tuple[Floats, Clusters]


def max_t(blocks: Sequence[Block], seed: int) -> list[Floats]:
    """Return step-down max-T adjusted p-values of every system's difference on every task.

    Parameters
    ----------
    blocks
        For each task the paired differences, shape (n_items, n_systems), and the items' clusters.
        A NaN (no pair) counts as no difference.

    Returns
    -------
    list
        For each task the adjusted p-values, shape (n_systems,).

    Notes
    -----
    A flip turns the sign of a cluster for all systems at once, which keeps what they share by
    being compared with the same base; adjusted p-values are smaller for it than Holm's. Each
    system's sum is in units of its own spread under flips. 10,000 flips, the observed one among
    them, so that no p-value is below 1/10,001.

    References
    ----------
    Westfall and Young, Resampling-Based Multiple Testing (1993), algorithm 4.1.
    """
    rng = np.random.default_rng(seed)
    totals = [_totals(differences, clusters) for differences, clusters in blocks]
    observed = np.concatenate([np.abs(t.sum(axis=0)) for t in totals])
    order = np.argsort(-observed, kind="stable")
    hits = np.zeros(len(observed))
    # Sums of floats in another order differ in the last bits: equal sums must count as equal.
    threshold = observed[order] * (1 - 1e-9)
    n_units = sum(map(len, totals))
    rows = max(1, FLIPS_AT_ONCE // max(1, n_units))
    for start in range(0, N_FLIPS, rows):
        n = min(rows, N_FLIPS - start)
        flipped = np.concatenate([_flipped(t, n, rng) for t in totals], axis=1)[:, order]
        # Each is held against the largest of itself and all that are less clear than it.
        largest = np.maximum.accumulate(flipped[:, ::-1], axis=1)[:, ::-1]
        hits += (largest >= threshold).sum(axis=0)
    adjusted = np.empty(len(observed))
    adjusted[order] = np.maximum.accumulate((hits + 1) / (N_FLIPS + 1))
    ends = np.cumsum([t.shape[1] for t in totals])[:-1]
    return np.split(adjusted, ends)


def _totals(differences: Floats, clusters: Clusters) -> Floats:
    """Return each unit's totals in units of their spread under flips; (n_units, n_systems)."""
    d = np.nan_to_num(np.asarray(differences, dtype=float))
    index = units(clusters)
    totals = np.stack([np.bincount(index, weights=column) for column in d.T], axis=1)
    spread = np.sqrt((totals**2).sum(axis=0))
    return np.asarray(totals / np.where(spread > 0, spread, 1))


def _flipped(totals: Floats, n_flips: int, rng: np.random.Generator) -> Floats:
    signs = rng.integers(0, 2, (n_flips, len(totals)), dtype=np.int8) * 2.0 - 1.0
    return np.abs(signs @ totals)
