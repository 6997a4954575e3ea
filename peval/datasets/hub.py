"""Super-NaturalInstructions in the hub's flattened form, read through ``datasets``.

The schema is that of huggingface.co/datasets/Muennighoff/natural-instructions: the columns
task_name, id, definition, inputs, targets, one row per reference. It carries neither positive
examples nor categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peval.datasets import splits
from peval.errors import DataError
from peval.hub import http_errors
from peval.types import Dataset, Instruction, Sample, Task

COLUMNS = ("task_name", "id", "definition", "inputs", "targets")
_PREFIX = "hub:"
_SCHEMA = f"expected the columns {', '.join(COLUMNS)}, all text; check --data-dir"
_ROWS_PER_BATCH = 10_000

_Rows = dict[tuple[str, str], tuple[str, list[str]]]
"""(id, input) -> (definition, targets), in stored order."""


def is_hub(place: Path) -> bool:
    """Say whether a place is an address on the hub, ``hub:OWNER/NAME``."""
    return str(place).startswith(_PREFIX)


def local_files(root: Path, kind: str) -> list[Path]:
    """Return the parquet or JSONL files of a split ("test" or "train") in a folder.

    Names or subfolders say the split (``test*.parquet``, ``test/*.jsonl``, ``data/test-*``); JSONL
    files in the folder itself that name no split belong to every split.
    """
    for suffix in ("parquet", "jsonl"):
        patterns = (f"{kind}*.{suffix}", f"{kind}/*.{suffix}", f"data/{kind}*.{suffix}")
        if found := sorted(path for pattern in patterns for path in root.glob(pattern)):
            return found
    named = ("train", "test", "validation")
    return sorted(path for path in root.glob("*.jsonl") if not path.name.startswith(named))


def read(task: Task, place: Path, clusters: Sequence[str] | None = None) -> Dataset:
    """Read ``hub:OWNER/NAME`` or a folder that holds files of its schema.

    Raises
    ------
    DataError
        The profile needs examples, or the data cannot be loaded or has another schema.
    TaskError
        A pattern in ``clusters`` matches no task.
    """
    if task.profile.n_positive_examples > 0:
        raise DataError(
            f"{place}: the hub's flattened form holds no positive examples, but the profile "
            f"'{task.profile.name}' needs {task.profile.n_positive_examples}; set --data-dir to a "
            "natural-instructions checkout, or choose a definition-only profile"
        )
    if task.split in splits.NEEDS_ITS_LIST:
        raise DataError(
            f"{place}: the hub's flattened form does not say which tasks are in the split "
            f"'{task.split}'; set --data-dir to a natural-instructions checkout"
        )
    table, files = _table(task, place)
    return Dataset(samples=_samples(table, task, place, clusters), files=files)


def files_of(task: Task, place: Path) -> tuple[Path, ...]:
    """Return the files that `read` would read; those of the hub are downloaded."""
    return _table(task, place)[1] if is_hub(place) else _local(task, place)


def cluster_names(task: Task, place: Path) -> list[str]:
    """Return the names of the tasks in the split."""
    return list(_table(task, place)[0].unique("task_name"))


def _local(task: Task, root: Path) -> tuple[Path, ...]:
    return tuple(local_files(root, splits.task_list(task.split)))


def _table(task: Task, place: Path) -> tuple[Any, tuple[Path, ...]]:
    """Return the split as a ``datasets.Dataset``, and its files."""
    if is_hub(place):
        name = str(place).removeprefix(_PREFIX)
        table = _load(place, name, split=splits.task_list(task.split))
        return table, tuple(Path(one["filename"]) for one in table.cache_files)
    files = _local(task, place)
    builder = "parquet" if files[0].suffix == ".parquet" else "json"
    return _load(place, builder, data_files=[str(path) for path in files], split="train"), files


def _load(place: Path, name: str, **options: Any) -> Any:
    """Return the split as a ``datasets.Dataset``; every known failure is one line."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{place}: reading it needs the package 'datasets' (pip install datasets), or set "
            "--data-dir to a natural-instructions checkout"
        ) from error
    failures = (OSError, ValueError, http_errors().HTTPError, datasets.exceptions.DatasetsError)
    try:
        return datasets.load_dataset(name, **options)
    except failures as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise DataError(
            f"{place}: cannot be loaded ({type(error).__name__}: {reason}); check the name and "
            "the network, or set --data-dir to a folder with the data"
        ) from error


def _samples(
    table: Any, task: Task, place: Path, clusters: Sequence[str] | None
) -> tuple[Sample, ...]:
    """Return the samples of the task's split, task by task in stored order."""
    for column in COLUMNS:
        dtype = getattr(table.features.get(column), "dtype", "missing")
        if dtype not in ("string", "large_string"):
            raise DataError(f"{place}: the column '{column}' is {dtype}; {_SCHEMA}")
        if table.data.column(column).null_count:
            raise DataError(f"{place}: the column '{column}' has rows without a value; {_SCHEMA}")
    names = splits.matching(table.unique("task_name"), clusters)
    rows = _rows(table, names, task.profile.instances_per_task)
    samples = [s for name in names for s in _of_one_task(name, rows[name], task)]
    if not samples:
        raise DataError(f"{place}: no rows for the split '{task.split}'; {_SCHEMA}")
    return splits.with_distinct_ids(samples)


def _rows(table: Any, names: Sequence[str], limit: int | None) -> dict[str, _Rows]:
    """Group rows by task and instance, so that several references become several targets.

    Only as many instances per task are held as any split can use: the whole train split is
    millions of rows.
    """
    most = None if limit is None else max(limit, 2 * splits.SIDE)
    grouped: dict[str, _Rows] = {name: {} for name in names}
    for batch in table.select_columns(list(COLUMNS)).iter(batch_size=_ROWS_PER_BATCH):
        for name, stored, definition, text, target in zip(*map(batch.get, COLUMNS), strict=True):
            rows = grouped.get(name, {})
            if (stored, text) in rows:
                rows[stored, text][1].append(target)
            elif name in grouped and (most is None or len(rows) < most):
                rows[stored, text] = (definition, [target])
    return grouped


def _of_one_task(name: str, rows: _Rows, task: Task) -> list[Sample]:
    """Return the samples that the split takes from one task."""
    ids = splits.distinct((stored, f"{name}-{i}") for i, (stored, _) in enumerate(rows))
    instructions = {definition: Instruction(definition) for definition, _ in rows.values()}
    entries = [(text, *row) for (_, text), row in rows.items()]
    chosen = splits.select(len(entries), task.split, task.profile.instances_per_task)
    return [
        Sample(
            id=ids[index],
            input=text,
            targets=tuple(dict.fromkeys(targets)),
            cluster=name,
            instruction=instructions[definition],
        )
        for index, (text, definition, targets) in ((i, entries[i]) for i in chosen)
    ]
