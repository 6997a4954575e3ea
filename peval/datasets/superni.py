"""Super-NaturalInstructions task files (github.com/allenai/natural-instructions).

Three layouts are read, with ``.json`` or ``.json.gz`` files: a checkout (``tasks/`` and
``splits/default/``), a folder with ``test_tasks/`` and ``train_tasks/``, and a flat folder of task
files. Where ``splits/default/{test,train}_tasks.txt`` is absent, every file belongs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peval.datasets import files, splits
from peval.errors import DataError
from peval.types import Dataset, Example, Instruction, Sample, Task

LAYOUT = (
    "tasks/*.json with splits/default/{test,train}_tasks.txt, or test_tasks/*.json and "
    "train_tasks/*.json, or *.json in the folder itself"
)
"""What ``--data-dir`` may hold, in the words of error messages."""

_TASK_FILE = (
    "expected a natural-instructions task file with Definition, Categories, Positive Examples and "
    "Instances (each with input and output); check --data-dir"
)

_HELP = f"expected {LAYOUT}; set --data-dir"
_SUFFIXES = (".json", ".json.gz")

# Tk-Instruct (7c0e400, src/compute_metrics.py) reports the older name of this task as the newer.
_ALIASES = {"task121_atomic_question_rewriting": "task121_zest_question_rewriting"}


def read(task: Task, root: Path, clusters: Sequence[str] | None = None) -> Dataset:
    """Return the samples of one split.

    Listed tasks without a file, or without instances for this split, are in ``Dataset.absent``.

    Raises
    ------
    DataError
        No task is found, or a file is malformed.
    TaskError
        The split is unknown, or a pattern in ``clusters`` matches no task.
    """
    names, found = _wanted(task, root, clusters)
    per_task = {name: _read_task(path, name, task) for name, path in found.items()}
    samples = [sample for samples in per_task.values() for sample in samples]
    absent = tuple(name for name in names if not per_task.get(name))
    if not samples:
        raise DataError(
            f"{root}: none of the {len(absent)} tasks asked for has instances here for the split "
            f"'{task.split}' ({', '.join(absent[:3])}, ...); {_HELP}"
        )
    return Dataset(splits.with_distinct_ids(samples), tuple(found.values()), absent)


def files_of(task: Task, root: Path, clusters: Sequence[str] | None = None) -> tuple[Path, ...]:
    """Return the task files that `read` would read."""
    return tuple(_wanted(task, root, clusters)[1].values())


def cluster_names(task: Task, root: Path) -> list[str]:
    """Return the names of the tasks in the split, whether or not their files are there."""
    return _wanted(task, root, None)[0]


def _wanted(
    task: Task, root: Path, clusters: Sequence[str] | None
) -> tuple[list[str], dict[str, Path]]:
    """Return the names that are asked for, and the files of those that are there."""
    kind = splits.task_list(task.split)
    found = task_files(root, kind)
    if not found:
        raise DataError(f"{root}: no task files for the split '{task.split}'; {_HELP}")
    names = listed(root, task.split)
    if not names and task.split in splits.NEEDS_ITS_LIST:
        raise DataError(f"{root}: no splits/xlingual/test_tasks.txt, which says what belongs here")
    names = splits.matching(names or list(found), clusters)
    return names, {name: found[name] for name in names if name in found}


def task_files(root: Path, kind: str) -> dict[str, Path]:
    """Return task name -> file, for the task list ``kind`` ("test" or "train")."""
    grouped = [root / name for name in ("tasks", "test_tasks", "train_tasks")]
    if any(folder.is_dir() for folder in grouped):
        folders = [root / "tasks", root / f"{kind}_tasks"]
    else:
        folders = [root]
    found = {
        path.name.removesuffix(suffix): path
        for folder in folders
        for suffix in _SUFFIXES
        for path in folder.glob(f"*{suffix}")
    }
    return dict(sorted(found.items()))


def listed(root: Path, split: str) -> list[str]:
    """Return the names in the official list of a split, or none where there is no list."""
    track = "xlingual" if split.startswith("xlingual-") else "default"
    path = root / "splits" / track / f"{splits.task_list(split)}_tasks.txt"
    if not path.is_file():
        return []
    lines = files.decode(files.read_bytes(path), str(path)).splitlines()
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _read_task(path: Path, name: str, task: Task) -> list[Sample]:
    """Return the samples that the task's split takes from one file."""
    record = files.parse(files.decode(files.read_bytes(path), str(path)), str(path))
    if not isinstance(record, dict):
        raise DataError(f"{path}: holds no JSON object; {_TASK_FILE}")
    instances = _records(record, "Instances", path)
    if not instances:
        raise DataError(f"{path}: 'Instances' is empty; {_TASK_FILE}")
    instruction = Instruction(_texts(record, "Definition", path)[0], _examples(record, path))
    category = next(iter(_texts(record, "Categories", path)))
    ids = splits.distinct((_id(one), f"{name}-{i}") for i, one in enumerate(instances))
    return [
        Sample(
            id=ids[index],
            input=_text(instances[index], "input", path, f"Instances[{index}]."),
            targets=_texts(instances[index], "output", path, f"Instances[{index}]."),
            cluster=_ALIASES.get(name, name),
            category=category,
            instruction=instruction,
        )
        for index in splits.select(len(instances), task.split, task.profile.instances_per_task)
    ]


def _id(instance: Mapping[str, Any]) -> str | None:
    """Return the stored id, or None where there is none that could serve."""
    stored = instance.get("id")
    return stored if isinstance(stored, str) else None


def _examples(record: Mapping[str, Any], path: Path) -> tuple[Example, ...]:
    """Return all positive examples of a task."""
    key = "Positive Examples"
    return tuple(
        Example(*(_text(one, part, path, f"{key}[{i}].") for part in ("input", "output")))
        for i, one in enumerate(_records(record, key, path))
    )


def _value(record: Mapping[str, Any], key: str, path: Path, inside: str) -> Any:
    """Return what a key holds; ``inside`` says in which record of the file."""
    if key not in record:
        raise DataError(f"{path}: key '{inside}{key}' is missing; {_TASK_FILE}")
    return record[key]


def _text(record: Mapping[str, Any], key: str, path: Path, inside: str = "") -> str:
    """Return a text, which may be empty."""
    value = _value(record, key, path, inside)
    if not isinstance(value, str):
        raise DataError(f"{path}: '{inside}{key}' must be text; {_TASK_FILE}")
    return value


def _texts(record: Mapping[str, Any], key: str, path: Path, inside: str = "") -> tuple[str, ...]:
    """Return at least one text: copies of the data hold either a list of texts or one text."""
    value = _value(record, key, path, inside)
    texts = [value] if isinstance(value, str) else value
    if not (isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)):
        raise DataError(f"{path}: '{inside}{key}' must be text or a list of texts; {_TASK_FILE}")
    return tuple(texts)


def _records(record: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """Return a list of JSON objects."""
    value = _value(record, key, path, "")
    if not (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
        raise DataError(f"{path}: '{key}' must be a list of JSON objects; {_TASK_FILE}")
    return value
