"""Tasks of sentence classification: rows to samples, in the words of a profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from peval.datasets import places
from peval.datasets.nlu.contexts import draw, qqp_subset
from peval.datasets.nlu.patterns import Pattern, for_head, pattern_of
from peval.datasets.nlu.rows import Row, files_for, rows
from peval.datasets.nlu.sources import SOURCES
from peval.errors import DataError, TaskError
from peval.types import Labelling, Sample, Task

LAYOUT = "the files of MNLI, HANS, CoLA, RTE or QQP (docs/low-resource.md)"
PROMPTS = ("verbalizers", "minimal", "gpt-3", "eval-harness", "head", "head-pattern")
OF_WORDS = ("accuracy_full_vocabulary", "no_label")  # what only a language model can miss

_WITHOUT_NEUTRAL = ("entailment", "contradiction")


@dataclass(frozen=True)
class _Asked:
    """What one task asks: its rows, the labels in the order of their numbers, and how."""

    task: Task
    labels: tuple[str, ...]
    pattern: Pattern | None


def read(task: Task, data_dir: Path | None) -> tuple[Sample, ...]:
    """Return a task's samples; with demonstrations, once for each context.

    Raises
    ------
    DataError
        The data is missing or malformed.
    TaskError
        The profile does not ask this data set, or asks heads with demonstrations.
    """
    asked, folder = _asked(task), _folder(task, data_dir)
    items = _items(task, folder)[: task.profile.instances_per_task]
    if not _shots(task):
        return tuple(_sample(asked, row, "", row.id, _cluster(task, row)) for row in items)
    return tuple(
        _sample(asked, row, context, f"context {seed}/{row.id}", f"context {seed}")
        for seed in range(cast(int, task.settings.get("contexts", 1)))
        for context in (_context(asked, folder, seed),)
        for row in items
    )


def files_of(task: Task, data_dir: Path | None) -> tuple[Path, ...]:
    """Return the files that `read` would read; raises as it does."""
    folder = _folder(task, data_dir)
    asked = [(_data(task), "validation")]
    if without := task.settings.get("without"):
        asked.append((str(without), "validation"))
    if _shots(task) or task.settings.get("subset"):
        asked.append((SOURCES[_data(task)].train, "train"))
    return tuple(file for one in asked for file in files_for(*one, folder))


def expand(task: Task, shots: Sequence[int], contexts: int, as_sequence: bool) -> list[Task]:
    """Return a task for each number of demonstrations; the task itself where none is given."""
    settings = dict(task.settings)
    if task.profile.asks_heads:
        kept = tuple(metric for metric in task.metrics if metric not in OF_WORDS)
        task = dataclasses.replace(task, metrics=kept)
    if as_sequence:
        settings["sequence"] = True
    if not shots:
        return [dataclasses.replace(task, settings=settings)]
    return [
        dataclasses.replace(
            task,
            name=f"{task.name}-{n}-shot",
            settings=settings | ({"shots": n, "contexts": contexts} if n else {}),
        )
        for n in shots
    ]


def labels_of(task: Task) -> tuple[str, ...]:
    """Return a task's labels in the order of their numbers."""
    if task.settings.get("binary"):
        return _WITHOUT_NEUTRAL
    return SOURCES[_data(task)].label_names


def _asked(task: Task) -> _Asked:
    how, labels = task.profile.prompt, labels_of(task)
    if how not in PROMPTS:
        raise TaskError(
            f"{task.name} is asked by a profile llmft* or lowres-2024*, not by "
            f"'{task.profile.name}'"
        )
    if task.profile.asks_heads:
        if _shots(task):
            raise TaskError(f"the profile '{task.profile.name}' takes no demonstrations")
        return _Asked(task, labels, None)
    pattern = pattern_of(how, _data(task))
    if pattern is None or len(pattern.verbalizers) != len(labels):
        return _Asked(task, labels, None)
    if _shots(task) and not pattern.separator:
        raise TaskError(
            f"the profile '{task.profile.name}' takes no demonstrations; use one of llmft-minimal, "
            "llmft-gpt-3, llmft-eval-harness"
        )
    return _Asked(task, labels, pattern)


def _items(task: Task, folder: Path) -> list[Row]:
    """Return the rows that a task evaluates."""
    found = list(_labelled(task, rows(_data(task), "validation", folder)))
    if without := task.settings.get("without"):
        held = {row.texts for row in rows(str(without), "validation", folder)}
        found = [row for row in found if row.texts not in held]
    if _data(task) == "qqp" and task.settings.get("subset"):
        train = rows("qqp", "train", folder)
        found = qqp_subset(train, found)[1]
    return found


def _labelled(task: Task, found: Sequence[Row]) -> Sequence[Row]:
    """Return the rows whose label the task has."""
    return [row for row in found if row.label in labels_of(task)]


def _context(asked: _Asked, folder: Path, seed: int) -> str:
    """Return a context's demonstrations as text."""
    if asked.pattern is None:
        raise TaskError(f"{asked.task.name}: the profile '{asked.task.profile.name}' has no words "
                        "for its labels")  # fmt: skip
    data_set = SOURCES[_data(asked.task)].train
    names = _WITHOUT_NEUTRAL if data_set == "mnli" else SOURCES[data_set].label_names
    pool = [row for row in _training(data_set, folder) if row.label in names]
    try:
        chosen = draw(pool, names, _shots(asked.task), seed)
    except DataError as error:
        raise DataError(f"{asked.task.name}: {error}; give other --shots") from error
    return "".join(asked.pattern.demonstration(r.texts, names.index(r.label)) for r in chosen)


@cache
def _training(data_set: str, folder: Path) -> Sequence[Row]:
    found = rows(data_set, "train", folder)
    return qqp_subset(found)[0] if data_set == "qqp" else found


def _sample(asked: _Asked, row: Row, context: str, name: str, cluster: str) -> Sample:
    return Sample(
        id=name,
        input="\n".join(row.texts),
        targets=(row.label,),
        cluster=cluster,
        category=_category(row),
        choices=asked.labels,
        labelling=_labelling(asked, row, context),
    )


def _labelling(asked: _Asked, row: Row, context: str) -> Labelling:
    """Return what is asked: nothing where the file is a key, or the profile has no words."""
    if asked.task.profile.asks_heads and row.texts:
        text, second = for_head(asked.task.profile.prompt, row.texts)
        return Labelling(text, asked.labels, asked.task.profile.max_source_tokens, second=second)
    if asked.pattern is None or not row.texts:
        return Labelling("", ())
    return Labelling(
        context + asked.pattern.question(row.texts),
        asked.pattern.verbalizers,
        max_tokens=asked.task.profile.max_source_tokens,
        too_long="leave-out" if asked.pattern.separator else "cut-end",
        as_sequence=bool(asked.task.settings.get("sequence")),
    )


def _category(row: Row) -> str:
    return f"{row.heuristic}, {row.label}" if row.heuristic else row.label


def _cluster(task: Task, row: Row) -> str:
    return row.subcase or row.id


def _shots(task: Task) -> int:
    return cast(int, task.settings.get("shots", 0))


def _data(task: Task) -> str:
    return str(task.settings["data"])


def _folder(task: Task, data_dir: Path | None) -> Path:
    """Return the data folder: the data set's own, or the one that holds those of all."""
    found = places.folder(data_dir, ".", LAYOUT)
    if not found.is_dir():
        raise DataError(f"{found}: not a folder; set --data-dir to one with {LAYOUT}")
    return found
