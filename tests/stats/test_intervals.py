"""Intervals against scipy, statsmodels 0.15.0 (its values pinned) and their own definitions."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from peval.stats import (
    difference_interval,
    mean_interval,
    repeated_interval,
)

scores = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=40)


def alone(n: int) -> list[str]:
    """Every item a cluster of its own."""
    return [str(i) for i in range(n)]


def inverted_wilson(p: float, error: float, n_clusters: int) -> tuple[float, float]:
    """The shares whose distance from p is t standard errors, by solving the equation."""
    from scipy.optimize import brentq

    t, n = scipy_stats.t.ppf(0.975, n_clusters - 1), p * (1 - p) / error**2
    excess = [lambda a, s=s: s * (p - a) - t * (a * (1 - a) / n) ** 0.5 for s in (1, -1)]
    return brentq(excess[0], 0, p), brentq(excess[1], p, 1)


# statsmodels.stats.proportion.proportion_confint(k, n, method="wilson")
@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (8, 10, 0.49016247153664183, 0.9433178485456247),
        (0, 17, 0.0, 0.18431813500885186),
        (3, 40, 0.025836025774588184, 0.1986423352431055),
    ],
)
def test_binary_items_get_wilson(k: int, n: int, low: float, high: float) -> None:
    interval = mean_interval([1.0] * k + [0.0] * (n - k), alone(n))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-12)
    scipys = scipy_stats.binomtest(k, n).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((scipys.low, scipys.high), abs=1e-12)


def test_one_cluster_rests_on_its_items() -> None:
    values = np.array([0.1, 0.4, 0.35, 0.8, 0.55])
    interval = mean_interval(values, ["a"] * 5)
    expected = inverted_wilson(values.mean(), scipy_stats.sem(values), 5)
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.n_clusters == 5


def test_clusters_give_the_jackknife_that_leaves_each_out() -> None:
    rng = np.random.default_rng(1)
    names = np.repeat(list("abcdefgh"), rng.integers(2, 9, 8))
    values = rng.uniform(0.2, 0.8, len(names)) * np.repeat(
        rng.uniform(0.2, 1, 8), np.unique(names, return_counts=True)[1]
    )
    without = np.array([values[names != name].mean() for name in "abcdefgh"])
    error = (7 / 8 * ((without - values.mean()) ** 2).sum()) ** 0.5
    mean = mean_interval(values, list(names))
    assert (mean.low, mean.high) == pytest.approx(inverted_wilson(values.mean(), error, 8))
    difference = difference_interval(values, list(names))
    t = scipy_stats.t.ppf(0.975, 7)
    assert (difference.low, difference.high) == pytest.approx(
        (values.mean() - t * error, values.mean() + t * error)
    )


def test_equal_clusters_give_the_t_interval_of_their_means() -> None:
    values = np.random.default_rng(1).uniform(-0.4, 0.5, 40)
    interval = difference_interval(values, [str(i // 5) for i in range(40)])
    means = values.reshape(8, 5).mean(axis=1)
    expected = scipy_stats.t.interval(0.95, 7, means.mean(), scipy_stats.sem(means))
    # The items' own interval would be narrower here; where it is wider it is taken.
    own = scipy_stats.t.interval(0.95, 39, values.mean(), scipy_stats.sem(values))
    widest = max(expected, own, key=lambda bounds: bounds[1] - bounds[0])
    assert (interval.low, interval.high) == pytest.approx(widest)


def test_scores_that_are_all_alike_do_not_give_certainty() -> None:
    interval = mean_interval([0.0] * 600, [str(i // 100) for i in range(600)])
    assert interval.low == 0
    expected = scipy_stats.binomtest(0, 6).proportion_ci(method="wilson").high
    assert interval.high == pytest.approx(expected)


def test_clusters_that_agree_by_chance_do_not_give_certainty() -> None:
    values = [0.0, 1.0, 1.0, 0.0] * 5
    together = mean_interval(values, ["a", "a", "b", "b"] * 5)
    assert together.high - together.low > 0.4


def test_a_single_item_says_nothing() -> None:
    assert (mean_interval([0.5], ["a"]).low, difference_interval([0.5], ["a"]).low) == (0, -1)


def test_paired_proportions_get_bonett_and_prices_interval() -> None:
    d = [1.0] * 9 + [-1.0] * 2 + [0.0] * 39
    interval = difference_interval(d, alone(50))
    gained, lost = 10 / 52, 3 / 52
    half = scipy_stats.norm.ppf(0.975) * ((gained + lost - (gained - lost) ** 2) / 52) ** 0.5
    assert interval.value == pytest.approx(7 / 50)
    assert interval.low == pytest.approx(gained - lost - half)
    assert interval.high == pytest.approx(gained - lost + half)


def test_no_difference_seen_is_not_proof_of_none() -> None:
    interval = difference_interval([0.0] * 30, alone(30))
    most = scipy_stats.binomtest(0, 30).proportion_ci(method="wilson").high
    assert (interval.value, interval.low, interval.high) == pytest.approx((0, -most, most))


def test_repeats_are_no_further_items() -> None:
    once = mean_interval([0.0, 1.0, 1.0, 0.0], alone(4))
    items = np.repeat(alone(4), 5)
    repeated = repeated_interval(np.repeat([0.0, 1.0, 1.0, 0.0], 5), items, list(items))
    assert repeated.interval == once
    assert repeated.sampling_variance == 0


def test_variances_of_items_and_of_sampling() -> None:
    rng = np.random.default_rng(5)
    values = np.repeat(rng.normal(0.5, 0.2, 8), 5) + rng.normal(0, 0.1, 40)
    items = np.repeat(alone(8), 5)
    found = repeated_interval(values, items, list(items))
    groups = values.reshape(8, 5)
    within = groups.var(axis=1, ddof=1).mean()
    assert found.sampling_variance == pytest.approx(within)
    ratio = scipy_stats.f_oneway(*groups).statistic
    assert found.item_variance == pytest.approx(within * (ratio - 1) / 5)
    # statsmodels.MixedLM(reml=True) on these very values, balanced and so the same estimate
    mixed = [0.578, 0.551, 0.477, 0.542, 0.473, 0.53, 0.688, 0.555, 0.783, 0.738, -0.028, 0.199,
             0.061, 0.175, 0.176, 0.25, 0.425, 0.423, 0.545, 0.331, 0.378, 0.194, 0.271, 0.22,
             0.449, 0.522, 0.709, 0.53, 0.55, 0.549, 0.181, 0.235, 0.377, 0.202, 0.261, 0.502,
             0.565, 0.468, 0.489, 0.528]  # fmt: skip
    found = repeated_interval(mixed, items, list(items))
    assert found.item_variance == pytest.approx(0.031900310256387086, rel=1e-4)
    assert found.sampling_variance == pytest.approx(0.007676845064816476, rel=1e-4)


def test_one_answer_each_has_no_variances_to_split() -> None:
    found = repeated_interval([0.2, 0.4], ["a", "b"], ["a", "b"])
    assert (found.item_variance, found.sampling_variance, found.n_answers) == (None, None, 2)


@example([0.0, 5.5e-189], random.Random(0))  # whose variance is no number
@given(scores, st.randoms())
def test_order_changes_nothing(values: list[float], rng: object) -> None:
    names = [str(i % 3) for i in range(len(values))]
    pairs = list(zip(values, names, strict=True))
    rng.shuffle(pairs)  # type: ignore[attr-defined]
    one = mean_interval(values, names)
    other = mean_interval([v for v, _ in pairs], [n for _, n in pairs])
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    assert 0 <= one.low <= one.value + 1e-12
    assert one.value - 1e-12 <= one.high <= 1
