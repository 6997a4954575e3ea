"""The files of lm-evaluation-harness 0.4, in a folder named after base and adapter.

Its own harness files everything under the base's name, so that adapters overwrite each other.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from peval.exports.systems import (
    answers_of,
    finished_at,
    folder_name,
    make_folder,
    samples_of,
    systems,
    whole,
    write_json_lines,
)
from peval.results import Results
from peval.rundir import RunDir, write_json
from peval.types import Estimate

FILTER = "none"


def write(rundir: RunDir, results: Results, folder: Path) -> list[Path]:
    """Write ``results_*.json`` and ``samples_*.jsonl`` of every system; return the files."""
    stamp = finished_at(rundir).strftime("%Y-%m-%dT%H-%M-%S.%f")
    manifest = rundir.read_manifest()
    answers = answers_of(rundir)
    written = []
    for system in systems(results):
        place = folder / folder_name(manifest["base"]["name"], system)
        make_folder(place)
        for task in results.tasks:
            asked = samples_of(answers, system, task["name"])
            rows = [_sample(i, parts, task["metrics"]) for i, parts in enumerate(asked)]
            path = place / f"samples_{task['name'].replace('/', '_')}_{stamp}.jsonl"
            written.append(write_json_lines(path, rows))
        path = place / f"results_{stamp}.json"
        write_json(path, _summary(rundir, results, manifest, system))
        written.append(path)
    return written


def _sample(number: int, parts: list[dict[str, Any]], metrics: list[str]) -> dict[str, Any]:
    first = parts[0]
    doc = {key: first[key] for key in ("sample_id", "input", "targets", "category", "cluster")}
    target = first["targets"][0] if first["targets"] else ""
    said = [row["text"] if not row["logprobs"] else row["logprobs"] for row in parts]
    scores = {m: first[m] for m in metrics if isinstance(first.get(m), int | float)}
    return {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": first["input"], "arg_1": {}}},
        "resps": [said],
        "filtered_resps": said[:1],
        "filter": FILTER,
        "metrics": list(scores),
        "doc_hash": _sha256(str(doc)),
        "prompt_hash": _sha256(first["input"]),
        "target_hash": _sha256(target),
        "peval_status": first["status"],
        **scores,
    }


def _summary(
    rundir: RunDir, results: Results, manifest: dict[str, Any], system: str | None
) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for e in whole(results, system):
        entry = found.setdefault(e.task, {"alias": e.task, "sample_len": e.n_items})
        entry[f"{e.metric},{FILTER}"] = e.value
        entry[f"{e.metric}_stderr,{FILTER}"] = _stderr(e)
    tasks = {task["name"]: task for task in results.tasks if task["name"] in found}
    adapter = next((a for a in results.adapters if a["name"] == system), None)
    base = manifest["base"]["name"]
    return {
        "results": found,
        "group_subtasks": {name: [] for name in found},
        "configs": {name: {"task": name, "metadata": task} for name, task in tasks.items()},
        "versions": {name: task["version"] for name, task in tasks.items()},
        "n-shot": {name: task["profile"]["n_positive_examples"] for name, task in tasks.items()},
        "higher_is_better": {
            name: dict.fromkeys(task["metrics"], True) for name, task in tasks.items()
        },
        "n-samples": {
            name: {"original": entry["sample_len"], "effective": entry["sample_len"]}
            for name, entry in found.items()
        },
        "config": {"model": manifest["serving"]["engine"], "model_args": {"pretrained": base}},
        "model_source": "peval",
        "model_name": f"{base} + {system}" if system else base,
        "adapter": adapter,
        "signatures": {e.task: e.signature for e in whole(results, system)},
        "date": finished_at(rundir).timestamp(),
        "versions_of_packages": manifest["versions"],
    }


def _stderr(e: Estimate) -> float | str:
    """Return the standard error of which a normal 95 % interval would be as wide as ours."""
    if e.low is None or e.high is None:
        return "N/A"
    return (e.high - e.low) / (2 * 1.96)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
