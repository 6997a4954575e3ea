"""Logs of Inspect (UK AISI), written by its own library, for ``inspect view``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
)
from peval.results import Results
from peval.rundir import RunDir
from peval.types import Estimate


def write(rundir: RunDir, results: Results, folder: Path) -> list[Path]:
    """Write a log for each system and task; return the files."""
    from inspect_ai.log import write_eval_log

    manifest, answers = rundir.read_manifest(), answers_of(rundir)
    make_folder(folder)
    written = []
    for system in systems(results):
        for task in results.tasks:
            samples = samples_of(answers, system, task["name"])
            found = [e for e in whole(results, system) if e.task == task["name"]]
            log = _log(rundir, manifest, task, system, samples, found)
            name = f"{task['name']}__{folder_name(manifest['base']['name'], system)}.eval"
            path = folder / name.replace("/", "_")
            write_eval_log(log, path, format="eval")
            written.append(path)
    return written


def _log(
    rundir: RunDir,
    manifest: Mapping[str, Any],
    task: Mapping[str, Any],
    system: str | None,
    samples: Sequence[Sequence[Mapping[str, Any]]],
    found: Sequence[Estimate],
) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec, EvalStats
    from inspect_ai.model import GenerateConfig

    base, how = manifest["base"]["name"], task["profile"]["decoding"]
    when = finished_at(rundir).isoformat(timespec="seconds")
    ids = [sample[0]["sample_id"] for sample in samples]
    n_done = sum(all(part["error"] is None for part in sample) for sample in samples)
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=when,
            task=task["name"],
            task_version=task["version"],
            dataset=EvalDataset(name=task["name"], samples=len(samples), sample_ids=ids),
            model=f"peval/{base}+{system}" if system else f"peval/{base}",
            model_generate_config=GenerateConfig(
                temperature=how["temperature"], max_tokens=how["max_tokens"]
            ),
            config=EvalConfig(),
            packages={"peval": manifest["versions"].get("peval", "unknown")},
            metadata={"adapter": system, "signatures": {e.metric: e.signature for e in found}},
        ),
        results=EvalResults(
            total_samples=len(samples), completed_samples=n_done, scores=[_score(e) for e in found]
        ),
        stats=EvalStats(started_at=when, completed_at=when),
        samples=[_sample(sample, task["metrics"], base) for sample in samples],
    )


def _score(e: Estimate) -> Any:
    """Return an estimate with its interval, as metrics of one scorer."""
    from inspect_ai.log import EvalMetric, EvalScore

    values = {"mean": e.value, "low_95": e.low, "high_95": e.high}
    metrics = {k: EvalMetric(name=k, value=v) for k, v in values.items() if v is not None}
    return EvalScore(name=e.metric, scorer=e.metric, scored_samples=e.n_items,
                     unscored_samples=e.n_missing, metrics=metrics)  # fmt: skip


def _sample(parts: Sequence[Mapping[str, Any]], metrics: Sequence[str], model: str) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ModelOutput
    from inspect_ai.scorer import Score

    first = parts[0]
    said = "\n\n".join(part["text"] or "" for part in parts)
    stop = "max_tokens" if first["finish_reason"] == "length" else "stop"
    scores = {m: first[m] for m in metrics if isinstance(first.get(m), int | float)}
    return EvalSample(
        id=first["sample_id"],
        epoch=1,
        input=first["input"],
        target=list(first["targets"] or ()),
        messages=[ChatMessageUser(content=first["input"]), ChatMessageAssistant(content=said)],
        output=ModelOutput.from_content(model, said, stop, first["error"]),
        scores={m: Score(value=value, answer=first["chosen"]) for m, value in scores.items()},
        metadata={"category": first["category"], "cluster": first["cluster"],
                  "peval_status": first["status"], "logprobs": [p["logprobs"] for p in parts]},
    )  # fmt: skip
