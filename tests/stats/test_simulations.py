"""Coverage and false positives on simulated data, seeds fixed.

Intervals must cover the truth in 93 to 97 % of draws; a family of null adapters must give any
false positive in at most 5 % (plus two standard errors of the simulation).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import beta as beta_function
from scipy.special import ndtr

from peval.generalization import _joined
from peval.stats import (
    Interval,
    amount_interval,
    auroc_interval,
    benjamini_hochberg,
    bootstrap_interval,
    difference_interval,
    holm,
    max_t,
    maxt,
    mean_interval,
    paired_test,
    pass_at_k_interval,
    repeated_interval,
    retention,
)
from peval.types import Estimate

Draw = Callable[[np.random.Generator], Interval]
N_DRAWS = 1500


def alone(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def binary(n: int, p: float) -> tuple[Draw, float]:
    return lambda rng: mean_interval((rng.random(n) < p) * 1.0, alone(n)), p


def continuous(n: int, a: float, b: float) -> tuple[Draw, float]:
    return lambda rng: mean_interval(rng.beta(a, b, n), alone(n)), a / (a + b)


def clustered(n_clusters: int, a: float, b: float) -> tuple[Draw, float]:
    """Binary items of tasks with 5 to 29 items each, some tasks much harder than others."""

    def draw(rng: np.random.Generator) -> Interval:
        sizes = rng.integers(5, 30, n_clusters)
        chance = np.repeat(rng.beta(a, b, n_clusters), sizes)
        values = (rng.random(len(chance)) < chance) * 1.0
        return mean_interval(values, np.repeat(alone(n_clusters), sizes).tolist())

    return draw, a / (a + b)


def wins(n: int, won: float, tied: float) -> tuple[Draw, float]:
    share = [won, tied, 1 - won - tied]
    return lambda rng: mean_interval(rng.choice([1, 0.5, 0], n, p=share), alone(n)), won + tied / 2


def pass_at(k: int, n_problems: int, n_tries: int) -> tuple[Draw, float]:
    def draw(rng: np.random.Generator) -> Interval:
        passed = rng.binomial(n_tries, rng.beta(0.5, 1, n_problems))
        return pass_at_k_interval(np.full(n_problems, n_tries), passed, k, alone(n_problems))

    return draw, 1 - beta_function(0.5, 1 + k) / beta_function(0.5, 1)


def auroc(n_positive: int, n_negative: int, shift: float) -> tuple[Draw, float]:
    positive = np.arange(n_positive + n_negative) < n_positive
    names = alone(len(positive))

    def draw(rng: np.random.Generator) -> Interval:
        return auroc_interval(rng.normal(shift * positive, 1), positive, names)

    return draw, float(ndtr(shift / 2**0.5))


def clustered_auroc(n_clusters: int) -> tuple[Draw, float]:
    positive = np.tile([True, False], n_clusters * 5)
    names = np.repeat(alone(n_clusters), 10).tolist()

    def draw(rng: np.random.Generator) -> Interval:
        shared = np.repeat(rng.normal(0, 0.7, n_clusters), 10)
        return auroc_interval(shared + rng.normal(positive, 1), positive, names)

    return draw, float(ndtr(1 / (2 * 1.49) ** 0.5))


def paired_binary(n: int, gained: float, lost: float) -> tuple[Draw, float]:
    share = [gained, lost, 1 - gained - lost]
    return (
        lambda rng: difference_interval(rng.choice([1.0, -1, 0], n, p=share), alone(n)),
        gained - lost,
    )


def null_differences(
    rng: np.random.Generator, n_clusters: int, n_systems: int
) -> tuple[np.ndarray, list[str]]:
    """Differences to a shared base whose noise they share, as adapters' differences do."""
    sizes = rng.integers(3, 12, n_clusters)
    n = int(sizes.sum())
    of_task = np.repeat(rng.normal(0, 0.1, (n_clusters, n_systems)), sizes, axis=0)
    base = rng.normal(0, 0.15, (n, 1)) + np.repeat(rng.normal(0, 0.05, (n_clusters, 1)), sizes, 0)
    d = of_task + rng.normal(0, 0.15, (n, n_systems)) - base
    return np.clip(d, -1, 1), np.repeat(alone(n_clusters), sizes).tolist()


def clustered_differences(n_clusters: int) -> tuple[Draw, float]:
    def draw(rng: np.random.Generator) -> Interval:
        d, names = null_differences(rng, n_clusters, 1)
        return difference_interval(d[:, 0], names)

    return draw, 0.0


def repeats(n_items: int, n_repeats: int) -> tuple[Draw, float]:
    items = np.repeat(alone(n_items), n_repeats)

    def draw(rng: np.random.Generator) -> Interval:
        chance = np.repeat(rng.beta(2, 2, n_items), n_repeats)
        values = (rng.random(len(chance)) < chance) * 1.0
        return repeated_interval(values, items, items.tolist()).interval

    return draw, 0.5


def lengths(n: int) -> tuple[Draw, float]:
    """Lengths of answers, a few of them long."""
    return lambda rng: amount_interval(rng.gamma(2.0, 20.0, n), alone(n)), 40.0


def estimate(found: Interval) -> Estimate:
    return Estimate(
        "t", "accuracy", None, None, **dataclasses.asdict(found), n_missing=0, n_truncated=0,
        n_prompts_cut=0, signature="",
    )  # fmt: skip


