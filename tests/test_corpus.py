from __future__ import annotations

import math
import random

import pytest

from peval import stats
from peval.corpus import Aggregate, difference, interval, is_mean

MEAN = Aggregate(lambda items: sum(items) / len(items))
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


def test_coverage_of_a_perplexity_is_near_what_it_says() -> None:
    rng = random.Random(3)
    truth = math.exp(2.0)
    hits = 0
    for _ in range(400):
        items = [-rng.gauss(2.0, 1.0) for _ in range(60)]
        found = interval(items, [str(i) for i in range(60)], PERPLEXITY)
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / 400 <= 0.97


def test_a_system_differs_from_itself_by_nothing() -> None:
    items = [0.1, 0.4, 0.2, 0.9]
    found, test = difference((items, items), list("abcd"), MEAN)
    assert (found.value, found.low, found.high, test.p_value) == (0.0, 0.0, 0.0, 1.0)


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
