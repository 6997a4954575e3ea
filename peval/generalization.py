"""Sentence classification beside its majority class, and out of domain beside in domain.

Works on scores alone. In domain and out of domain are different items, so the interval of their
difference joins those of the two means (Zou and Donner 2008, the method of variance estimates
recovery). Demonstrations are the same in both: there the difference is taken in each context, and
its interval is that of contexts, but no narrower than that of items, as contexts can agree by
chance. The majority class is held against a system item by item.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from peval.agreement import agreements
from peval.answers import Answers
from peval.baselines import majority_target
from peval.stats.intervals import difference_interval
from peval.types import Estimate, Sample, Task

METRIC = "accuracy"
Z = 1.96

Record = dict[str, Any]
Part = tuple[Sequence[Sample], Mapping[str | None, Answers]]


def generalization(
    tasks: Sequence[Task], parts: Mapping[str, Part], estimates: Iterable[Estimate]
) -> Record:
    """Return what `results.json` says of it; nothing where no sentences are classified.

    Returns
    -------
    dict
        ``majority``: for each task the majority class's accuracy, and for each system its
        difference to that with a 95 % interval. ``pairs``: for each task out of domain with one in
        domain their common sentences (``n_shared`` of ``n_out``) and for each system both
        accuracies and their difference, out of domain less in domain, with a 95 % interval, and
        its ``contexts`` where demonstrations were given. ``agreement``: `peval.agreement`.
    """
    mine = [task for task in tasks if task.reader == "nlu"]
    if not mine:
        return {}
    whole = {
        (e.task, e.adapter): e for e in estimates if e.group is None and e.metric == METRIC
    }  # fmt: skip
    return {
        "majority": [_majority(task.name, *parts[task.name]) for task in mine],
        "pairs": [_pair(one, other, parts, whole) for one, other in _pairs(mine)],
        "agreement": agreements(mine, parts),
    }


def _majority(
    task: str, samples: Sequence[Sample], systems: Mapping[str | None, Answers]
) -> Record:
    guesses = majority_target(samples)
    guessed = np.array([float(guesses[s.id] in s.targets) for s in samples])
    clusters = [sample.cluster for sample in samples]
    return {
        "task": task,
        "value": float(guessed.mean()),
        "gains": [
            {"adapter": name, **_gain(answers.values[METRIC] - guessed, clusters)}
            for name, answers in systems.items()
        ],
    }


def _gain(differences: Any, clusters: Sequence[str]) -> Record:
    there = ~np.isnan(differences)
    if not there.any():
        return {"value": None, "low": None, "high": None}
    kept = [cluster for cluster, is_there in zip(clusters, there, strict=True) if is_there]
    found = difference_interval(differences[there], kept)
    return {"value": found.value, "low": found.low, "high": found.high}


def _pairs(tasks: Sequence[Task]) -> Iterator[tuple[Task, Task]]:
    """Yield tasks in domain with those out of domain, asked with as many demonstrations."""
    for other in tasks:
        wanted = other.settings.get("in_domain")
        n_shots = other.settings.get("shots")
        for one in tasks:
            is_it = one.name in (wanted, f"{wanted}-{n_shots or 0}-shot")
            is_rest = one.settings.get("without") == other.settings.get("data")
            if wanted and (is_it or is_rest) and one.settings.get("shots") == n_shots:
                yield one, other


def _pair(
    one: Task,
    other: Task,
    parts: Mapping[str, Part],
    estimates: Mapping[tuple[str, str | None], Estimate],
) -> Record:
    (inner, systems), (outer, others) = parts[one.name], parts[other.name]
    inside, outside = set(_sentences(inner)), _sentences(outer)
    found = {
        name: (estimates.get((one.name, name)), estimates.get((other.name, name)))
        for name in systems
    }
    return {
        "in_domain": one.name,
        "out_of_domain": other.name,
        "n_shared": sum(sentence in inside for sentence in outside),
        "n_out": len(outside),
        "systems": [
            {"adapter": name}
            | _gap(
                a,
                b,
                _contexts(one, (inner, systems[name]), (outer, others[name])),
                _reach(systems[name], others[name]),
            )
            for name, (a, b) in found.items()
            if a is not None and b is not None and None not in (a.value, b.value)
        ],
    }


def _sentences(samples: Sequence[Sample]) -> list[str]:
    """Return what a set says, as often as it does; contexts ask the same once more each."""
    once = {s.id.removeprefix(f"{s.cluster}/"): s.input for s in samples}
    return [sentence for sentence in once.values() if sentence]


Answered = tuple[Sequence[Sample], Answers]


def _contexts(task: Task, inner: Answered, outer: Answered) -> list[Record]:
    """Return accuracies in and out of domain by context; none without demonstrations."""
    if not task.settings.get("shots"):
        return []
    inside, outside = _means(*inner), _means(*outer)
    return [
        {"context": name, "in_domain": mean, "out_of_domain": outside[name]}
        for name, mean in inside.items()
        if name in outside
    ]


def _means(samples: Sequence[Sample], answers: Answers) -> dict[str, float]:
    """Return a system's accuracy in each cluster."""
    found: dict[str, list[float]] = {}
    for sample, value in zip(samples, answers.values[METRIC].tolist(), strict=True):
        if not math.isnan(value):
            found.setdefault(sample.cluster, []).append(value)
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


def _reach(one: Answers, other: Answers) -> float:
    """Return how far the difference of two means is uncertain by their items alone."""
    each = [values[~np.isnan(values)] for values in (one.values[METRIC], other.values[METRIC])]
    return Z * math.sqrt(sum(float(v.var(ddof=1)) / len(v) for v in each if len(v) > 1))


def _gap(one: Estimate, other: Estimate, contexts: Sequence[Record], least: float) -> Record:
    """Return both values and their difference, with its interval where there is one."""
    a, b = one.value or 0.0, other.value or 0.0
    low, high = _of_contexts(contexts, b - a, least) if contexts else _joined(one, other)
    said = {"contexts": list(contexts)} if contexts else {}
    return {"in_domain": a, "out_of_domain": b, "gap": b - a, "low": low, "high": high} | said


def _of_contexts(
    contexts: Sequence[Record], gap: float, least: float
) -> tuple[float | None, float | None]:
    if len(contexts) < 2:
        return None, None
    differences = [one["out_of_domain"] - one["in_domain"] for one in contexts]
    found = difference_interval(differences, [one["context"] for one in contexts])
    half = max(least, found.value - found.low, found.high - found.value)
    return max(-1.0, gap - half), min(1.0, gap + half)


def _joined(one: Estimate, other: Estimate) -> tuple[float | None, float | None]:
    """Return the interval of the difference of two means that were measured on other items."""
    if None in (one.low, one.high, other.low, other.high):
        return None, None
    bounds = [float(x) for x in (one.low, one.high, other.low, other.high) if x is not None]
    a_low, a_high, b_low, b_high = bounds
    a, b = one.value or 0.0, other.value or 0.0
    return b - a - math.hypot(b - b_low, a_high - a), b - a + math.hypot(b_high - b, a - a_low)
