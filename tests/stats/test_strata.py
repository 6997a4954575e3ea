"""Means over strata."""

from __future__ import annotations

import numpy as np
import pytest

from peval.stats import stratified_difference, stratified_interval

N_REPEATS = 2000


def test_every_stratum_counts_alike() -> None:
    found = stratified_interval([np.array([1.0]), np.array([0.0, 0.0, 1.0, 0.0])])
    assert found.value == pytest.approx((1 + 0.25) / 2)
    assert found.low < found.value < found.high
    assert found.n_items == 5


def test_alike_scores_have_an_interval_of_some_width() -> None:
    found = stratified_interval([np.ones(10), np.ones(30)])
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.85 < found.low < 1.0
    difference, test = stratified_difference([np.zeros(10), np.zeros(30)])
    assert (difference.value, test.p_value) == (0.0, 1.0)
    assert difference.low < 0 < difference.high  # 40 items say so much, and no more


def test_one_item_of_each_stratum_makes_no_certainty() -> None:
    difference, test = stratified_difference([np.array([1.0]), np.array([0.0])])
    assert difference.low < 0 < difference.value == 0.5 < difference.high
    assert test.p_value == 1.0


def test_intervals_cover_and_the_test_holds_its_level() -> None:
    source = np.random.default_rng(7)
    shares, sizes = (0.1, 0.5, 0.9), (40, 100, 300)
    truth = float(np.mean(shares))
    covered = rejected = 0
    for _ in range(N_REPEATS):
        drawn = [(source.random(n) < p).astype(float) for p, n in zip(shares, sizes, strict=True)]
        found = stratified_interval(drawn)
        covered += found.low <= truth <= found.high
        other = [(source.random(n) < p).astype(float) for p, n in zip(shares, sizes, strict=True)]
        deltas = [a - b for a, b in zip(drawn, other, strict=True)]
        rejected += stratified_difference(deltas)[1].p_value <= 0.05
    assert 0.935 < covered / N_REPEATS < 0.975
    assert rejected / N_REPEATS < 0.065


@pytest.mark.parametrize("sizes", [(2, 50), (1, 5, 20), (3, 3), (2,) * 5], ids=str)
@pytest.mark.parametrize("share", [None, 0.9], ids=["continuous", "0 or 1"])
def test_small_strata_are_not_taken_for_sure(sizes: tuple[int, ...], share: float | None) -> None:
    source = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        drawn = [source.random(n) for n in sizes]
        if share is not None:
            drawn = [(x < share).astype(float) for x in drawn]
        found = stratified_interval(drawn)
        covered += found.low <= (share or 0.5) <= found.high
    assert covered / 300 > 0.92


def test_one_item_in_all_says_nothing_of_others() -> None:
    found = stratified_interval([np.array([0.5])])
    assert (found.low, found.value, found.high) == (0.0, 0.5, 1.0)


def test_two_items_beside_many_hold_the_level() -> None:
    source = np.random.default_rng(6)
    found = [
        stratified_difference([source.random(n) - source.random(n) for n in (2, 50)])[1].p_value
        for _ in range(300)
    ]
    assert np.mean(np.array(found) <= 0.05) < 0.08


@pytest.mark.parametrize("n_strata", [2, 10, 57])
@pytest.mark.parametrize("sizes", [(1,), (1, 20, 20, 20, 20), (3,)], ids=str)
def test_the_test_holds_its_level_where_strata_are_small(
    n_strata: int, sizes: tuple[int, ...]
) -> None:
    source = np.random.default_rng(3)
    sizes = (sizes * n_strata)[:n_strata]
    shares = source.uniform(0.2, 0.8, n_strata)
    n_repeats, rejected = 300, 0
    for _ in range(n_repeats):
        one, other = (
            [(source.random(n) < p).astype(float) for p, n in zip(shares, sizes, strict=True)]
            for _ in range(2)
        )
        deltas = [a - b for a, b in zip(one, other, strict=True)]
        rejected += stratified_difference(deltas)[1].p_value <= 0.05
    assert rejected / n_repeats < 0.08
