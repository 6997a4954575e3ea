from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pytest

from peval import stats
from peval.answers import column
from peval.corpus import Aggregate, difference, interval, is_mean
from peval.estimation import _interval, paired
from peval.scorers.labels import matthews

MEAN = Aggregate(lambda items: sum(items) / len(items))
MCC = Aggregate(matthews)
PERPLEXITY = Aggregate(lambda items: math.exp(-sum(items) / len(items)), is_log=True)


def test_of_a_mean_it_is_the_ordinary_t_interval() -> None:
    rng = random.Random(0)
    items = [rng.random() for _ in range(40)]
    names = [str(i) for i in range(40)]
    ours, ordinary = interval(items, names, MEAN), stats.difference_interval(items, names)
    assert (ours.value, ours.low, ours.high) == pytest.approx(
        (ordinary.value, ordinary.low, ordinary.high)
    )
    assert ours.n_clusters == 40


def test_a_perplexity_is_never_below_zero() -> None:
    items = [-0.1, -30.0, -2.0, -8.0]
    found = interval(items, list("abcd"), PERPLEXITY)
    assert found.value == pytest.approx(math.exp(10.025))
    assert 0 < found.low < found.value < found.high


def test_a_correlation_of_one_is_no_certainty() -> None:
    names = ["a", "b", "c", "d"]
    right = [["x", "x"], ["y", "y"], ["x", "x"], ["y", "y"]]
    constant = [["x", "x"], ["y", "x"], ["x", "x"], ["y", "x"]]
    found = interval(right, names, Aggregate(matthews))
    assert (found.value, found.low, found.high) == (1.0, -math.inf, math.inf)
    gap, test = difference((right, constant), names, Aggregate(matthews))
    assert (gap.value, gap.low, gap.high) == (1.0, -math.inf, math.inf)
    assert test.p_value > 0.1  # four items can be swapped in 16 ways
    _, many = difference((right * 15, constant * 15), list(map(str, range(60))), MCC)
    assert many.p_value < 0.01


def test_what_is_undefined_without_some_items_has_no_bounds() -> None:
    def ratio(items: list[float]) -> float:
        return 1 / sum(item > 0 for item in items)

    found = interval([1.0, 0.0, 0.0], list("abc"), Aggregate(ratio))
    assert (found.value, found.low, found.high) == (1.0, -math.inf, math.inf)
    assert math.isnan(interval([0.0, 0.0], list("ab"), Aggregate(ratio)).value)
    gap, test = difference(([1.0, 0.0, 0.0], [1.0, 1.0, 0.0]), list("abc"), Aggregate(ratio))
    assert (gap.value, gap.low, gap.high) == (0.5, -math.inf, math.inf)
    assert test.p_value > 0.3


def test_one_document_s_perplexity_has_no_bounds() -> None:
    found = interval([-2.0], ["a"], PERPLEXITY)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_ratings_of_one_are_no_shares() -> None:
    ratings = Aggregate(statistics.fmean, other_scale=True)
    found = _interval(np.array([1.0, 1.0, 1.0]), list("abc"), ratings)
    assert (found.value, found.low, found.high) == (1.0, -math.inf, math.inf)
    both = np.array([8.0, 8.0]), np.array([7.0, 7.0])
    pair = paired(both, list("ab"), 0, ratings, None)
    assert pair is not None and pair[1] is not None
    assert pair[1].p_value > 0.3


def test_coverage_of_a_perplexity_is_near_what_it_says() -> None:
    rng = random.Random(3)
    truth = math.exp(2.0)
    hits = 0
    for _ in range(400):
        items = [-rng.gauss(2.0, 1.0) for _ in range(60)]
        found = interval(items, [str(i) for i in range(60)], PERPLEXITY)
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / 400 <= 0.97


