"""What could have been found, and what was kept."""

from __future__ import annotations

import numpy as np
import pytest

from peval.stats import (
    Interval,
    difference_interval,
    minimum_detectable_effect,
    paired_test,
    retention,
)


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def standardised(n: int, spread: float) -> np.ndarray:
    d = np.random.default_rng(0).normal(0, 1, n)
    return (d - d.mean()) / d.std(ddof=1) * spread


# statsmodels.stats.power.TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
@pytest.mark.parametrize(("n", "expected"), [(20, 0.6604416544380312), (100, 0.2829117119690806)])
def test_minimum_detectable_effect(n: int, expected: float) -> None:
    found = minimum_detectable_effect(standardised(n, 0.2), alone(n))
    assert found == pytest.approx(0.2 * expected, rel=1e-3)


def test_an_effect_of_that_size_is_found_in_four_of_five() -> None:
    rng = np.random.default_rng(1)
    names = [str(i // 6) for i in range(120)]

    def draw() -> np.ndarray:
        return np.repeat(rng.normal(0, 0.08, 20), 6) + rng.normal(0, 0.2, 120)

    effect = np.mean([minimum_detectable_effect(draw(), names) for _ in range(100)])
    found = [paired_test(draw() + effect, names).p_value <= 0.05 for _ in range(400)]
    assert 0.73 <= np.mean(found) <= 0.87


def test_a_wider_family_finds_less() -> None:
    d = standardised(50, 0.2)
    assert minimum_detectable_effect(d, alone(50), 0.05 / 20) > 1.2 * minimum_detectable_effect(
        d, alone(50)
    )


def test_nothing_could_be_found_is_1() -> None:
    assert minimum_detectable_effect([0.3], ["a"]) == 1
    d = [0.01, 0.02, 0.01, 0.03, 0.01, 0.02] * 2
    names = list("abcdef") * 2
    assert paired_test(d, names).p_value == 2 / 2**6  # no p-value can be lower
    assert minimum_detectable_effect(d, names) < 0.05
    assert minimum_detectable_effect(d, names, alpha=0.03) == 1


def test_without_spread_the_unseen_counts() -> None:
    names = [str(i // 2) for i in range(60)]
    zeros = [0.0] * 60
    high = difference_interval(zeros, names).high
    assert minimum_detectable_effect(zeros, names) == high > 0.1


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.01, 0.03, "kept"),
        (-0.019, -0.005, "kept"),  # a drop, but within the margin
        (-0.05, 0.03, "undecided"),
        (-0.05, -0.01, "undecided"),  # a drop, but perhaps within the margin
        (-0.09, -0.03, "lost"),
    ],
)
def test_retention(low: float, high: float, verdict: str) -> None:
    assert retention(Interval((low + high) / 2, low, high, 50, 50), margin=0.02) == verdict


def test_a_margin_is_not_negative() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        retention(Interval(0, -1, 1, 1, 1), -0.1)
