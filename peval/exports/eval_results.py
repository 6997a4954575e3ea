"""The hub's ``.eval_results/*.yaml``, written by huggingface_hub's own classes.

They place a number on a benchmark's leaderboard, so the benchmark is named by whoever exports.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peval.errors import UsageError
from peval.exports.systems import finished_at, folder_name, make_folder, systems, whole
from peval.results import Results
from peval.rundir import RunDir, write_text
from peval.types import Estimate


def write(
    rundir: RunDir, results: Results, folder: Path, benchmarks: Mapping[str, str]
) -> list[Path]:
    """Write each named task's headline for every system; return the files.

    Parameters
    ----------
    benchmarks
        ``OWNER/NAME:TASK_ID`` by task.
    """
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml

    places = {task: _place(task, name) for task, name in benchmarks.items()}
    headlines = {task["name"]: task["metrics"][0] for task in results.tasks}
    if not places or not places.keys() <= headlines.keys():
        named = ", ".join(places.keys() - headlines.keys()) or "none is named"
        raise UsageError(f"--format eval-results: give --benchmark TASK=OWNER/NAME:TASK_ID for "
                         f"tasks of this run, {', '.join(headlines)} ({named})")  # fmt: skip
    base = rundir.read_manifest()["base"]["name"]
    when = finished_at(rundir).isoformat(timespec="seconds")
    written = []
    for system in systems(results):
        place = folder / folder_name(base, system) / ".eval_results"
        make_folder(place)
        for e in whole(results, system):
            if e.metric == headlines.get(e.task) and e.task in places:
                rows = eval_result_entries_to_yaml([_entry(e, *places[e.task], when)])
                path = place / f"{e.task.replace('/', '_')}.yaml"
                write_text(path, yaml.safe_dump(rows, sort_keys=False))
                written.append(path)
    return written


def _place(task: str, name: str) -> tuple[str, str]:
    dataset, _, task_id = name.partition(":")
    if dataset.count("/") != 1 or not all([*dataset.split("/"), task_id]):
        raise UsageError(f"--benchmark {task}={name}: expected TASK=OWNER/NAME:TASK_ID")
    return dataset, task_id


def _entry(e: Estimate, dataset: str, task_id: str, when: str) -> Any:
    from huggingface_hub import EvalResultEntry

    assert e.value is not None
    notes = f"{e.metric} in percent, {e.n_items} items; peval {e.signature}"
    value = round(100 * e.value, 4)
    return EvalResultEntry(dataset_id=dataset, task_id=task_id, value=value, date=when, notes=notes)
