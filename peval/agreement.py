"""A student beside its teacher: how often it chooses what the base chooses under demonstrations.

Context distillation trains a model to say without a context what it would say with one. So the
teacher is the base with demonstrations, and the student an adapter without; the base without any
shows what nobody had to learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from peval.answers import Answers
from peval.stats.intervals import mean_interval
from peval.types import Sample, Task

Record = dict[str, Any]
Part = tuple[Sequence[Sample], Mapping[str | None, Answers]]

_CHOICES = "mcc"  # the metric whose items hold what was chosen
_OF_SHOTS = ("shots", "contexts")


def agreements(tasks: Sequence[Task], parts: Mapping[str, Part]) -> list[Record]:
    """Return, for each task with demonstrations whose sentences were also asked without any, ...

    Returns
    -------
    list of dict
        ``teacher`` and ``student`` name the two tasks; ``systems`` has for each system (None: the
        base) the share of items and contexts in which it chose, without demonstrations, what the
        base chose with them, and its 95 % interval over contexts.
    """
    return [
        _agreement(shown, bare, parts)
        for shown in tasks
        if shown.settings.get("shots") and None in parts[shown.name][1]
        for bare in tasks
        if not bare.settings.get("shots") and _data(bare) == _data(shown)
    ]


def _data(task: Task) -> tuple[object, Record]:
    return task.profile, {k: v for k, v in task.settings.items() if k not in _OF_SHOTS}


def _agreement(shown: Task, bare: Task, parts: Mapping[str, Part]) -> Record:
    (samples, teachers), (questions, students) = parts[shown.name], parts[bare.name]
    wanted = list(zip(samples, _chosen(teachers[None]), strict=True))
    found = []
    for name, answers in students.items():
        said = dict(zip((q.id for q in questions), _chosen(answers), strict=True))
        found.append({"adapter": name} | _share(list(_same(wanted, said))))
    return {"teacher": shown.name, "student": bare.name, "systems": found}


def _chosen(answers: Answers) -> list[str | None]:
    """Return the label that each sample was given; None where there is no answer."""
    return [pair[1] if isinstance(pair, list) else None for pair in answers.values[_CHOICES]]


def _same(
    wanted: Sequence[tuple[Sample, str | None]], said: Mapping[str, str | None]
) -> Iterator[tuple[str, float]]:
    """Yield, with its context, whether an item was given the teacher's label."""
    for sample, label in wanted:
        mine = said.get(sample.id.removeprefix(f"{sample.cluster}/"))
        if label is not None and mine is not None:
            yield sample.cluster, float(mine == label)


def _share(same: Sequence[tuple[str, float]]) -> Record:
    if not same:
        return {"value": None, "low": None, "high": None}
    found = mean_interval([value for _, value in same], [cluster for cluster, _ in same])
    return {"value": found.value, "low": found.low, "high": found.high}
