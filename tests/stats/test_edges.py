"""Where all scores or differences are alike, nothing is certain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from peval.stats import (
    amount_interval,
    difference_interval,
    mcnemar,
    mean_interval,
    minimum_detectable_effect,
    paired_test,
    retention,
)


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("d", [-1.0, -0.25, 0.5, 1.0])
def test_equal_differences_are_no_certainty(d: float, clustered: bool, n: int) -> None:
    clusters = [name for name in alone(n) for _ in range(4)] if clustered else alone(n)
    differences = np.full(len(clusters), d)
    found = difference_interval(differences, clusters)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.2
    turned = difference_interval(-differences, clusters)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert minimum_detectable_effect(differences, clusters) > 0.2
    if paired_test(differences, clusters).p_value > 0.2:
        assert retention(found, 0.1) == "undecided"


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_seldom_differences_are_covered(share: float) -> None:
    source = np.random.default_rng(8)
    covered = 0
    for _ in range(400):
        d = 0.3 - 1.3 * (source.random(20) < share)
        found = difference_interval(d, alone(20))
        covered += found.low <= 0.3 - 1.3 * share <= found.high or np.ptp(d) > 0
    assert covered / 400 > 0.93


def test_scores_apart_by_rounding_are_alike() -> None:
    alike, rounded = [0.3] * 5, [0.3, 0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2]
    assert len(set(rounded)) == 2
    expected, found = mean_interval(alike, alone(5)), mean_interval(rounded, alone(5))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    d = difference_interval(np.array(rounded), alone(5))
    assert d.high - d.low > 0.3


def test_amounts_that_are_alike_have_no_bounds() -> None:
    for amounts in ([64.0], [64.0, 64.0, 64.0]):
        found = amount_interval(amounts, alone(len(amounts)))
        assert (found.low, found.value, found.high) == (-np.inf, 64.0, np.inf)


def test_every_small_set_of_scores_has_its_mean_inside() -> None:
    for n in (1, 2, 3):
        for scores in itertools.product((0.0, 0.25, 0.5, 1.0), repeat=n):
            for clusters in (alone(n), ["a"] * n, ["a", *["b"] * (n - 1)]):
                one = mean_interval(scores, clusters)
                assert 0 <= one.low <= one.value <= one.high <= 1
                assert one.high - one.low > 0.1
                gap = difference_interval(np.array(scores) - 0.25, clusters)
                assert -1 <= gap.low <= gap.value <= gap.high <= 1
                assert gap.high - gap.low > 0.1


@pytest.mark.parametrize(
    ("n", "n_gained"), [(50, 2), (100, 0), (100, 1), (100, 4), (1000, 5), (200, 60)]
)
def test_of_few_items_that_differ_so_much_is_found_as_is_said(n: int, n_gained: int) -> None:
    d = np.zeros(n)
    d[:n_gained] = 1
    found = minimum_detectable_effect(d, alone(n))
    source = np.random.default_rng(9)
    drawn = source.binomial(n, found, 500)
    power = np.mean([mcnemar(int(gained), 0).p_value <= 0.05 for gained in drawn])
    assert power > 0.75
