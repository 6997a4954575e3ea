"""What every format needs: a run's systems, their estimates, and a time that does not move."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
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
