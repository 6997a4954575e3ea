"""Curves and their points against scikit-learn, and intervals of gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from peval import corpus
from peval.memorization.aggregates import AUROC, NLL_GAP, SHARE_GAP
from peval.memorization.roc import (
    balanced_accuracy,
    best_threshold,
    curve,
    gap_interval,
    is_meaningful,
    roc,
    tpr_at,
)


def cases() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(60):
        n = int(rng.integers(4, 300))
        is_member = rng.random(n) < 0.5
        is_member[:2] = [True, False]
        scores = rng.normal(is_member * rng.uniform(0, 3), 1)
        made.append((np.round(scores, int(rng.integers(0, 3))), is_member))  # with ties
    return made


@pytest.mark.parametrize(("scores", "is_member"), cases())
def test_rates_are_scikit_learns(scores: np.ndarray, is_member: np.ndarray) -> None:
    false, true, _ = roc_curve(is_member, scores, drop_intermediate=False)
    mine = roc(scores, is_member)
    assert np.allclose(mine[0], false)
    assert np.allclose(mine[1], true)
    items = np.column_stack([scores, is_member]).tolist()
    assert AUROC.compute(items) == pytest.approx(roc_auc_score(is_member, scores))
    assert AUROC.interval is not None
    clusters = [str(i) for i in range(len(items))]
    assert AUROC.interval(items, clusters).value == pytest.approx(roc_auc_score(is_member, scores))
    for rate in (0.001, 0.01, 0.05, 0.3):
        assert tpr_at(scores, is_member, rate).value == true[false <= rate].max()
    thinned = np.array(curve(scores, is_member))
    assert np.trapezoid(thinned[:, 1], thinned[:, 0]) == pytest.approx(
        roc_auc_score(is_member, scores)
    )


@pytest.mark.parametrize(("scores", "is_member"), cases())
def test_the_best_threshold_is_the_best_of_all(scores: np.ndarray, is_member: np.ndarray) -> None:
    def accuracy(threshold: float) -> float:
        return float(balanced_accuracy_score(is_member, scores >= threshold))

    edges = [*np.unique(scores), np.inf]
    assert accuracy(best_threshold(scores, is_member)) == pytest.approx(max(map(accuracy, edges)))


def test_balanced_accuracy_does_not_judge_itself() -> None:
    """Scores that say nothing give one half on average, which in-sample thresholds do not."""
    rng = np.random.default_rng(1)
    is_member = np.arange(60) < 30
    found = [balanced_accuracy(rng.normal(size=60), is_member) for _ in range(400)]
    assert np.mean([one.value for one in found]) == pytest.approx(0.5, abs=0.01)
    assert np.mean([one.low <= 0.5 <= one.high for one in found]) > 0.93
    assert balanced_accuracy(is_member.astype(float), is_member).value == 1.0


def test_a_rate_needs_as_many_non_members_as_show_one_false_positive() -> None:
    assert is_meaningful(0.01, 100)
    assert not is_meaningful(0.01, 99)
    assert not is_meaningful(0.001, 195)


def test_gaps_have_newcombes_interval() -> None:
    # Newcombe (1998), table II: 56/70 against 48/80 by the score method.
    found = gap_interval(([1.0] * 56 + [0.0] * 14, [1.0] * 48 + [0.0] * 32))
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (
        0.2, 0.0524, 0.3339,
    )  # fmt: skip
    sure = gap_interval(([1.0] * 50, [0.0] * 50))
    assert sure.value == 1.0
    assert sure.low < 0.95


def test_a_gap_over_tasks_is_no_narrower_than_over_records() -> None:
    items = [[1.0, 1.0]] * 20 + [[0.0, 0.5]] * 20
    clusters = [str(i % 10) for i in range(40)]
    assert SHARE_GAP.interval is not None
    found, alone = SHARE_GAP.interval(items, clusters), SHARE_GAP.interval(items, ["all"] * 40)
    assert found.value == alone.value == 0.5
    assert found.low <= alone.low < found.value < alone.high <= found.high


def test_a_gap_that_one_task_carries_has_no_interval() -> None:
    items = [[1.0, 3.0, 2.0], [0.0, 4.0, 1.0], [0.0, 2.0, 2.0], [0.0, 5.0, 2.0]]
    found = corpus.interval(items, list("abbc"), NLL_GAP)
    assert (found.value, found.low, found.high) == (11 / 5 - 3 / 2, -math.inf, math.inf)
    shares = [[1.0, 1.0], [0.0, 0.0], [0.0, 0.5], [0.0, 0.0]]
    shown = corpus.interval(shares, list("abbc"), SHARE_GAP)
    assert (shown.low, shown.high) == (-1.0, 1.0)


@pytest.mark.parametrize("how", [NLL_GAP, SHARE_GAP, AUROC])
def test_what_lacks_a_side_has_no_value(how: corpus.Aggregate) -> None:
    items = [[1.0, 1.0, 2.0]] * 3 if how is NLL_GAP else [[1.0, 1.0]] * 3
    found = corpus.interval(items, list("abc"), how)
    assert math.isnan(found.value)
    gap, test = corpus.difference((items, items), list("abc"), how)
    assert math.isnan(gap.value)
    assert test.p_value == 1.0
