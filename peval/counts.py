"""Predictions that only tell how many of several runs were right: their accuracy, and no more."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from peval.errors import DataError, UsageError
from peval.scorers.labels import COUNT
from peval.types import Task

_COLUMN = re.compile(r"number of correct responses \(out of (\d+)\)")
"""How HANS's authors head the column of how many BERTs were right on a pair of MNLI."""


def counted(record: Mapping[str, object], where: str) -> str | None:
    """Return how many of how many runs were right, where a record tells that.

    Raises
    ------
    DataError
        It is no number, or more than there were runs.
    """
    found = next((m for name in record if (m := _COLUMN.fullmatch(str(name)))), None)
    if found is None:
        return None
    n, total = str(record[found[0]]).strip(), int(found[1])
    if not (n.isascii() and n.isdigit()) or int(n) > total:
        raise DataError(f"{where}: {n!r} right of {total}; expected a whole number of at most that")
    return f"{n} of {total} right"


def scored_by_counts(task: Task, given: Mapping[Path, Mapping[str, tuple[str, ...]]]) -> Task:
    """Return the task, scored by accuracy alone where files hold counts.

    Parameters
    ----------
    given
        Predictions by file and sample id.

    Raises
    ------
    DataError
        Some predictions are counts and others are not.
    UsageError
        The task has no labels.
    """
    said = [text for texts in given.values() for many in texts.values() for text in many]
    kinds = {COUNT.fullmatch(text) is not None for text in said}
    if True not in kinds:
        return task
    path = next(iter(given))
    if len(kinds) > 1:
        raise DataError(f"{path}: counts of runs and predictions do not mix; part them")
    if task.reader != "nlu":
        raise UsageError(f"{path}: counts of runs need a task of labels, not {task.name}")
    settings = {**task.settings, "counts": True}
    return dataclasses.replace(task, settings=settings, metrics=("accuracy",))
