"""Blind check, overlaps, random spaces."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peval.errors import DataError
from peval.memorization.blind import blind_check
from peval.memorization.overlap import N_WORDS, overlapping, overlaps
from peval.memorization.space import parse_space
from peval.types import Query, Sample

WORDS = [f"w{i}" for i in range(60)]


def texts(rng: random.Random, n: int, words: list[str]) -> list[str]:
    return [" ".join(rng.choices(words, k=12)) for _ in range(n)]


def test_texts_of_one_kind_are_not_told_apart() -> None:
    rng = random.Random(0)
    found = [blind_check(texts(rng, 60, WORDS), texts(rng, 60, WORDS)) for _ in range(20)]
    assert sum(one.low <= 0.5 <= one.high for one in found) >= 17


def test_a_shift_of_the_texts_is_seen() -> None:
    rng = random.Random(0)
    found = blind_check(texts(rng, 60, WORDS[:50]), texts(rng, 60, WORDS[10:]))
    assert found.low > 0.6


def sample(name: str, text: str, target: str = "") -> Sample:
    return Sample(name, text, (target,), "c")


def test_overlaps_are_equal_records_and_thirteen_words_in_a_row() -> None:
    long = " ".join(WORDS[:20])
    train = [f"Aside: {long}!", "What is it?\nA cat."]
    tasks = {
        "one": [
            sample("ngram", f"before {' '.join(WORDS[3:16])} after"),
            sample("twelve", f"before {' '.join(WORDS[3:15])} after"),
            sample("equal", "what is IT", "a cat"),
            sample("same question, other answer", "what is it", "a dog"),
        ],
        "two": [Sample("asked", "", ("a cat",), "c", queries=(Query("What is it?"),))],
    }
    found = overlaps(train, tasks)
    assert found["tasks"]["one"] == {"equal": ["equal"], "ngram": ["ngram"], "n_samples": 4}
    assert overlapping(found, "one") == {"equal", "ngram"}
    assert overlapping(found, "two") == {"asked"}
    assert overlapping(found, "three") == set()
    assert N_WORDS == 13


def test_sets_that_hold_one_another_are_named() -> None:
    many = [sample(str(i), f"question {i}") for i in range(5)]
    found = overlaps([], {"whole": many, "part": many[:2], "other": [sample("x", "else")]})
    assert found["between"] == [{"tasks": ["part", "whole"], "n_common": 2, "is_contained": True}]
    crossing = overlaps([], {"a": many[:3], "b": many[2:]})
    assert crossing["between"][0]["is_contained"] is False


@pytest.mark.parametrize(
    ("pattern", "size"),
    [("[0-9]{4}", 10**4), ("[a-z]{2}-[1-9][0-9]-[a-z]{2}", 26**4 * 90), ("x[ab]", 2), ("[a-]", 2)],
)
def test_the_size_of_a_space_is_that_of_its_classes(pattern: str, size: int) -> None:
    space = parse_space(pattern)
    assert space.size == size
    assert space.holds(space.draw(random.Random(0)))


@pytest.mark.parametrize("pattern", ["", "abc", "[", "a{3}", "[]", "[b-a]", "[a-z]{0}"])
def test_what_is_no_space_is_refused_in_one_line(pattern: str) -> None:
    with pytest.raises(DataError, match="the space") as error:
        parse_space(pattern)
    assert "\n" not in str(error.value)


@given(st.integers(0, 30), st.integers(0, 9))
def test_the_others_are_distinct_reproducible_and_never_the_secret(n: int, first: int) -> None:
    space = parse_space("[0-9]")
    secret = str(first)
    others = space.others(secret, n, "seed")
    assert others == space.others(secret, n, "seed")
    assert len(set(others)) == len(others) == min(n, 9)
    assert secret not in others
    assert all(map(space.holds, others))
