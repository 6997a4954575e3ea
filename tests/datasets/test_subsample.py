"""Seeded subsamples."""

import random

from hypothesis import given
from hypothesis import strategies as st

from peval.datasets.subsample import choose


@given(st.lists(st.integers(), unique=True, max_size=60), st.integers(1, 60), st.integers(0, 9))
def test_a_subsample_is_distinct_records_and_repeatable(records, n, seed):
    chosen = choose(records, n, random.Random(seed))
    assert len(chosen) == len(set(chosen)) == min(n, len(records))
    assert set(chosen) <= set(records)
    assert chosen == choose(records, n, random.Random(seed))


def test_nothing_is_drawn_where_everything_is_kept():
    source = random.Random(42)
    assert choose([3, 1, 2], 3, source) == [3, 1, 2]
    assert source.random() == random.Random(42).random()


def test_the_subsample_is_that_of_pythons_generator():
    assert choose(range(10), 4, random.Random(42)) == [1, 0, 4, 9]