@pytest.mark.parametrize("n_clusters", [1, 7, 120])
def test_the_order_of_items_changes_nothing(n_clusters: int) -> None:
    rng = random.Random(4)
    rows = [(-rng.gauss(2, 1), -rng.gauss(2, 1), f"c{i % n_clusters}") for i in range(240)]
    mixed = rng.sample(rows, len(rows))
    (first, second, names), (one, other, theirs) = (
        [list(column) for column in zip(*many, strict=True)] for many in (rows, mixed)
    )
    ours, again = interval(first, names, PERPLEXITY), interval(one, theirs, PERPLEXITY)
    assert (again.low, again.high) == pytest.approx((ours.low, ours.high), rel=1e-12)
    (found, test), (found_again, test_again) = (
        difference((first, second), names, PERPLEXITY),
        difference((one, other), theirs, PERPLEXITY),
    )
    bounds = (found.low, found.high, test.p_value)
    assert (found_again.low, found_again.high, test_again.p_value) == pytest.approx(bounds)


def test_a_system_differs_from_itself_by_nothing() -> None:
    items = [0.1, 0.4, 0.2, 0.9]
    found, test = difference((items, items), list("abcd"), MEAN)
    assert (found.value, test.p_value) == (0.0, 1.0)
    assert (found.low, found.high) == (-math.inf, math.inf)  # other items may tell them apart


def test_a_clear_difference_is_found() -> None:
    better, worse = [0.9, 0.8, 0.85, 0.95, 0.9], [0.1, 0.2, 0.15, 0.12, 0.2]
    found, test = difference((better, worse), list("abcde"), MEAN)
    assert found.low > 0.5
    assert test.p_value < 0.01


def test_one_cluster_speaks_of_its_items() -> None:
    assert interval([0.0, 1.0, 1.0], ["a"] * 3, MEAN).n_clusters == 3


def test_a_mean_is_recognised() -> None:
    assert is_mean(MEAN)
    assert not is_mean(PERPLEXITY)
    assert not is_mean(Aggregate(lambda items: items[0][1]))


SHARES = Aggregate(lambda items: sum(map(sum, items)) / sum(map(len, items)), of_shares=True)


def answered(rng: random.Random, n: int, shift: float = 0.0) -> list[list[int]]:
    """Return what prompts of 1 to 3 instructions got, those of one prompt alike."""
    ease = [rng.betavariate(6, 1.5) for _ in range(n)]
    return [[int(rng.random() < one - shift) for _ in range(1 + at % 3)]
            for at, one in enumerate(ease)]  # fmt: skip


def test_shares_of_several_stay_within_0_and_1_and_cover() -> None:
    rng, hits = random.Random(5), 0
    for _ in range(400):
        items = answered(rng, 60)
        found = _interval(column(items), np.arange(60), SHARES)
        assert found.value == pytest.approx(SHARES.compute(items))
        assert 0 <= found.low < found.high <= 1
        assert found.n_clusters == 60
        hits += found.low <= 0.8 <= found.high
    assert 0.93 <= hits / 400 <= 0.985, hits
    all_right = _interval(column([[1], [1, 1], [1]]), np.arange(3), SHARES)
    assert (all_right.low, all_right.high) == (pytest.approx(0.4385, abs=1e-4), 1)


def test_differences_of_shares_of_several() -> None:
    rng = random.Random(6)
    mine, theirs = answered(rng, 90), answered(rng, 90, 0.3)
    both = column(mine), column(theirs)
    found, test, mde = paired(both, np.arange(90), 0, SHARES, 0.05)
    assert found.value == pytest.approx(SHARES.compute(mine) - SHARES.compute(theirs))
    assert 0 < found.low < found.value < found.high < 1
    assert test.p_value < 0.001
    assert mde is not None
    same, test, mde = paired((both[0], both[0]), np.arange(90), 90, SHARES, 0.05)
    assert (same.value, same.low, same.high, test.p_value, mde) == (0, 0, 0, 1, None)


def test_lengths_are_no_shares_however_short_and_never_below_0() -> None:
    length = Aggregate(MEAN.compute, interval=stats.amount_interval)
    found = _interval(np.array([0.0, 0, 0, 1]), np.arange(4), length)
    assert (found.value, found.low) == (0.25, 0)
    assert found.high == pytest.approx(0.25 + 3.1824 * 0.25, abs=1e-3)
