"""The index of lm-evaluation-harness over its own 14,000 task files, built once for a version."""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peval.errors import TaskError
from peval.machine import keep, recall

MISSING = 'lm-eval is not installed: pip install "peval[lm-eval]"'


def manager(include_path: str | None) -> Any:
    """Return lm-eval's task manager; files of ``include_path`` win over those that it ships.

    Raises
    ------
    TaskError
        lm-eval is not installed.
    """
    try:
        from lm_eval import tasks
    except ImportError as error:
        raise TaskError(MISSING) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    made = tasks.TaskManager(include_path=include_path, include_defaults=False)
    return _with(made, _shipped(Path(tasks.__file__).parent) | made.task_index)


def _shipped(folder: Path) -> dict[str, Any]:
    """Return the index of the files in a folder of lm-eval's: 12 s, or 0.1 s where it is known."""
    from lm_eval.tasks._index import Entry, Kind, TaskIndex

    # A checkout may change under one version; what pip installed does not.
    name = f"lm-eval index {version('lm_eval')} {folder} {folder.stat().st_mtime_ns}"
    rows = recall(name) if "site-packages" in folder.parts else None
    if rows is None:
        built = TaskIndex.build([folder])
        rows = [
            [one.name, one.kind.name, str(one.yaml_path or ""), sorted(one.tags)]
            for one in built.values()
        ]
        keep(name, rows)
    return {
        task: Entry(task, Kind[kind], Path(path) if path else None, None, set(tags))
        for task, kind, path, tags in rows
    }


def _with(made: Any, index: dict[str, Any]) -> Any:
    """Give a manager another index, and the lists of names that it makes of one."""
    from lm_eval.tasks._index import Kind

    kinds: dict[Any, list[str]] = {}
    for name, entry in index.items():
        kinds.setdefault(entry.kind, []).append(name)
    made._index = index
    made._all_tasks = sorted(index)
    made._all_subtasks = sorted(kinds.get(Kind.TASK, []) + kinds.get(Kind.PY_TASK, []))
    made._all_groups = sorted(kinds.get(Kind.GROUP, []))
    made._all_tags = sorted(kinds.get(Kind.TAG, []))
    return made
