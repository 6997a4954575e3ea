"""Which instances and which tasks are taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peval.datasets import splits
from peval.errors import TaskError


def test_seeded_indices_are_the_published_ones():
    # random.seed(42); numbers = list(range(200)); random.shuffle(numbers)
    train, in_task = splits.select(200, "train", 100), splits.select(200, "in-task", 100)
    assert train[:10] == [66, 187, 101, 193, 111, 121, 13, 2, 64, 44]
    assert in_task[:10] == [174, 4, 29, 183, 99, 98, 131, 124, 198, 134]
    assert splits.select(6500, "train", 100) == train


@given(st.integers(1, 400), st.sampled_from([None, 1, 10, 100, 300]))
def test_no_limit_lets_a_trained_instance_into_in_task(n_instances, limit):
    trained = set(splits.select(n_instances, "train", None))
    held_out = splits.select(n_instances, "in-task", limit)
    assert not trained & set(held_out)
    assert all(0 <= index < n_instances for index in held_out)
    assert held_out == splits.select(n_instances, "in-task", None)[:limit]


def test_short_tasks_are_cut_in_stored_order():
    assert splits.select(116, "train", 100) == list(range(100))
    assert splits.select(116, "in-task", 100) == list(range(100, 116))
    assert splits.select(60, "in-task", 100) == []
    assert splits.select(60, "train", 100) == list(range(60))


def test_test_takes_the_first():
    assert splits.select(300, "test", 100) == list(range(100))
    assert splits.select(300, "test", None) == list(range(300))


def test_unknown_split():
    with pytest.raises(TaskError, match="'dev'; known: test, xlingual-test, in-task, train"):
        splits.select(5, "dev", None)


def test_names_and_patterns():
    names = ["task2_b", "task1_a", "task[3]"]
    assert splits.matching(names, None) == names
    assert splits.matching(names, ["task1*", "*_b"]) == ["task2_b", "task1_a"]
    assert splits.matching(names, ["task[3]"]) == ["task[3]"]


def test_a_name_that_matches_nothing_is_met_with_the_nearest():
    with pytest.raises(TaskError, match="'task1_abc' among 2; did you mean task1_abd") as error:
        splits.matching(["task1_abd", "zzz"], ["zzz", "task1_abc"])
    assert "\n" not in str(error.value)


@given(st.lists(st.sampled_from(["a", "b", "t-1", "t-2", "t-2+", "", None]), max_size=12))
def test_ids_are_distinct_and_first_come_first_served(stored):
    ids = splits.distinct((name, f"t-{i}") for i, name in enumerate(stored))
    assert len(set(ids)) == len(stored)
    if stored and stored[0]:
        assert ids[0] == stored[0]
