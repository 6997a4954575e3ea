"""Finished runs made of given scores: the files that comparisons and gates read, no engine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from peval import estimation, families
from peval.answers import Answers
from peval.items import items as columns
from peval.parquet import AnswersFile
from peval.results import Results
from peval.types import (
    Adapter,
    Answered,
    Completion,
    Decoding,
    Posed,
    Profile,
    Sample,
    Score,
    Task,
)

HOW = Decoding(max_tokens=4)
PROFILE = Profile("plain", "plain", 0, None, None, HOW)
SERVING = {"engine": "scripted", "dtype": "float32", "max_model_len": 512, "options": {}}

Tasks = Mapping[str, Mapping[str | None, Sequence[float]]]


def task(name: str) -> Task:
    return Task(name, 1, "made", "jsonl", "test", PROFILE, ("rougeL", "exact_match"))


def posed(key: str, sample_id: str) -> Posed:
    return Posed(key, sample_id, False)


def adapter(name: str) -> Adapter:
    sha256 = name.encode().hex().ljust(64, "0")[:64]
    return Adapter(name, Path(name), sha256, "LoRA", 8, ("q",), None, False)


def made_run(
    path: Path,
    tasks: Tasks,
    ids: Sequence[str] | None = None,
    asked: str = "what?",
    n_per_cluster: int = 1,
    **signature: str,
) -> Path:
    """Write a run: scores by task and system; NaN is a failed request.

    An answer's text is its score and so alike where scores are.
    """
    estimates, comparisons = [], []
    blocks: dict[str, dict[str | None, list[tuple[Posed, Completion, Score]]]] = {}
    samples: dict[str, list[Sample]] = {}
    for name, systems in tasks.items():
        n = len(next(iter(systems.values())))
        items = [
            Sample(i, asked, ("t",), str(at // n_per_cluster) if n_per_cluster > 1 else i)
            for at, i in enumerate(ids or [f"{name}-{at}" for at in range(n)])
        ]
        samples[name] = items
        lined_up: dict[str | None, Answers] = {}
        for system, scores in systems.items():
            x = np.array(scores, dtype=float)
            lined_up[system] = Answers(
                {"rougeL": x, "exact_match": np.where(np.isnan(x), x, x == 1)},
                tuple(None if np.isnan(v) else str(v) for v in x),
            )
            for item, v in zip(items, x, strict=True):
                key = f"{name}/{system}/{item.id}"
                failed = bool(np.isnan(v))
                completion = Completion(
                    key, "" if failed else str(v), (), "error" if failed else "stop",
                    "engine_fault: made" if failed else None,
                )  # fmt: skip
                values = {} if failed else {"rougeL": float(v), "exact_match": float(v == 1)}
                score = Score(key, values, "failed" if failed else "ok")
                row = (posed(key, item.id), completion, score)
                blocks.setdefault(name, {}).setdefault(system, []).append(row)
        for system, found in lined_up.items():
            who = adapter(system) if system else None
            estimates += estimation.estimates(
                task(name), columns(items), who, found, _signer(signature)
            )
            if who and None in lined_up:
                pair = (found, lined_up[None])
                comparisons += estimation.comparisons(task(name), columns(items), who, pair, 0.05)
    names = list(dict.fromkeys(s for systems in tasks.values() for s in systems if s))
    rows = [row for systems in blocks.values() for some in systems.values() for row in some]
    n_failed = sum(score.status == "failed" for *_, score in rows)
    made = Results(
        run={
            "status": "partial" if n_failed else "complete",
            "n_requests": len(rows),
            "n_failed": n_failed,
            "n_unanswered": 0,
            "failures": [],
            "base": {"name": "base", "path": "base", "sha256": "0" * 64, "dtype": "float32"},
            "serving": SERVING,
            "seed": 0,
            "with_base": any(None in systems for systems in tasks.values()),
            "command": [],
            "versions": {},
            "scorer": "1",
            "peval": "0",
        },
        adapters=tuple(
            json.loads(json.dumps(dataclasses.asdict(adapter(n)), default=str)) for n in names
        ),
        tasks=tuple(_task_record(name, len(samples[name])) for name in tasks),
        estimates=tuple(estimates),
        comparisons=families.adjusted(comparisons, dict.fromkeys(tasks, "rougeL")),
        baselines=(),
    )
    path.mkdir(parents=True)
    (path / "manifest.json").write_text('{"manifest_version": 1}')
    (path / "results.json").write_text(json.dumps(made.to_dict()))
    with AnswersFile(path / "completions.parquet") as file:
        for name, by_system in blocks.items():
            file.begin(name, samples[name])
            for system, some in by_system.items():
                asked, said = [(p,) for p, _, _ in some], [(c,) for _, c, _ in some]
                scored = [score for *_, score in some]
                file.add(system, Answered(samples[name], asked, said), scored)
    return path


def _task_record(name: str, n_samples: int) -> dict[str, Any]:
    fields = json.loads(json.dumps(dataclasses.asdict(task(name)), default=str))
    return fields | {"n_samples": n_samples, "n_clusters": n_samples, "absent": []}


def _signer(given: Mapping[str, str]) -> Any:
    def sign(task: Task, metric: str, adapter: Adapter | None, n_items: int) -> str:
        fields = {
            "task": f"{task.name}.v1", "metric": metric, "adapter": adapter.name if adapter else
            "none", "n": n_items, "dtype": "float32", "interval": "made",
        } | given  # fmt: skip
        return "|".join(f"{key}:{value}" for key, value in fields.items())

    return sign
