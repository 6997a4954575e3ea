"""What every format needs: a run's systems, their estimates, and a time that does not move."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peval.errors import RunError
from peval.results import Results
from peval.rundir import RunDir, write_text
from peval.types import Estimate


def systems(results: Results) -> list[str | None]:
    """Return the names of all systems with whole-task estimates; None is the base."""
    return list(dict.fromkeys(e.adapter for e in results.estimates if e.group is None))


def whole(results: Results, system: str | None) -> list[Estimate]:
    """Return a system's estimates of whole tasks that have a value."""
    return [
        e
        for e in results.estimates
        if e.adapter == system and e.group is None and e.value is not None
    ]


def scalars(results: Results, system: str | None) -> dict[str, float]:
    """Return whole tasks' values as ``peval/TASK/METRIC``, and with ``-delta`` less the base's."""
    found = {
        f"peval/{e.task}/{e.metric}": e.value for e in whole(results, system) if e.value is not None
    }
    return found | {
        f"peval/{c.task}/{c.metric}-delta": c.delta
        for c in results.comparisons
        if c.adapter == system and c.group is None and c.delta is not None
    }


def answers_of(rundir: RunDir) -> list[dict[str, Any]]:
    """Return every request of a run with its answer and its scores."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(rundir.completions).to_pylist()
    return rows


def samples_of(
    answers: Iterable[dict[str, Any]], system: str | None, task: str
) -> list[list[dict[str, Any]]]:
    """Return what one system was asked of a task: for each sample, all its requests and draws."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in answers:
        if (row["adapter"], row["task"]) == (system, task):
            found.setdefault(row["sample_id"], []).append(row)
    return list(found.values())


def folder_name(base: str, system: str | None) -> str:
    """Return a name for files: the base's, and the adapter's where there is one."""
    name = Path(base).name if Path(base).is_dir() else base
    return re.sub(r"[\"<>:/|\\?*\[\]\s]+", "__", f"{name}__{system}" if system else name)


def finished_at(rundir: RunDir) -> datetime:
    """Return when the run's results were written."""
    return datetime.fromtimestamp(rundir.results.stat().st_mtime, UTC)


def write_json_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write one JSON object a line, whole or not at all."""
    make_folder(path.parent)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def make_folder(folder: Path) -> None:
    """Make a folder; RunError if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{folder}: cannot be made ({error.strerror}); choose another --out"
        raise RunError(why) from error
