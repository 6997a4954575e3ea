"""Which tasks and which of their instances an evaluation takes."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from peval.errors import TaskError
from peval.spelling import meant
from peval.types import Sample

TASK_LISTS = {"test": "test", "xlingual-test": "test", "in-task": "train", "train": "train"}
"""Split of an evaluation -> which official task list it draws from."""

NEEDS_ITS_LIST = {"xlingual-test"}
"""Splits that a folder of task files without a list cannot stand for."""

SIDE = 100
"""Instances on each side of the seeded split of a training task."""


def task_list(split: str) -> str:
    """Return "test" or "train": the official task list that a split draws from."""
    if split not in TASK_LISTS:
        known = ", ".join(TASK_LISTS)
        raise TaskError(f"unknown Super-NaturalInstructions split '{split}'; known: {known}")
    return TASK_LISTS[split]


def seeded_sides() -> tuple[list[int], list[int]]:
    """Return the (train, in-task) indices of a training task with at least 200 instances.

    As in github.com/hepengfe/parameter_efficient_instruction_tuning (e7b24918,
    ``util/ni_dataset.py``), the code of arXiv 2411.16775.
    """
    indices = list(range(2 * SIDE))
    random.Random(42).shuffle(indices)
    return indices[:SIDE], indices[SIDE:]


def select(n_instances: int, split: str, limit: int | None) -> list[int]:
    """Return the indices of the instances that a split takes from one task.

    ``test`` takes the first ``limit`` in stored order, or all when ``limit`` is None. ``train``
    and ``in-task`` divide a training task as the study did: 100 and 100 seeded indices of the
    first 200, or, below 200 instances, the first 100 and the rest. There ``limit`` only shortens
    a side, to its first ``limit`` indices; None and anything above 100 leave it whole. The
    division itself never moves with ``limit``, so that no setting can let an instance that the
    study trained on slip into ``in-task``.
    """
    if task_list(split) == "test":
        return list(range(n_instances))[:limit]
    if n_instances < 2 * SIDE:
        train, held_out = list(range(min(SIDE, n_instances))), list(range(SIDE, n_instances))
    else:
        train, held_out = seeded_sides()
    return (train if split == "train" else held_out)[:limit]


def matching(names: Sequence[str], patterns: Sequence[str] | None) -> list[str]:
    """Return the names that equal or match any pattern, in their own order; None keeps all.

    Raises
    ------
    TaskError
        A pattern matches no name; the message holds the nearest ones.
    """
    if patterns is None:
        return list(names)
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            raise TaskError(
                f"no Super-NaturalInstructions task matches '{pattern}' among {len(names)}; "
                f"{meant(pattern, names)}"
            )
    return matching_any(names, patterns)


def matching_any(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that equal or match any pattern, in their own order."""
    return [name for name in names if any(_matches(name, pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    """Say whether a name is the pattern itself or fits it as a shell pattern."""
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def distinct(wanted: Iterable[tuple[str | None, str]]) -> list[str]:
    """Return one id per (stored id, substitute): the substitute where the id is absent or taken."""
    taken: dict[str, None] = {}
    for stored, substitute in wanted:
        name = stored if stored and stored not in taken else substitute
        while name in taken:
            name += "+"
        taken[name] = None
    return list(taken)


def with_distinct_ids(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples with ids that no two tasks share, marked by their task if need be."""
    ids = distinct((sample.id, f"{sample.cluster}-{sample.id}") for sample in samples)
    return tuple(
        sample if sample.id == name else replace(sample, id=name)
        for sample, name in zip(samples, ids, strict=True)
    )
