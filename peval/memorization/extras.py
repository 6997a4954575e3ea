"""What a probe shows beside its metrics' own estimates: points and curves, control by the base."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from peval.answers import Answers, is_there
from peval.estimation import control_of
from peval.memorization.aggregates import AUROC, split_scores
from peval.memorization.attacks import ATTACKS, CALIBRATED
from peval.memorization.blind import blind_check
from peval.memorization.prompts import prefixes_of
from peval.memorization.roc import (
    FALSE_POSITIVE_RATES,
    balanced_accuracy,
    curve,
    is_meaningful,
    tpr_at,
)
from peval.memorization.sets import FEW_RECORDS, MEMBER, NON_MEMBER, set_of
from peval.stats import Interval, mean_interval
from peval.types import Adapter, Estimate, Sample, Task

Systems = Mapping[str | None, Answers]
Sign = Callable[[Task, str, Any, int], str]
Found = tuple[str, Interval | None, int]  # metric, interval, number of items

BEYOND = "extracted_beyond_base"
LOSS = "auroc,loss"


def extras(
    task: Task,
    samples: Sequence[Sample],
    systems: Systems,
    adapters: Sequence[Adapter],
    sign: Sign,
) -> tuple[list[Estimate], dict[str, Any]]:
    """Return further estimates of a probe, and what its report draws.

    ``extraction``: the share of records that an adapter gives back and the base does not.
    ``membership``: the attack that is calibrated by the base, and for every attack balanced
    accuracy and true-positive rates (None where so few non-members cannot show such a rate); ROC
    curves and the blind check.
    """
    members: dict[str | None, Adapter | None] = {a.name: a for a in adapters}
    estimates = [
        _estimate(task, name, found, (systems[name], sign(task, found[0], who, found[2])))
        for name, who in ({None: None} | members).items()
        if name in systems
        for found in _extras_of(task, samples, _beside(who, systems, adapters), name)
    ]
    if task.settings["probe"] != "membership":
        return estimates, {}
    return estimates, {
        "roc": {name or "base": _curves(systems, name) for name in systems},
        "blind": _blind(task, samples),
        "n_non_members": sum(set_of(sample) == NON_MEMBER for sample in samples),
    }


def _beside(who: Adapter | None, systems: Systems, adapters: Sequence[Adapter]) -> Systems:
    """Return the systems with the base in the engine of an adapter."""
    control = control_of(who, adapters) if who else None
    return {**systems, None: systems[control]} if control else systems


def _extras_of(
    task: Task, samples: Sequence[Sample], systems: Systems, name: str | None
) -> Iterator[Found]:
    if task.settings["probe"] == "extraction" and name and None in systems:
        for k in prefixes_of(task):
            yield _beyond_base(k, systems[name], systems[None], samples)
    elif task.settings["probe"] == "membership":
        clusters = [sample.cluster for sample in samples]
        for attack, values in _attacks(systems, name):
            yield from _points(attack, values, clusters)


def _beyond_base(k: int, mine: Answers, base: Answers, samples: Sequence[Sample]) -> Found:
    """Return the share of records that are extracted, but not from the base already."""
    one, other = mine.values[f"extracted@{k}"], base.values[f"extracted@{k}"]
    there = is_there(one) & is_there(other)
    metric = f"{BEYOND}@{k}"
    if not there.any():
        return metric, None, 0
    clusters = [s.cluster for s, is_in in zip(samples, there, strict=True) if is_in]
    found = one[there].astype(float) * (1 - other[there].astype(float))
    return metric, mean_interval(found, clusters), int(there.sum())


def _attacks(systems: Systems, name: str | None) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield each attack with its scores, None where there is none; last the calibrated one."""
    mine = systems[name].values
    for attack in ATTACKS:
        yield attack, mine[f"auroc,{attack}"]
    if name is not None and None in systems:
        yield CALIBRATED, _calibrated(mine[LOSS], systems[None].values[LOSS])


def _calibrated(mine: np.ndarray[Any, Any], base: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return by how much likelier per token a text is with the adapter than without."""
    found = np.empty(len(mine), dtype=object)
    for i, (one, other) in enumerate(zip(mine, base, strict=True)):
        if one is not None and other is not None:
            found[i] = [one[0] - other[0], one[1]]
    return found


def _points(attack: str, values: np.ndarray[Any, Any], clusters: Sequence[str]) -> Iterator[Found]:
    items = [value for value in values if value is not None]
    kept = [c for c, value in zip(clusters, values, strict=True) if value is not None]
    scores, is_member = split_scores(items) if items else (np.zeros(0), np.zeros(0, dtype=bool))
    n = len(items)
    n_others = int((~is_member).sum())
    if not 0 < n_others < n:
        return
    if attack == CALIBRATED:
        assert AUROC.interval is not None
        yield f"auroc,{attack}", AUROC.interval(items, kept), n
    enough = min(n_others, n - n_others) >= FEW_RECORDS
    yield f"balanced_accuracy,{attack}", balanced_accuracy(scores, is_member) if enough else None, n
    for rate in FALSE_POSITIVE_RATES:
        shows = enough and is_meaningful(rate, n_others)
        found = tpr_at(scores, is_member, rate) if shows else None
        yield f"tpr_at_{100 * rate:g}%,{attack}", found, n


def _curves(systems: Systems, name: str | None) -> dict[str, list[list[float]]]:
    found = {}
    for attack, values in _attacks(systems, name):
        items = [value for value in values if value is not None]
        if len({value[1] for value in items}) == 2:
            found[attack] = curve(*split_scores(items))
    return found


def _blind(task: Task, samples: Sequence[Sample]) -> dict[str, float] | None:
    """Return the AUROC of texts alone, None where there are too few."""
    texts = {
        name: [f"{s.input} {s.targets[0]}" for s in samples if set_of(s) == name]
        for name in (MEMBER, NON_MEMBER)
    }
    if min(map(len, texts.values())) < FEW_RECORDS:
        return None
    found = blind_check(texts[MEMBER], texts[NON_MEMBER])
    return {"value": found.value, "low": found.low, "high": found.high}


def _estimate(task: Task, name: str | None, found: Found, how: tuple[Answers, str]) -> Estimate:
    (metric, interval, n_items), (system, signature) = found, how
    return Estimate(
        task=task.name,
        metric=metric,
        adapter=name,
        group=None,
        value=interval.value if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n_items=n_items,
        n_clusters=interval.n_clusters if interval else 0,
        n_missing=sum(said is None for said in system.said),
        signature=signature,
        **system.tally(),
    )
