"""Finished runs as arrays, from `results.json` and `completions.parquet` alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peval.errors import RunError
from peval.results import Results, load_results
from peval.rundir import RunDir

ROWS_AT_ONCE = 50_000
COLUMNS = ("task", "adapter", "sample_id", "category", "cluster", "input", "targets", "text",
           "logprobs", "error")  # fmt: skip

Strings = NDArray[np.object_]


@dataclass(frozen=True)
class Scores:
    """One system's scores on one task, sorted by item.

    ``values`` maps a metric to scores, NaN where there is none; a metric that only all items have
    together maps to what it needs of each, None where there is none. ``asked`` and ``said`` are
    hashes of item and answer, to be held against each other; ``answered`` is False where an
    answer is missing or failed.
    """

    ids: Strings
    clusters: Strings
    categories: Strings
    asked: NDArray[np.int64]
    said: NDArray[np.int64]
    answered: NDArray[np.bool_]
    values: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class FinishedRun:
    """What a run found, and every item's scores by (task, adapter)."""

    name: str
    path: Path
    results: Results
    scores: Mapping[tuple[str, str | None], Scores]


def read_run(path: Path, name: str) -> FinishedRun:
    """Read a run's results and scores.

    Raises
    ------
    RunError
        If it has no results (yet), or they cannot be read.
    """
    rundir = RunDir(path)
    if in_progress(path):
        raise RunError(f"{path}: still in progress, no results yet; wait for it, or go on with it")
    results = load_results(rundir.results)
    metrics = sorted({metric for task in results.tasks for metric in task["metrics"]})
    rows: dict[tuple[str, str | None], list[_Rows]] = {}
    for key, part in _read(rundir.completions, metrics):
        rows.setdefault(key, []).append(part)
    return FinishedRun(name, path, results, {key: _scores(parts) for key, parts in rows.items()})


def in_progress(path: Path) -> bool:
    """Tell whether a directory holds a run that has not come to any results."""
    rundir = RunDir(path)
    return rundir.manifest.exists() and not rundir.results.exists()


@dataclass(frozen=True)
class _Rows:
    """Successive rows of one system and task; a sample asked in parts has several."""

    ids: list[str]
    clusters: list[str]
    categories: list[str]
    asked: list[int]
    said: list[int | None]
    values: Mapping[str, NDArray[Any]]


def _read(path: Path, metrics: list[str]) -> Iterator[tuple[tuple[str, str | None], _Rows]]:
    """Yield rows batch by batch; texts are hashed and let go."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        known = [name for name in (*COLUMNS, *metrics) if name in file.schema_arrow.names]
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=known):
            yield from _split(batch, [m for m in metrics if m in known])
    except FileNotFoundError:
        raise RunError(f"{path}: not there; `peval rescore {path.parent}` writes it") from None
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{path}: not readable ({reason}); `peval rescore {path.parent}` writes it anew"
        ) from error


def _split(batch: Any, metrics: list[str]) -> Iterator[tuple[tuple[str, str | None], _Rows]]:
    column = {
        name: batch.column(name).to_pylist() for name in COLUMNS if name in batch.schema.names
    }
    values = {metric: _column(batch.column(metric)) for metric in metrics}
    items = zip(column["input"], column["targets"], column["cluster"], strict=True)
    asked = [hash((text, tuple(targets or ()), cluster)) for text, targets, cluster in items]
    logprobs = column.get("logprobs", [None] * len(asked))
    said = [
        None if text is None or error else hash((text, tuple(totals or ())))
        for text, totals, error in zip(column["text"], logprobs, column["error"], strict=True)
    ]
    start = 0
    for key, rows in groupby(zip(column["task"], column["adapter"], strict=True)):
        part = slice(start, start := start + sum(1 for _ in rows))
        yield (
            key,
            _Rows(
                column["sample_id"][part],
                column["cluster"][part],
                column["category"][part],
                asked[part],
                said[part],
                {m: v[part] for m, v in values.items()},
            ),
        )


def _column(cells: Any) -> NDArray[Any]:
    """Return numbers as floats; JSON, which compound metrics are kept in, as objects."""
    import pyarrow as pa

    if not pa.types.is_string(cells.type):
        return np.asarray(cells.to_numpy(zero_copy_only=False), dtype=float)
    column = np.empty(len(cells), dtype=object)
    column[:] = [None if cell is None else json.loads(cell) for cell in cells.to_pylist()]
    return column


def _scores(parts: list[_Rows]) -> Scores:
    """Return one row per item, sorted; an item's score stands in each of its parts."""
    ids = np.array([i for part in parts for i in part.ids], dtype=object)
    distinct, first = np.unique(ids, return_index=True)
    said = [answer for part in parts for answer in part.said]
    answers = said if len(distinct) == len(ids) else _joined(ids, said)
    clusters = np.array([c for part in parts for c in part.clusters], dtype=object)
    categories = np.array([c for part in parts for c in part.categories], dtype=object)
    asked = np.array([a for part in parts for a in part.asked], dtype=np.int64)
    return Scores(
        ids=distinct,
        clusters=clusters[first],
        categories=categories[first],
        asked=asked[first],
        said=np.array([answer or 0 for answer in answers], dtype=np.int64)[first],
        answered=np.array([answer is not None for answer in answers])[first],
        values={
            metric: np.concatenate([part.values[metric] for part in parts])[first]
            for metric in parts[0].values
        },
    )


def _joined(ids: Strings, said: list[int | None]) -> list[int | None]:
    """Return for each row what its item's parts say together; None if one of them is missing."""
    parts: dict[str, list[int | None]] = {}
    for name, answer in zip(ids, said, strict=True):
        parts.setdefault(name, []).append(answer)
    joined = {name: None if None in found else hash(tuple(found)) for name, found in parts.items()}
    return [joined[name] for name in ids]
