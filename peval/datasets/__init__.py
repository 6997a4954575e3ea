"""Readers: one per family of data, each turning files into a ``Dataset``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from peval.bridges import lm_eval_samples
from peval.datasets import code, hub, jsonl, memorization, nlu, prompts, splits, superni, tulu
from peval.errors import DataError
from peval.scorers.choice import CHOICE_METRICS
from peval.scorers.open_text import OPEN_METRICS
from peval.types import Dataset, Task


def read(task: Task, data_dir: Path | None, clusters: Sequence[str] | None = None) -> Dataset:
    """Return the samples that a task asks for.

    ``data_dir`` is a folder of Super-NaturalInstructions data, or ``hub:OWNER/NAME``; None means
    the environment's ``PEVAL_DATA``. ``clusters`` keeps only the Super-NaturalInstructions tasks
    with these names or shell patterns. A ``jsonl`` task uses neither: it names its own file.

    Raises
    ------
    DataError
        The data is missing, empty or malformed.
    TaskError
        The split is unknown, or one of ``clusters`` matches no task.
    """
    if task.reader == "jsonl":
        return jsonl.read(task)
    if task.reader == "lm-eval":
        return lm_eval_samples.read(task)
    if task.reader == "memorization":
        return memorization.read(task)
    if task.reader == "code":
        return Dataset(code.read(task, data_dir), code.files_of(task, data_dir))
    if task.reader == "nlu":
        return Dataset(nlu.read(task, data_dir), nlu.files_of(task, data_dir))
    if task.reader == "prompts":
        return prompts.read(task, data_dir)
    if task.reader in tulu.READERS:
        return tulu.read(task, data_dir)
    place = _place(data_dir)
    if _is_flattened(task, place):
        return hub.read(task, place, clusters)
    return superni.read(task, place, clusters)


def files_of(
    task: Task, data_dir: Path | None, clusters: Sequence[str] | None = None
) -> tuple[Path, ...]:
    """Return the files that `read` would read, unread; raises as it does."""
    if task.reader == "jsonl":
        return (jsonl.path_of(task),)
    if task.reader == "lm-eval":
        return ()
    if task.reader == "memorization":
        return memorization.files_of(task)
    if task.reader == "code":
        return code.files_of(task, data_dir)
    if task.reader == "nlu":
        return nlu.files_of(task, data_dir)
    if task.reader == "prompts":
        return prompts.files_of(task, data_dir)
    if task.reader in tulu.READERS:
        return tulu.files_of(task, data_dir)
    place = _place(data_dir)
    if _is_flattened(task, place):
        return hub.files_of(task, place)
    return superni.files_of(task, place, clusters)


def metrics_of(task: Task) -> tuple[str, ...]:
    """Return a task's metrics; a person's own file may hold choices or open prompts.

    Raises as `read` does.
    """
    if task.reader != "jsonl":
        return task.metrics
    path = jsonl.path_of(task)
    if jsonl.has_choices(path):
        return CHOICE_METRICS
    return OPEN_METRICS if jsonl.is_open(path) else task.metrics


def narrow(
    tasks: Sequence[Task], data_dir: Path | None, patterns: Sequence[str]
) -> dict[str, list[str]]:
    """Return, by task, its Super-NaturalInstructions tasks that match any of the patterns.

    A task without a match is left out; ``jsonl`` tasks have no such names and keep everything.

    Raises
    ------
    TaskError
        A pattern matches nothing in any task; the message holds the nearest names.
    """
    names = {
        task.name: _cluster_names(task, data_dir) for task in tasks if task.reader == "superni"
    }
    splits.matching(list(dict.fromkeys(name for many in names.values() for name in many)), patterns)
    kept = {task: splits.matching_any(many, patterns) for task, many in names.items()}
    return {task: many for task, many in kept.items() if many}


def _cluster_names(task: Task, data_dir: Path | None) -> list[str]:
    place = _place(data_dir)
    if _is_flattened(task, place):
        return hub.cluster_names(task, place)
    return superni.cluster_names(task, place)


def _is_flattened(task: Task, place: Path) -> bool:
    """Say whether a place holds the hub's form; task files win where a folder has both."""
    kind = splits.task_list(task.split)
    return hub.is_hub(place) or (
        not superni.task_files(place, kind) and bool(hub.local_files(place, kind))
    )


def _place(data_dir: Path | None) -> Path:
    """Return the folder (or hub address) that holds Super-NaturalInstructions."""
    given = data_dir or os.environ.get("PEVAL_DATA")
    if not given:
        raise DataError(
            "Super-NaturalInstructions data is needed: set --data-dir (or PEVAL_DATA) to a folder "
            f"with {superni.LAYOUT}, or to hub:OWNER/NAME"
        )
    place = Path(given)
    if hub.is_hub(place):
        return place
    if not place.is_dir():
        raise DataError(
            f"{place}: not a folder; set --data-dir to one with {superni.LAYOUT}, or to "
            "hub:OWNER/NAME"
        )
    inner = place / "super_natural_instructions"
    return inner if inner.is_dir() else place