def gap(n_inner: int, inner: float, n_outer: int, outer: float) -> tuple[Draw, float]:
    """Two accuracies on other items each, the second less the first."""

    def draw(rng: np.random.Generator) -> Interval:
        one, other = (
            estimate(binary(n, p)[0](rng)) for n, p in ((n_inner, inner), (n_outer, outer))
        )
        low, high = _joined(one, other)
        return Interval(0.0, low or 0.0, high or 0.0, n_inner + n_outer, n_inner + n_outer)

    return draw, outer - inner


CASES: dict[str, tuple[Draw, float]] = {
    "binary, 50 items": binary(50, 0.1),
    "binary, 1,000 items": binary(1000, 0.03),
    "continuous, 15 items": continuous(15, 0.8, 2),
    "continuous and skewed, 100 items": continuous(100, 0.3, 3),
    "6 clusters": clustered(6, 2, 2),
    "6 clusters, hard": clustered(6, 1, 9),
    "12 clusters": clustered(12, 2, 2),
    "29 clusters, hard": clustered(29, 1, 9),
    "40 clusters": clustered(40, 2, 2),
    "win rate, 30 prompts": wins(30, 0.6, 0.2),
    "win rate near 1": wins(80, 0.9, 0.05),
    "pass@1": pass_at(1, 164, 20),
    "pass@10": pass_at(10, 164, 20),
    "pass@5 of few": pass_at(5, 40, 10),
    "AUROC": auroc(50, 200, 0.5),
    "AUROC near 1": auroc(15, 30, 2.0),
    "AUROC, 10 clusters": clustered_auroc(10),
    "paired binary, 30 items": paired_binary(30, 0.3, 0.3),
    "paired binary, 500 items": paired_binary(500, 0.05, 0.01),
    "paired, 6 clusters": clustered_differences(6),
    "paired, 29 clusters": clustered_differences(29),
    "4 repeats of 25 items": repeats(25, 4),
    "lengths of 50 answers": lengths(50),
    "gap of 0.8 of 60 and 0.5 of 200": gap(60, 0.8, 200, 0.5),
}


@pytest.mark.parametrize("case", CASES)
def test_intervals_cover_the_truth(case: str) -> None:
    draw, truth = CASES[case]
    rng = np.random.default_rng(7)
    intervals = [draw(rng) for _ in range(N_DRAWS)]
    covered = np.mean([i.low <= truth <= i.high for i in intervals])
    assert 0.93 <= covered <= 0.97


def test_the_bootstrap_covers_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peval.stats.bootstrap.N_RESAMPLES", 1000)
    rng = np.random.default_rng(7)
    n_covered = 0
    for _ in range(600):
        found = bootstrap_interval(rng.beta(0.8, 2, 60), alone(60), seed=0)
        n_covered += found.low <= 0.8 / 2.8 <= found.high
    assert 0.925 <= n_covered / 600 <= 0.97


@pytest.mark.parametrize("n_clusters", [6, 12, 40])
def test_a_single_null_test_is_quiet(n_clusters: int) -> None:
    rng = np.random.default_rng(1)
    n_runs, n_rejected = 1000, 0
    for _ in range(n_runs):
        d, names = null_differences(rng, n_clusters, 1)
        n_rejected += paired_test(d[:, 0], names).p_value <= 0.05
    assert n_rejected / n_runs <= 0.05 + 2 * (0.05 * 0.95 / n_runs) ** 0.5


def test_a_family_of_null_adapters_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve adapters on two tasks, none different from the base."""
    monkeypatch.setattr(maxt, "N_FLIPS", 500)
    rng = np.random.default_rng(2)
    n_families = 300
    false = dict.fromkeys(("none", "Holm", "max-T", "BH"), 0)
    for _ in range(n_families):
        blocks = [null_differences(rng, n_clusters, 12) for n_clusters in (15, 40)]
        p = [paired_test(column, names).p_value for d, names in blocks for column in d.T]
        false["none"] += min(p) <= 0.05
        false["Holm"] += holm(p).min() <= 0.05
        false["BH"] += benjamini_hochberg(p).min() <= 0.05
        false["max-T"] += np.concatenate(max_t(blocks, seed=0)).min() <= 0.05
    most = 0.05 + 2 * (0.05 * 0.95 / n_families) ** 0.5
    assert false["none"] / n_families > 0.3  # else there would be nothing to adjust for
    for method in ("Holm", "max-T", "BH"):
        assert false[method] / n_families <= most, method


def test_max_t_finds_more_than_holm_where_adapters_are_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maxt, "N_FLIPS", 1000)
    rng = np.random.default_rng(3)
    found = {"Holm": 0, "max-T": 0}
    for _ in range(60):
        d, names = null_differences(rng, 30, 12)
        d = 0.05 + 0.3 * d + 0.7 * d[:, :1]  # differences of sister checkpoints
        p = [paired_test(column, names).p_value for column in d.T]
        found["Holm"] += int((holm(p) <= 0.05).sum())
        found["max-T"] += int((max_t([(d, names)], seed=0)[0] <= 0.05).sum())
    assert found["max-T"] > 1.2 * found["Holm"] > 0


def test_a_loss_of_the_margin_is_seldom_called_kept() -> None:
    rng = np.random.default_rng(4)
    verdicts = []
    for _ in range(1000):
        d, names = null_differences(rng, 12, 1)
        verdicts.append(retention(difference_interval(d[:, 0] - 0.05, names), margin=0.05))
    share = {v: verdicts.count(v) / 1000 for v in ("kept", "lost", "undecided")}
    assert share["kept"] <= 0.025 + 2 * (0.025 * 0.975 / 1000) ** 0.5
    assert share["lost"] <= 0.025 + 2 * (0.025 * 0.975 / 1000) ** 0.5
    assert share["undecided"] > 0.9
