"""Lengths, refusals, loops and variety of answers."""

import random

import pytest

from peval.scorers.open_text import (
    LOOKED_AT_CHARACTERS,
    MIN_LOOP_CHARACTERS,
    MIN_REPEATS,
    OPEN_METRICS,
    distinct,
    ends_in_loop,
    is_refusal,
    score_open,
)
from peval.types import Completion, Drawn


def by_definition(text):
    """The stated rule, by brute force."""
    end = text.strip()[-LOOKED_AT_CHARACTERS:]
    for period in range(1, len(end) // MIN_REPEATS + 1):
        n = max(MIN_REPEATS * period, MIN_LOOP_CHARACTERS)
        if n <= len(end) and all(
            end[i] == end[i - period] for i in range(len(end) - n + period, len(end))
        ):
            return True
    return False


def test_loops_are_those_of_the_stated_rule():
    rng = random.Random(0)
    seen = set()
    for _ in range(400):
        head = "".join(rng.choices("ab ", k=rng.randint(0, 60)))
        unit = "".join(rng.choices("ab", k=rng.randint(1, 60)))
        text = head + unit * rng.randint(0, 6) + unit[: rng.randint(0, len(unit))]
        assert ends_in_loop(text) == by_definition(text), text
        seen.add(by_definition(text))
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("One thing after another.", False),
        ("She sells sea shells. " * 2, False),
        ("Intro. " + "She sells sea shells by the shore. " * 3, True),
        ("She sells sea shells by the shore. " * 5 + "And that is the end of it, at last.", False),
        ("!" * 99, False),
        ("!" * 100 + "\n\n", True),
        ("".join(f"{i}. Write it down.\n" for i in range(50)), False),
        ("x" * 7000, True),
    ],
)
def test_where_an_answer_ends_in_a_loop(text, expected):
    assert ends_in_loop(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I cannot help with that.", True),
        ("I’m sorry, but no.", True),
        ("As an AI language model, I have no taste.", True),
        ("Sorry,  I don't know.", True),
        ("You could say: I cannot help with that.", False),
        ("I canoed down the river.", False),
        ("", False),
    ],
)
def test_refusals_by_how_they_begin(text, expected):
    assert is_refusal(text) is expected


def test_distinct_n_grams():
    assert distinct("a b a b", 1) == 0.5
    assert distinct("a b a b", 2) == 2 / 3
    assert distinct("a", 2) is None


def test_a_sample_has_the_mean_of_its_texts():
    said = Completion("k", "a a", (1, 2), "stop", more=(Drawn("I cannot", (1, 2, 3, 4), "length"),))
    found = score_open([said, Completion("l", "b", (), "stop")], OPEN_METRICS)
    assert found == {
        "loops": 0.0, "refusals": 1 / 3, "truncated": 1 / 3, "tokens": 3.0, "characters": 4.0,
        "distinct-1": pytest.approx((0.5 + 1 + 1) / 3), "distinct-2": 1.0,
    }  # fmt: skip
    empty = score_open([Completion("k", "", (), "stop")], OPEN_METRICS)
    assert (empty["tokens"], empty["characters"], empty["distinct-1"]) == (0.0, 0.0, None)
