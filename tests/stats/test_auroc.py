"""AUROC against scipy's U statistic and DeLong's definition over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from peval.stats import auroc_interval


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def simulated() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    positive = rng.random(60) < 0.4
    return np.round(rng.normal(positive * 0.8, 1), 1), positive  # rounded: there are ties


def test_the_value_is_the_u_statistic() -> None:
    x, positive = simulated()
    u = scipy_stats.mannwhitneyu(x[positive], x[~positive]).statistic
    expected = u / (positive.sum() * (~positive).sum())
    assert auroc_interval(x, positive, alone(60)).value == pytest.approx(expected)


def placements(x: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ahead, behind = x[positive][:, None], x[~positive][None]
    kernel = (ahead > behind) + 0.5 * (ahead == behind)
    return kernel.mean(axis=1), kernel.mean(axis=0)


def logit_interval(value: float, error: float, df: float) -> tuple[float, float]:
    half = scipy_stats.t.ppf(0.975, df) * error / (value * (1 - value))
    centre = np.log(value / (1 - value))
    return 1 / (1 + np.exp(half - centre)), 1 / (1 + np.exp(-half - centre))


def test_the_interval_has_delongs_variance() -> None:
    x, positive = simulated()
    v10, v01 = placements(x, positive)
    parts = [(v.var(ddof=1) / len(v), len(v) - 1) for v in (v10, v01)]
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    found = auroc_interval(x, positive, alone(60))
    expected = logit_interval(found.value, variance**0.5, df)
    assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize("n_positive", [1, 2, 3, 5])
def test_few_positives_are_not_made_up_for_by_many_negatives(n_positive: int) -> None:
    source = np.random.default_rng(n_positive)
    truth = scipy_stats.norm.cdf(0.5**0.5)
    labels = np.arange(200) < n_positive
    found = [
        auroc_interval(source.normal(size=200) + labels, labels, alone(200)) for _ in range(250)
    ]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.92


def test_members_of_one_cluster_are_one_draw() -> None:
    x = np.r_[np.linspace(0, 2, 30), np.linspace(-1, 1, 90)]
    names = ["mine"] * 30 + [str(i % 30) for i in range(90)]
    found = auroc_interval(x, np.arange(120) < 30, names)
    assert found.low < 0.5 < found.value < found.high


def test_clusters_are_summed_as_obuchowski_does() -> None:
    x, positive = simulated()
    names = np.array([str(i % 9) for i in range(60)])
    v10, v01 = placements(x, positive)
    value = v10.mean()
    s10, s01, s11 = 0.0, 0.0, 0.0
    for name in np.unique(names):
        ahead = (v10[names[positive] == name] - value).sum()
        behind = (v01[names[~positive] == name] - value).sum()
        s10, s01, s11 = s10 + ahead**2, s01 + behind**2, s11 + ahead * behind
    m, n, factor = len(v10), len(v01), 9 / 8
    error = (factor * (s10 / m**2 + s01 / n**2 + 2 * s11 / (m * n))) ** 0.5
    found = auroc_interval(x, positive, list(names))
    assert (found.low, found.high) == pytest.approx(logit_interval(value, error, 8))
    assert found.n_clusters == 9


def test_perfect_separation_is_not_certainty() -> None:
    found = auroc_interval([1.0, 2, 3, 4, 5, 6], [False] * 3 + [True] * 3, alone(6))
    assert found.value == found.high == 1
    assert 0.3 < found.low < 0.8
    reversed_ = auroc_interval([6.0, 5, 4, 3, 2, 1], [False] * 3 + [True] * 3, alone(6))
    assert (reversed_.low, reversed_.high) == pytest.approx((0, 1 - found.low))
    more = auroc_interval(np.arange(60.0), np.arange(60) >= 30, alone(60))
    assert more.low > 0.9


def test_scores_that_are_all_alike_tell_nothing() -> None:
    found = auroc_interval([1.0] * 20, [True, False] * 10, alone(20))
    assert found.value == 0.5
    assert found.low < 0.35
    assert found.high > 0.65


def test_one_kind_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="positives and negatives"):
        auroc_interval([1.0, 2.0], [True, True], alone(2))
