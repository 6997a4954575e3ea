"""Other people's predictions, ids with texts or lm-eval's logs, become a run without an engine.

Each file is a system of its own in the place of an adapter, so that scores, intervals, report and
`peval compare` are those of any other run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from peval import datasets
from peval.coding import is_code, k_of, programs_allowed
from peval.counts import scored_by_counts
from peval.errors import DataError, TaskError, UsageError
from peval.logged import completions
from peval.prediction_files import Given, named_files, read_given, words_of
from peval.prediction_job import PredictionJob, task_of
from peval.rundir import PLANNED, RunDir, digest, record
from peval.store import Store
from peval.types import Adapter, Completion, Drawn, Request, Sample, Task
from peval.version import __version__

ENGINE = "predictions"
"""What stands for the engine in a run of predictions."""

UNKNOWN = ("truncated", "tokens")
"""Metrics of what a prediction does not tell: what ended it, and how many tokens it was."""


def import_predictions(job: PredictionJob) -> RunDir:
    """Write a run that holds predictions as completions; it is to be concluded yet.

    Files are JSON lines or a JSON list, plain or gzipped, each with ``id`` (or ``task_id``) and
    ``prediction`` (or ``completion``, ``solution``, ``response`` or ``output``), or lm-eval's
    ``samples_*.jsonl``. Where no id is given, ``prompt``, or ``instruction`` and ``input``, name
    the sample by its text. For tasks of several turns ``outputs`` lists the answer to each, or the
    lines are FastChat's, with ``question_id`` and ``choices``. Samples without a prediction stay
    unanswered and are never averaged.

    Raises
    ------
    UsageError
        The job names no files, two of one name, or not one task.
    DataError
        A file is missing, empty or malformed, an id stands in it twice, none is known, or not
        every turn is answered.
    TaskError
        The task scores likelihoods.
    """
    if not job.predictions:
        raise UsageError("nothing to score: give a file of predictions")
    files_by_name = named_files(job.predictions)
    task = programs_allowed([task_of(job)], **job.consent)[0]
    task = dataclasses.replace(task, metrics=tuple(m for m in task.metrics if m not in UNKNOWN))
    samples = datasets.read(task, Path(job.data_dir) if job.data_dir else None).samples
    ids = {words_of(sample.input): sample.id for sample in samples}
    several = _has_several(task)
    given = [read_given(name, path, several, ids) for name, path in files_by_name.items()]
    _check_scores_texts(task, samples, all(one.logged for one in given))
    if not several:
        _check_turns(task, samples, given)
    if is_code(task):
        task = _drawn(task, given, samples)
    task = scored_by_counts(task, {one.path: one.texts for one in given})
    left_out = {one.name: _unknown(one, samples) for one in given}
    rows = list(chain.from_iterable(_rows(one, task, samples) for one in given))
    config = {
        "task": record(task),
        "data": digest([[sample.id, sample.targets, sample.choices] for sample in samples]),
        "predictions": {one.name: one.sha256 for one in given},
    }
    rundir = RunDir(
        Path(job.out or Path("peval-runs") / f"{task.name}-{ENGINE}-{digest(config)[:8]}")
    )
    rundir.claim(config)
    rundir.write_manifest(_manifest(task, given, config, left_out, job.consent))
    with Store(rundir.store) as store:
        store.put_plan({task.name: samples}, [request for request, _ in rows])
        for _, completion in rows:
            if completion is not None:
                store.add(completion)
        store.flush()
    return rundir


def _has_several(task: Task) -> bool:
    return task.profile.decoding.n > 1 or is_code(task)


def _drawn(task: Task, given: Sequence[Given], samples: Sequence[Sample]) -> Task:
    """Return a task that draws as many programs as the files hold of the problem with the fewest.

    Raises
    ------
    DataError
        These are too few for one of the task's pass@k.
    """
    known = [sample.id for sample in samples]
    counts = [(len(one.texts[i]), i, one) for one in given for i in known if i in one.texts]
    counts += [
        (len(one.logged[i].responses[0]), i, one) for one in given for i in known if i in one.logged
    ]
    n, where, one = min(counts, key=lambda count: count[0], default=(1, "", None))
    decoding = dataclasses.replace(task.profile.decoding, n=n)
    task = dataclasses.replace(task, profile=dataclasses.replace(task.profile, decoding=decoding))
    for metric in task.metrics:
        if one is not None and k_of(metric) > n:
            raise DataError(
                f"{one.path}: {metric} needs {k_of(metric)} samples of each problem, and {where} "
                f"has {n}; give more samples, or a task of a smaller k"
            )
    return task


def _check_scores_texts(task: Task, samples: Sequence[Sample], are_logged: bool = False) -> None:
    for sample in samples:
        if are_logged and sample.queries:
            continue
        asked = sample.queries
        by_likelihood = any(q.continuations or q.rolling for q in asked) and not sample.choices
        if by_likelihood or len(asked) > 1:
            raise TaskError(f"{task.name} is scored by likelihoods, which predictions do not hold")


def _check_turns(task: Task, samples: Sequence[Sample], given: Sequence[Given]) -> None:
    """Raise DataError where a conversation has more or fewer answers than turns."""
    for one in given:
        for sample in samples:
            n, n_turns = len(one.texts.get(sample.id, ())), 1 + len(sample.follow_ups)
            if n not in (0, n_turns):
                raise DataError(
                    f"{one.path}: sample {sample.id!r} of {task.name} has {n_turns} turns, and "
                    f"here {n} answers; list the answer to each turn in 'outputs'"
                )


def _unknown(given: Given, samples: Sequence[Sample]) -> int:
    """Return how many predictions are for samples that the task has not; DataError if all are."""
    n_known = len(given.ids & {sample.id for sample in samples})
    if not n_known:
        mine, other = samples[0].id, next(iter(given.texts or given.logged))
        raise DataError(
            f"{given.path}: no id is known (here {other[:60]!r}; expected ids such as {mine!r})"
        )
    return len(given.ids) - n_known


def _rows(
    given: Given, task: Task, samples: Sequence[Sample]
) -> Iterator[tuple[Request, Completion | None]]:
    """Yield a request for each sample (for each of its queries), answered where it can be."""
    for sample in samples:
        n_parts = max(1, len(sample.queries)) + len(sample.follow_ups)
        keys = [_key(given, task, sample, part) for part in range(n_parts)]
        said: Sequence[Completion | None] = [None] * n_parts
        if texts := given.texts.get(sample.id):
            said = _completions(keys, texts)
        elif logged := given.logged.get(sample.id):
            said = completions(sample, keys, logged)
        how = task.profile.decoding
        for part, (key, one) in enumerate(zip(keys, said, strict=True)):
            yield Request(key, task.name, sample.id, given.name, (), how, part=part), one


def _completions(keys: Sequence[str], texts: Sequence[str]) -> list[Completion]:
    """Return an answer to each turn, or all answers drawn to the only one."""
    if len(keys) > 1:
        return [Completion(key, text, (), "stop") for key, text in zip(keys, texts, strict=True)]
    more = tuple(Drawn(text, (), "stop") for text in texts[1:])
    return [Completion(keys[0], texts[0], (), "stop", more=more)]


def _key(given: Given, task: Task, sample: Sample, part: int) -> str:
    parts = [ENGINE, given.name, given.sha256, task.name, sample.id]
    return hashlib.sha256("\n".join([*parts, str(part)] if part else parts).encode()).hexdigest()


def _manifest(
    task: Task,
    given: Sequence[Given],
    config: dict[str, Any],
    left_out: dict[str, int],
    consent: Mapping[str, bool],
) -> dict[str, Any]:
    """Return a manifest in which each file stands for an adapter, and no base for the base."""
    systems = [
        Adapter(one.name, one.path.resolve(), one.sha256, ENGINE, 0, (), None, False, "none")
        for one in given
    ]
    return {
        "status": "running",
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "config": config,
        "base": {"name": "none", "sha256": "none"},
        "base_files": {},
        "adapters": [record(system) for system in systems],
        "tasks": [record(task)],
        "job": {"seed": 0, "with_base": False, **consent},
        "serving": {
            "engine": ENGINE,
            "dtype": "none",
            "max_model_len": 0,
            "options": {"imported": "lm-eval"} if any(o.logged for o in given) else {},
        },
        "versions": {"peval": __version__},
        "left_out": left_out,
        PLANNED: {task.name: []},
    }
