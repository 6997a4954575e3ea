"""The bootstrap against scipy's and against the spread it must have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from peval.stats import bootstrap, bootstrap_interval, bootstrap_means, mean_interval


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def test_items_agree_with_scipys_bca() -> None:
    x = np.random.default_rng(0).beta(0.5, 2, 80)
    found = bootstrap_interval(x, alone(80), seed=0)
    scipys = scipy_stats.bootstrap(
        (x,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    width = scipys.high - scipys.low
    assert (found.low, found.high) == pytest.approx((scipys.low, scipys.high), abs=0.04 * width)


def test_clusters_are_drawn_whole() -> None:
    rng = np.random.default_rng(2)
    names = np.repeat(alone(60), rng.integers(1, 12, 60))
    x = np.repeat(rng.uniform(0, 1, 60), np.unique(names.astype(int), return_counts=True)[1])
    found, t = bootstrap_interval(x, list(names), seed=0), mean_interval(x, list(names))
    assert found.n_clusters == 60
    assert found.high - found.low == pytest.approx(t.high - t.low, rel=0.1)


def test_bins_draw_from_the_same_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 20, 3000)
    totals = sizes * rng.beta(0.4, 3, 3000)
    singly = bootstrap_means(totals, sizes, seed=0)
    monkeypatch.setattr(bootstrap, "MAX_DRAWN_SINGLY", 10)
    by_bin = bootstrap_means(totals, sizes, seed=1)
    assert scipy_stats.ks_2samp(singly, by_bin).pvalue > 0.01
    assert by_bin.std() == pytest.approx(singly.std(), rel=0.03)


def test_few_values_are_drawn_exactly() -> None:
    x = (np.arange(5000) < 1500).astype(float)
    means = bootstrap_means(x, np.ones(5000, dtype=int), seed=0)
    counts = means * 5000
    assert counts == pytest.approx(np.rint(counts), abs=1e-6)
    assert means.std() == pytest.approx((0.3 * 0.7 / 5000) ** 0.5, rel=0.03)


def test_few_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="12 clusters are too few"):
        bootstrap_interval(np.arange(24) / 24, [str(i // 2) for i in range(24)], seed=0)


def test_the_seed_decides() -> None:
    x = np.random.default_rng(0).random(50)
    one, same, other = (bootstrap_interval(x, alone(50), seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other
