"""Scores of groups of tasks, from the same answers as the tasks' own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from peval import stats
from peval.answers import Answers, is_there
from peval.estimation import control_of
from peval.types import Adapter, Comparison, Estimate, Pool, Sample

Systems = Mapping[str | None, Answers]
Part = tuple[Sequence[Sample], Systems]
"""One task's samples and its systems' scores."""

Signer = Callable[[Pool, Adapter | None, int], str]
Scores = NDArray[np.float64]


def estimates(
    pool: Pool, parts: Mapping[str, Part], adapters: Sequence[Adapter], sign: Signer
) -> list[Estimate]:
    """Return each system's score on a group of tasks.

    Parameters
    ----------
    parts
        By task name.

    Returns
    -------
    list of Estimate
        Empty where a task's metric is no mean of shares: then the group's is none of items either.
    """
    mine = [parts[name] for name in pool.tasks]
    names = [name for name in (None, *(a.name for a in adapters)) if name in mine[0][1]]
    by_name = {adapter.name: adapter for adapter in adapters}
    found = []
    for name in names:
        scores = [_scores(part, pool.metric, name) for part in mine]
        if any(one is None for one in scores):
            return []
        there = [one[is_there(one)] for one in scores if one is not None]
        n_missing = sum(len(one) for one in scores if one is not None) - sum(map(len, there))
        interval = _interval(pool, there) if all(map(len, there)) else None
        found.append(
            Estimate(
                task=pool.name,
                metric=pool.metric,
                adapter=name,
                group=None,
                value=interval.value if interval else None,
                low=interval.low if interval else None,
                high=interval.high if interval else None,
                n_items=sum(map(len, there)),
                n_clusters=interval.n_clusters if interval else 0,
                n_missing=n_missing,
                signature=sign(pool, by_name[name] if name else None, sum(map(len, there))),
                **_tally(mine, name),
            )
        )
    return found


def comparisons(
    pool: Pool, parts: Mapping[str, Part], adapters: Sequence[Adapter]
) -> list[Comparison]:
    """Return each adapter's paired difference to the base on a group of tasks."""
    mine = [parts[name] for name in pool.tasks]
    if None not in mine[0][1]:
        return []
    found = []
    for adapter in adapters:
        if adapter.is_control:
            continue
        against = control_of(adapter, adapters)
        deltas, n_identical = [], 0
        for part in mine:
            theirs, base = (_scores(part, pool.metric, name) for name in (adapter.name, against))
            if theirs is None or base is None:
                return []
            there = is_there(theirs) & is_there(base)
            deltas.append((theirs - base)[there])
            said = zip(part[1][adapter.name].said, part[1][against].said, there, strict=True)
            n_identical += sum(a is not None and a == b for a, b, kept in said if kept)
        if not all(map(len, deltas)):
            continue
        interval, test = _difference(pool, deltas)
        found.append(
            Comparison(
                task=pool.name,
                metric=pool.metric,
                adapter=adapter.name,
                against=against,
                group=None,
                delta=interval.value,
                low=interval.low,
                high=interval.high,
                p_value=test.p_value,
                test=test.name,
                n_items=interval.n_items,
                n_clusters=interval.n_clusters,
                n_identical=n_identical,
            )
        )
    return found


def _scores(part: Part, metric: str, system: str | None) -> Scores | None:
    """Return a system's scores, or None where they are not shares."""
    values = part[1][system].values[metric]
    if values.dtype == object:
        return None
    there = values[is_there(values)]
    if not np.all((there >= 0) & (there <= 1)):
        return None
    return values


def _interval(pool: Pool, scores: Sequence[Scores]) -> stats.Interval:
    if not pool.by_size:
        return stats.stratified_interval(scores)
    together = np.concatenate(scores)
    return stats.mean_interval(together, list(map(str, range(len(together)))))


def _difference(pool: Pool, deltas: Sequence[Scores]) -> tuple[stats.Interval, stats.Test]:
    if not pool.by_size:
        return stats.stratified_difference(deltas)
    together = np.concatenate(deltas)
    items = list(map(str, range(len(together))))
    return stats.difference_interval(together, items), stats.paired_test(together, items)


def _tally(parts: Sequence[Part], system: str | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, systems in parts:
        for kind, n in systems[system].tally().items():
            found[kind] = found.get(kind, 0) + n
    return found
