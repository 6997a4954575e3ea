from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from peval.sandbox.pass_at_k import pass_at_k


def published(n: int, c: int, k: int) -> float:
    """The product form of Chen et al. 2021, figure 3."""
    return 1.0 if n - c < k else float(1 - np.prod(1 - k / np.arange(n - c + 1, n + 1)))


def enumerated(n: int, c: int, k: int) -> Fraction:
    """The definition: every choice of k samples of which the first c passed."""
    choices = list(itertools.combinations(range(n), k))
    return Fraction(sum(min(choice) < c for choice in choices), len(choices))


def test_it_is_the_share_of_choices_that_hold_a_pass() -> None:
    for n in range(1, 9):
        for c, k in itertools.product(range(n + 1), range(1, n + 1)):
            assert pass_at_k(n, c, k) == pytest.approx(float(enumerated(n, c, k)), abs=1e-15)


def test_it_agrees_with_the_published_form() -> None:
    for n, c, k in [(20, 3, 10), (200, 17, 100), (200, 0, 1), (200, 200, 1), (1000, 1, 999)]:
        assert pass_at_k(n, c, k) == pytest.approx(published(n, c, k), abs=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, -1, 1), (5, 1, 6), (5, 1, 0), (0, 0, 1)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"cannot have passed|needs 1 <= k <= n"):
        pass_at_k(n, c, k)
