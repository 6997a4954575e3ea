"""Every Eval Ever's record of results: schema 0.3.0 of evaleval/every_eval_ever at 9bce413."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peval.exports.systems import finished_at, folder_name, make_folder, systems, whole
from peval.results import Results
from peval.rundir import RunDir, write_json
from peval.types import Estimate

SCHEMA = "0.3.0"


def write(rundir: RunDir, results: Results, folder: Path) -> list[Path]:
    """Write one JSON file for each system; return the files."""
    manifest = rundir.read_manifest()
    make_folder(folder)
    written = []
    for system in systems(results):
        path = folder / f"{folder_name(manifest['base']['name'], system)}.json"
        write_json(path, _record(rundir, results, manifest, system))
        written.append(path)
    return written


def _record(
    rundir: RunDir, results: Results, manifest: dict[str, Any], system: str | None
) -> dict[str, Any]:
    base = manifest["base"]["name"]
    model = f"{base}+{system}" if system else base
    when = str(finished_at(rundir).timestamp())
    adapter = next((a for a in results.adapters if a["name"] == system), {})
    engine, _, version = manifest["serving"]["engine"].partition("-")
    where = {"deployment_type": "self_deployed", "model_availability": "unknown"}
    details = {"base": base, **where, **{k: str(v) for k, v in adapter.items() if v is not None}}
    tasks = {task["name"]: task for task in results.tasks}
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{'-'.join(tasks)}/{model}/{when}",
        "evaluation_timestamp": when,
        "retrieved_timestamp": when,
        "source_metadata": {
            "source_name": "peval",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "peval", "version": manifest["versions"].get("peval", "unknown")},
        "model_info": {
            "name": model,
            "id": model,
            "inference_engine": {"name": engine, "version": version or "unknown"},
            "additional_details": details,
        },
        "evaluation_results": [_result(e, tasks[e.task]) for e in whole(results, system)
                               if e.task in tasks],
    }  # fmt: skip


def _result(e: Estimate, task: dict[str, Any]) -> dict[str, Any]:
    decoding = task["profile"]["decoding"]
    uncertainty: dict[str, Any] = {"num_samples": e.n_items}
    if e.low is not None and e.high is not None:
        uncertainty["confidence_interval"] = {
            "lower": e.low, "upper": e.high, "confidence_level": 0.95,
        }  # fmt: skip
    return {
        "evaluation_name": e.task,
        "source_data": {"dataset_name": e.task, "source_type": "other"},
        "metric_config": {
            "evaluation_description": e.metric,
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {
            "score": e.value,
            "details": {"metric": e.metric, "signature": e.signature},
            "uncertainty": uncertainty,
        },
        "generation_config": {
            "generation_args": {
                "temperature": decoding["temperature"], "max_tokens": decoding["max_tokens"],
            },
        },
    }  # fmt: skip
