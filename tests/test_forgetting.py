"""Verdicts on whole tasks."""

from __future__ import annotations

import pytest

from peval.forgetting import judged
from peval.types import Comparison


def difference(low: float, high: float, /, **changes: object) -> Comparison:
    fields: dict[str, object] = {
        "task": "t", "metric": "rougeL", "adapter": "a", "against": None, "group": None,
        "delta": (low + high) / 2, "low": low, "high": high, "p_value": 0.5, "test": "made",
        "n_items": 9, "n_clusters": 9, "n_identical": 0,
    }  # fmt: skip
    return Comparison(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "high", "margin", "metric", "verdict"),
    [
        (-0.01, 0.05, 0.02, "rougeL", "kept"),
        (-0.02, 0.05, 0.02, "rougeL", "kept"),
        (-0.03, 0.05, 0.02, "rougeL", "undecided"),
        (-0.09, -0.03, 0.02, "rougeL", "lost"),
        (0.0, 0.0, 0.0, "rougeL", "kept"),
        (-0.09, 0.01, 0.02, "extracted", "kept"),  # more memory is worse
        (0.03, 0.09, 0.02, "extracted", "lost"),
    ],
)
def test_kept_lost_or_undecided(
    low: float, high: float, margin: float, metric: str, verdict: str
) -> None:
    (found,) = judged([difference(low, high, metric=metric)], {"t": margin})
    assert (found.retention, found.margin) == (verdict, margin)


def test_only_shares_of_whole_tasks_are_judged() -> None:
    for changes in ({"group": "category:x"}, {"metric": "perplexity"}, {"task": "pool"}):
        (found,) = judged([difference(0, 1, **changes)], {"t": 0.02})
        assert (found.retention, found.margin) == (None, None)
    (found,) = judged([difference(0, 1, delta=None, low=None)], {"t": 0.02})
    assert found.retention is None
