"""Families of differences: what is adjusted together, and how."""

from __future__ import annotations

from typing import Any

import pytest

from peval.families import EXPLORATORY, PRIMARY, adjusted
from peval.report.format import BETTER, OPEN, SAME, WORSE, mark
from peval.stats import benjamini_hochberg, holm
from peval.types import Comparison

HEADLINES = {"t": "rougeL", "u": "exact_match"}


def difference(p_value: float | None, **fields: Any) -> Comparison:
    same: dict[str, Any] = {
        "task": "t", "metric": "rougeL", "adapter": "a", "against": None, "group": None,
        "delta": 0.1, "low": 0.05, "high": 0.15, "test": "x", "n_items": 9, "n_clusters": 9,
        "n_identical": 0,
    }  # fmt: skip
    return Comparison(**same | {"p_value": p_value} | fields)


def test_headlines_by_holm_and_the_rest_by_benjamini_hochberg() -> None:
    found = adjusted(
        [
            difference(0.01),
            difference(0.03, task="u", metric="exact_match"),
            difference(0.02, metric="exact_match"),
            difference(0.04, group="category:k"),
            difference(0.03, adapter="b"),
            difference(None, group="task:k"),
        ],
        HEADLINES,
    )
    assert [c.family for c in found] == [
        PRIMARY, PRIMARY, EXPLORATORY, EXPLORATORY, PRIMARY, None,
    ]  # fmt: skip
    primary = [c.p_adjusted for c in found if c.family == PRIMARY]
    assert primary == pytest.approx(holm([0.01, 0.03, 0.03]).tolist())
    exploratory = [c.p_adjusted for c in found if c.family == EXPLORATORY]
    assert exploratory == pytest.approx(benjamini_hochberg([0.02, 0.04]).tolist())
    assert found[-1].p_adjusted is None


def test_what_could_not_differ_does_not_count() -> None:
    copies = [difference(1.0, adapter=f"noop{i}", n_identical=9) for i in range(5)]
    found = adjusted([difference(0.01), *copies, difference(0.04, adapter="b")], HEADLINES)
    assert [c.p_adjusted for c in found] == pytest.approx([0.02, 1, 1, 1, 1, 1, 0.04])
    assert {c.family for c in found} == {PRIMARY}


def test_no_differences_make_no_families() -> None:
    assert adjusted([], {}) == ()


def test_a_mark_needs_the_interval_and_the_adjusted_p() -> None:
    assert mark(difference(0.01, p_adjusted=0.04)) == BETTER
    assert mark(difference(0.01, p_adjusted=0.06)) == OPEN
    assert mark(difference(0.01, p_adjusted=0.04, low=-0.01)) == OPEN
    assert mark(difference(0.01, p_adjusted=0.04, low=-0.2, high=-0.1)) == WORSE
    assert mark(difference(None, group="task:k")) == BETTER
    assert mark(difference(1.0, n_identical=9)) == SAME
