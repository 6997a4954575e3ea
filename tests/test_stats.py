from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from peval.stats import difference_interval, mean_interval, sign_flip_test

scores = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=40)


def simulated(rng: np.random.Generator, n_clusters: int) -> tuple[np.ndarray, list[str]]:
    """Items with a spread between clusters as wide as within them; the true mean is 0.5."""
    sizes = rng.integers(5, 30, n_clusters)
    names = np.repeat(np.arange(n_clusters), sizes).astype(str)
    effect = np.repeat(rng.normal(0, 0.1, n_clusters), sizes)
    return 0.5 + effect + rng.uniform(-0.2, 0.2, len(names)), list(names)


@pytest.mark.parametrize("n_clusters", [6, 12, 40])
def test_intervals_cover_the_truth_and_null_tests_stay_quiet(n_clusters: int) -> None:
    rng = np.random.default_rng(7)
    n_runs, covered, rejected = 1500, 0, 0
    for _ in range(n_runs):
        values, names = simulated(rng, n_clusters)
        interval = mean_interval(values, names)
        covered += interval.low <= 0.5 <= interval.high
        if n_clusters <= 12:
            rejected += sign_flip_test(values - 0.5, names, seed=0).p_value <= 0.05
    # Two standard errors of 1,500 runs at 95 % are 1.1 points.
    assert 0.93 <= covered / n_runs <= 0.97
    assert rejected / n_runs <= 0.061


def test_one_cluster_gives_the_ordinary_t_interval() -> None:
    values = np.array([0.1, 0.4, 0.35, 0.8, 0.55])
    interval = mean_interval(values, ["a"] * 5)
    expected = scipy_stats.t.interval(0.95, 4, values.mean(), scipy_stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.n_clusters == 5


def test_equal_clusters_give_the_t_interval_of_their_means() -> None:
    values = np.random.default_rng(1).uniform(0.2, 0.8, 40)
    interval = mean_interval(values, [str(i // 5) for i in range(40)])
    means = values.reshape(8, 5).mean(axis=1)
    expected = scipy_stats.t.interval(0.95, 7, means.mean(), scipy_stats.sem(means))
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_binary_items_get_wilson() -> None:
    interval = mean_interval([1.0] * 8 + [0.0] * 2, [str(i) for i in range(10)])
    expected = scipy_stats.binomtest(8, 10).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_scores_that_are_all_alike_do_not_give_certainty() -> None:
    interval = mean_interval([0.0] * 600, [str(i // 100) for i in range(600)])
    assert interval.low == 0
    assert interval.high == pytest.approx(scipy_stats.binomtest(0, 6).proportion_ci(
        method="wilson").high)  # fmt: skip


def test_clusters_that_agree_by_chance_do_not_give_certainty() -> None:
    values = [0.0, 1.0, 1.0, 0.0] * 5
    interval = mean_interval(values, ["a", "a", "b", "b"] * 5)
    expected = scipy_stats.t.interval(0.95, 19, 0.5, scipy_stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_a_single_item_says_nothing() -> None:
    assert (mean_interval([0.5], ["a"]).low, difference_interval([0.5], ["a"]).low) == (0, -1)


def test_exact_sign_flips_equal_full_enumeration() -> None:
    d = np.array([0.3, -0.1, 0.25, 0.4, -0.05, 0.2])
    flips = [abs(np.dot(signs, d)) for signs in product((1, -1), repeat=6)]
    expected = np.mean([f >= abs(d.sum()) - 1e-12 for f in flips])
    test = sign_flip_test(d, list("abcdef"), seed=0)
    assert test.p_value == pytest.approx(expected)
    assert test.name == "sign-flip over clusters, exact"


def test_random_sign_flips_agree_with_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    d = np.random.default_rng(3).normal(0.05, 0.1, 12)
    names = [str(i) for i in range(12)]
    exact = sign_flip_test(d, names, seed=0).p_value
    monkeypatch.setattr("peval.stats.MAX_EXACT_CLUSTERS", 5)
    assert sign_flip_test(d, names, seed=0).p_value == pytest.approx(exact, abs=0.02)


def test_no_difference_seen_is_not_proof_of_none() -> None:
    interval = difference_interval([0.0] * 30, [str(i) for i in range(30)])
    most = scipy_stats.binomtest(0, 30).proportion_ci(method="wilson").high
    assert (interval.value, interval.low, interval.high) == pytest.approx((0, -most, most))
    assert sign_flip_test([0.0] * 30, ["a", "b", "c"] * 10, seed=0).p_value == 1


@settings(deadline=None)
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
