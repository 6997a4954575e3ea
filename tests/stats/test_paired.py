"""Paired tests against scipy, statsmodels 0.15.0 (its values pinned) and full enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from peval.stats import mcnemar, paired, paired_test, sign_flip_test


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


# statsmodels.stats.contingency_tables.mcnemar(exact=True).pvalue
@pytest.mark.parametrize(
    ("gained", "lost", "expected"),
    [
        (9, 2, 0.0654296875),
        (3, 3, 1.0),
        (40, 18, 0.005354859650800294),
        (0, 7, 0.015625),
        (210, 160, 0.010755092334491201),
    ],
)
def test_mcnemar(gained: int, lost: int, expected: float) -> None:
    assert mcnemar(gained, lost).p_value == pytest.approx(expected, rel=1e-9)
    d = [1.0] * gained + [-1.0] * lost + [0.0] * 5
    assert paired_test(d, alone(len(d))) == mcnemar(gained, lost)
    # Flipping the signs of binary items is the same test.
    assert sign_flip_test(d, alone(len(d))).p_value == pytest.approx(expected, rel=1e-9)
    scipys = scipy_stats.binomtest(gained, gained + lost).pvalue
    assert expected == pytest.approx(scipys)


def test_mcnemar_is_for_items_that_are_the_sample() -> None:
    d = [1.0, 1.0, -1.0, 0.0, 1.0, 1.0]
    assert paired_test(d, list("aabbcc")).name == "sign-flip over clusters, exact"
    assert paired_test(d, ["a"] * 6).name == "McNemar, exact"
    assert paired_test([0.5, *d], ["a"] * 7).name == "sign-flip over items, exact"


def test_exact_sign_flips_equal_full_enumeration_and_scipy() -> None:
    d = np.array([0.3, -0.1, 0.25, 0.4, -0.05, 0.2])
    flips = [abs(np.dot(signs, d)) for signs in product((1, -1), repeat=6)]
    expected = np.mean([f >= abs(d.sum()) - 1e-12 for f in flips])
    test = sign_flip_test(d, list("abcdef"))
    assert test.p_value == pytest.approx(expected)
    assert test.name == "sign-flip over clusters, exact"
    scipys = scipy_stats.permutation_test(
        (d,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert test.p_value == pytest.approx(scipys.pvalue)


@pytest.mark.parametrize("kind", ["normal", "skewed", "one giant", "whole", "half"])
def test_convolution_equals_enumeration(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    d = {
        "normal": rng.normal(0.3, 1, 14),
        "skewed": rng.gamma(0.5, 1, 14) * rng.choice([-1, 1], 14, p=[0.2, 0.8]),
        "one giant": np.append(rng.normal(0.2, 0.1, 13), 3.0),
        "whole": rng.integers(1, 4, 14) * rng.choice([-1.0, 1.0], 14, p=[0.2, 0.8]),
        "half": rng.integers(1, 9, 14) * rng.choice([-0.5, 0.5], 14, p=[0.2, 0.8]),
    }[kind]
    exact = sign_flip_test(d, alone(14)).p_value
    monkeypatch.setattr(paired, "MAX_ENUMERATED", 2)
    # Whole and half points are not rounded, so that sums which tie still do.
    within = {"rel": 1e-9} if kind in ("whole", "half") else {"rel": 0.02, "abs": 2e-4}
    assert sign_flip_test(d, alone(14)).p_value == pytest.approx(exact, **within)
    monkeypatch.setattr(paired, "STEPS_PER_SD", 1 << 16)
    assert sign_flip_test(d, alone(14)).p_value == pytest.approx(exact, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("n", [40, 400])
def test_convolution_agrees_with_scipys_random_flips(n: int) -> None:
    rng = np.random.default_rng(n)
    d = rng.gamma(1, 1, n) * rng.normal(0.1, 1, n)
    ours = sign_flip_test(d, alone(n)).p_value
    scipys = scipy_stats.permutation_test(
        (d,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=20_000,
        rng=np.random.default_rng(0), batch=2_000,
    ).pvalue  # fmt: skip
    assert 0.01 < ours < 0.99
    assert ours == pytest.approx(scipys, abs=4 * (ours / 20_000) ** 0.5)


def test_the_smaller_clusters_sum_as_a_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    d = np.random.default_rng(2).normal(0.12, 1, 300)
    split = sign_flip_test(d, alone(300)).p_value
    monkeypatch.setattr(paired, "MAX_CONVOLVED", 300)
    assert split == pytest.approx(sign_flip_test(d, alone(300)).p_value, rel=0.01)


def test_tails_are_followed_as_far_as_families_need() -> None:
    d = np.random.default_rng(2).uniform(0.5, 1, 60)
    p_value = sign_flip_test(d, alone(60)).p_value
    # All of one sign: only the two flips that leave it so are as far out.
    assert 2 * 0.5**60 <= p_value < 1e-11


def test_no_difference_has_p_1() -> None:
    assert sign_flip_test([0.0] * 30, ["a", "b", "c"] * 10).p_value == 1
    assert paired_test([0.0] * 30, alone(30)).p_value == 1
    # Cancels within each cluster but for the last bits.
    assert sign_flip_test([0.1, 0.2, -0.3] * 4, np.repeat(list("abcd"), 3).tolist()).p_value == 1


@pytest.mark.parametrize("n", [12, 60, 300])
def test_order_and_sign_change_nothing(n: int) -> None:
    rng = np.random.default_rng(n)
    d, names = rng.normal(0.1, 1, 3 * n), np.repeat(alone(n), 3)
    order = rng.permutation(3 * n)
    one = sign_flip_test(d, list(names)).p_value
    assert sign_flip_test(d[order], list(names[order])).p_value == pytest.approx(one, rel=1e-9)
    assert sign_flip_test(-d, list(names)).p_value == pytest.approx(one, rel=1e-9)
