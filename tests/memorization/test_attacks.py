"""Attacks, extraction and exposure against values computed by hand or by brute force."""

from __future__ import annotations

import math
import random
import zlib

import pytest
from scipy.stats import rankdata

from peval.memorization import attacks
from peval.memorization.exposure import exposure, extrapolated_exposure, rank
from peval.memorization.extraction import extraction, is_drawn
from peval.memorization.scores import attack_scores
from peval.types import Likelihood, Moments

LOGPROBS = (-1.0, -4.0, -0.5, -2.0, -3.0, -0.1, -6.0, -0.2, -0.3, -0.4)
MEANS = (-2.0, -2.0, -1.0, -1.5, -2.5, -0.5, -3.0, -0.5, -0.5, -1.0)
DEVIATIONS = (1.0, 2.0, 0.5, 1.0, 0.5, 0.4, 1.5, 0.0, 0.2, 0.3)
FOUND = Likelihood(LOGPROBS, False, Moments(MEANS, DEVIATIONS))


def test_min_k_is_the_mean_of_the_lowest_fifth() -> None:
    # 20 % of 10 tokens are 2: -6 and -4.
    assert attacks.min_k(FOUND) == -5.0
    assert attacks.min_k(FOUND, share=0.3) == pytest.approx(-13 / 3)
    # 20 % of 4 tokens, rounded down, are none: the least likely one stands in.
    assert attacks.min_k(Likelihood(LOGPROBS[:4], False)) == -4.0


def test_min_k_plus_standardizes_each_position_first() -> None:
    # (x - mean) / deviation: 1, -1, 1, -0.5, -1, 1, -2, certain (0), 1, 2.
    assert attacks.min_k_plus(FOUND) == pytest.approx((-2 + -1) / 2)
    assert attacks.min_k_plus(FOUND, share=0.4) == pytest.approx((-2 - 1 - 1 - 0.5) / 4)
    with pytest.raises(ValueError, match="moments"):
        attacks.min_k_plus(Likelihood(LOGPROBS, False))


def test_zlib_divides_by_the_compressed_length() -> None:
    text = "the same the same the same"
    assert attacks.zlib_ratio(FOUND, text) == -1.75 / len(zlib.compress(text.encode()))


def test_all_attacks_speak_for_membership_when_higher() -> None:
    lowered, after = Likelihood((-3.0,) * 10, False), Likelihood((-3.5,) * 10, False)
    found = attack_scores(FOUND, lowered, after, "text")
    assert found["loss"] == -1.75
    assert found["lowercase"] == pytest.approx(3.0 / 1.75)
    assert found["recall"] == pytest.approx(3.5 / 1.75)
    known = attack_scores(Likelihood((-0.01,) * 10, True, FOUND.moments), lowered, after, "text")
    assert all(known[name] > found[name] for name in attacks.ATTACKS)


def test_a_certain_text_divides_by_no_zero() -> None:
    sure = Likelihood((0.0, 0.0), True, Moments((0.0, 0.0), (0.0, 0.0)))
    assert all(map(math.isfinite, attack_scores(sure, sure, sure, "ab").values()))


def test_extraction_is_exact_or_nearly_so() -> None:
    known = Likelihood((math.log(0.5),) * 4, True)
    exact = extraction((5, 6, 7, 8, 9), (5, 6, 7, 8), known)
    assert exact == {"extracted": 1.0, "lcs": 1.0, "edit": 1.0, "drawn": 1.0}
    # 5 _ 7 8 is a common subsequence of 3; one token inserted and one left out are 2 edits.
    near = extraction((5, 7, 0, 8), (5, 6, 7, 8), Likelihood((-30.0,), False))
    assert near == {"extracted": 0.0, "lcs": 0.75, "edit": 0.5, "drawn": 0.0}
    assert extraction((), (5,), known)["edit"] == 0.0


def test_drawn_is_the_chance_of_one_hit_in_a_hundred() -> None:
    edge = math.log(1 - 0.5 ** (1 / 100))
    assert is_drawn(edge + 1e-9)
    assert not is_drawn(edge - 1e-9)
    assert is_drawn(0.0)
    assert not is_drawn(-800.0)


def test_exposure_is_that_of_a_brute_force_rank() -> None:
    rng = random.Random(0)
    for _ in range(200):
        others = [rng.choice((-1.0, -2.0, rng.uniform(-9, 0))) for _ in range(rng.randint(1, 60))]
        secret = rng.choice([*others, rng.uniform(-9, 0)])
        # From the best, ties sharing their ranks, in the whole space of secret and others.
        ranks = rankdata([-secret, *(-x for x in others)], method="average")
        assert rank(secret, others) == ranks[0]
        assert exposure(secret, others) == pytest.approx(
            math.log2(len(others) + 1) - math.log2(ranks[0])
        )


def test_a_model_that_knows_nothing_exposes_one_bit_and_a_half() -> None:
    rng = random.Random(1)
    draws = [[rng.random() for _ in range(64)] for _ in range(4000)]
    found = [exposure(x[0], x[1:]) for x in draws]
    expected = sum(6 - math.log2(r) for r in range(1, 65)) / 64
    assert sum(found) / len(found) == pytest.approx(expected, abs=0.08)


def test_extrapolated_exposure_is_minus_the_log_of_a_skew_normal() -> None:
    from scipy.stats import skewnorm

    others = (-skewnorm.rvs(3, loc=30, scale=5, size=300, random_state=0) * math.log(2)).tolist()
    bits = [-x / math.log(2) for x in others]
    secret = -25.0 * math.log(2)
    expected = -math.log2(skewnorm.cdf(25.0, *skewnorm.fit(bits)))
    assert extrapolated_exposure(secret, others, 10**9) == pytest.approx(expected)
    # Far outside of all others it is the whole space, and never more.
    assert extrapolated_exposure(-0.001, others, 2**20) == 20.0
    assert extrapolated_exposure(-999.0, others, 2**20) == 0.0
    assert extrapolated_exposure(-1.0, [-2.0] * 9, 2**20) == 20.0
