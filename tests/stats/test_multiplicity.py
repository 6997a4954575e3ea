"""Adjusted p-values against scipy, statsmodels 0.15.0 (its values pinned) and enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from peval.stats import benjamini_hochberg, holm, max_t, sign_flip_test

P = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04]


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def test_holm_and_benjamini_hochberg() -> None:
    # statsmodels.stats.multitest.multipletests(P, method=...)
    assert holm(P).tolist() == pytest.approx([0.05, 0.12, 0.12, 0.03, 0.5, 0.12])
    expected = [0.03, 0.048, 0.048, 0.03, 0.5, 0.048]
    assert benjamini_hochberg(P).tolist() == pytest.approx(expected)
    assert benjamini_hochberg(P) == pytest.approx(scipy_stats.false_discovery_control(P))


def test_nothing_to_adjust() -> None:
    assert len(holm([])) == len(benjamini_hochberg([])) == 0
    assert holm([0.2]).tolist() == benjamini_hochberg([0.2]).tolist() == [0.2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_order_changes_nothing_and_adjusting_never_lowers(p: list[float], rng: object) -> None:
    order = list(range(len(p)))
    rng.shuffle(order)  # type: ignore[attr-defined]
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(p)
        assert np.all(adjusted >= np.array(p) - 1e-15)
        assert np.all(adjusted <= 1)
        assert adjust([p[i] for i in order]).tolist() == pytest.approx(adjusted[order].tolist())


def test_max_t_equals_full_enumeration() -> None:
    rng = np.random.default_rng(4)
    d = rng.normal([0.8, 0.1, 0.5], 1, (10, 3))
    (adjusted,) = max_t([(d, alone(10))], seed=0)
    spread = np.sqrt((d**2).sum(axis=0))
    observed = np.abs(d.sum(axis=0)) / spread
    flips = np.array([np.abs(np.array(s) @ d) / spread for s in product((1, -1), repeat=10)])
    order = np.argsort(-observed)
    expected = np.empty(3)
    above = 0.0
    for i, system in enumerate(order):
        rest = flips[:, order[i:]].max(axis=1)
        above = max(above, float(np.mean(rest >= observed[system] - 1e-12)))
        expected[system] = above
    assert adjusted == pytest.approx(expected, abs=4 * (0.25 / 10_000) ** 0.5)


def test_max_t_of_one_is_the_plain_test() -> None:
    d = np.random.default_rng(1).normal(0.4, 1, 30)
    (adjusted,) = max_t([(d[:, None], alone(30))], seed=0)
    assert adjusted[0] == pytest.approx(sign_flip_test(d, alone(30)).p_value, abs=0.01)


def test_max_t_gains_from_the_shared_base_and_keeps_copies_equal() -> None:
    d = np.random.default_rng(8).normal(0.55, 1, 30)
    copies = np.stack([d] * 12, axis=1)
    (adjusted,) = max_t([(copies, alone(30))], seed=0)
    plain = sign_flip_test(d, alone(30)).p_value
    assert adjusted == pytest.approx([plain] * 12, abs=0.01)
    assert holm([plain] * 12)[0] == pytest.approx(min(1, 12 * plain))


def test_max_t_over_tasks_with_missing_pairs_and_in_any_order() -> None:
    rng = np.random.default_rng(9)
    one, other = rng.normal(0.3, 1, (40, 2)), rng.normal(0, 1, (25, 2))
    one[3, 1] = np.nan
    names = [str(i % 8) for i in range(40)]
    found = max_t([(one, names), (other, alone(25))], seed=0)
    assert [len(p) for p in found] == [2, 2]
    order = rng.permutation(40)
    again = max_t([(one[order], [names[i] for i in order]), (other, alone(25))], seed=0)
    swapped = max_t([(one[:, ::-1], names), (other[:, ::-1], alone(25))], seed=0)
    assert np.concatenate(again) == pytest.approx(np.concatenate(found))
    assert np.concatenate([p[::-1] for p in swapped]) == pytest.approx(np.concatenate(found))


def test_max_t_of_no_difference_is_1() -> None:
    (adjusted,) = max_t([(np.zeros((20, 3)), alone(20))], seed=0)
    assert adjusted.tolist() == [1, 1, 1]
