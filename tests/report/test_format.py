"""Numbers as people write them, no finer than they are known."""

from __future__ import annotations

import dataclasses

import pytest

from peval.report.format import (
    counted,
    difference,
    interval,
    listed,
    mark,
    percent,
    points,
    rough,
)
from peval.types import Comparison, Estimate

ESTIMATE = Estimate("t", "accuracy", None, None, 0.0, 0.0, 1.0, 9, 9, 0, 0, 0, "s")
DIFFERENCE = Comparison("t", "accuracy", "a", None, None, 0.0, 0.0, 0.0, 0.01, "x", 9, 9, 0)


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.34912, 0.2281, 0.4934, "35 [23, 49]"),
        (0.34912, 0.3281, 0.3734, "34.9 [32.8, 37.3]"),
        (0.34912, 0.3461, 0.3524, "34.91 [34.61, 35.24]"),
        (0.349126, 0.349021, 0.349234, "34.913 [34.902, 34.923]"),
        (0.0, 0.0, 0.6577, "0 [0, 66]"),
        (None, None, None, "–"),
    ],
)
def test_a_score_has_two_digits_of_its_half_width(
    value: float | None, low: float | None, high: float | None, shown: str
) -> None:
    assert interval(dataclasses.replace(ESTIMATE, value=value, low=low, high=high)) == shown


def test_another_scale_is_written_as_it_is() -> None:
    e = dataclasses.replace(ESTIMATE, metric="perplexity", value=12345.6, low=12001.0, high=12700.0)
    assert interval(e) == "12,346 [12,001, 12,700]"


@pytest.mark.parametrize(
    ("delta", "low", "high", "shown"),
    [
        (0.19, 0.08, 0.305, "+19 [+8, +30] ▲"),
        (0.15, 0.003, 0.305, "+15.0 [+0.3, +30.5] ▲"),
        (-0.012, -0.031, 0.0067, "−1.2 [−3.1, +0.7] ·"),
        (-0.00004, -0.1, 0.1, "0 [−10, +10] ·"),
    ],
)
def test_a_difference_tells_on_which_side_of_0_it_lies(
    delta: float, low: float, high: float, shown: str
) -> None:
    found = dataclasses.replace(DIFFERENCE, delta=delta, low=low, high=high, p_adjusted=0.01)
    assert difference(found) == shown


def test_a_difference_below_the_noise_of_the_engine_is_none() -> None:
    clear = dataclasses.replace(DIFFERENCE, delta=0.02, low=0.01, high=0.03, p_adjusted=0.001)
    assert difference(dataclasses.replace(clear, noise_floor=0.02)).endswith("≈")
    assert difference(dataclasses.replace(clear, noise_floor=0.019)).endswith("▲")


def test_no_difference_at_all_is_a_plain_0() -> None:
    assert difference(dataclasses.replace(DIFFERENCE, delta=0.0, n_identical=9)) == "0 ="


def test_words_and_single_numbers() -> None:
    assert [points(v) for v in (0.123, -0.0004, -0.05, None)] == ["+12.3", "0.0", "−5.0", "–"]
    assert [percent(v) for v in (0.1234, None)] == ["12.3", "–"]
    assert [rough(v) for v in (0.7193, 0.0314, 0.1)] == ["72", "3.1", "10"]
    assert [counted(n, "entry") for n in (1, 1200)] == ["1 entry", "1,200 entries"]
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a", "a and b", "a, b and c",
    ]  # fmt: skip


def test_without_an_interval_the_p_value_alone_tells() -> None:
    bare = dataclasses.replace(DIFFERENCE, delta=0.2, low=None, high=None)
    assert mark(dataclasses.replace(bare, p_adjusted=0.01)) == "▲"
    assert mark(dataclasses.replace(bare, delta=-0.2, p_adjusted=0.01)) == "▼"
    for p in (0.2, None):
        assert mark(dataclasses.replace(bare, p_adjusted=p)) == "·"
