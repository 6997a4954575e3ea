"""Scores to estimates, and pairs of them to differences: whole tasks, categories, clusters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peval import corpus, stats
from peval.answers import Answers, is_there
from peval.corpus import Aggregate, is_mean, is_whole_only
from peval.items import Items
from peval.stats.units import Clusters
from peval.types import HF, Adapter, Comparison, Estimate, Task

Signer = Callable[[Task, str, Any, int], str]


def estimates(
    task: Task,
    items: Items,
    adapter: Adapter | str | None,
    system: Answers,
    sign: Signer,
    aggregates: Mapping[str, Aggregate] = {},
) -> Iterator[Estimate]:
    """Yield one system's estimates on one task: whole, by category, by cluster.

    ``adapter`` is None for the base, and a name for a baseline.
    """
    name = adapter.name if isinstance(adapter, Adapter) else adapter
    for metric in task.metrics:
        values, unasked = system.values[metric], system.unasked.get(metric)
        has_score = is_there(values)
        for group, rows in items.groups:
            if group is not None and is_whole_only(aggregates.get(metric)):
                continue
            asked = rows if unasked is None else rows[~unasked[rows]]
            there = asked[has_score[asked]]
            n_items = len(there)
            found = values[there], items.clusters[there]
            interval = _interval(*found, aggregates.get(metric)) if n_items else None
            interval = interval if interval and not math.isnan(interval.value) else None
            yield Estimate(
                task=task.name,
                metric=metric,
                adapter=name,
                group=group,
                value=interval.value if interval else None,
                low=finite(interval.low) if interval else None,
                high=finite(interval.high) if interval else None,
                n_items=n_items,
                n_clusters=interval.n_clusters if interval else 0,
                n_missing=len(asked) - n_items,
                signature=sign(task, metric, adapter, n_items),
                **system.tally(asked),
            )


def control_of(adapter: Adapter, adapters: Iterable[Adapter]) -> str | None:
    """Name what an adapter is held against: the base (None), or the base in the same engine."""
    if adapter.route != HF:
        return None
    return next((one.name for one in adapters if one.is_control), None)


def comparisons(
    task: Task,
    items: Items,
    adapter: Adapter,
    pair: tuple[Answers, Answers],
    alpha: float,
    aggregates: Mapping[str, Aggregate] = {},
    against: str | None = None,
) -> Iterator[Comparison]:
    """Yield one adapter's paired differences to the base: `pair` is (adapter's, base's).

    ``against`` names the base where it is asked in a second engine (`control_of`).

    The whole task and each category carry a p-value; a single cluster's difference has its
    interval only, as there are too many of them for their p-values to mean anything. The headline
    metric of the whole task has its minimum detectable effect at level `alpha`.
    """
    system, base = pair
    same = np.array([a is not None and a == b for a, b in zip(system.said, base.said)])  # noqa: B905
    for metric in task.metrics:
        mine, theirs = system.values[metric], base.values[metric]
        have_scores = is_there(mine) & is_there(theirs)
        for group, rows in items.groups:
            if group is not None and is_whole_only(aggregates.get(metric)):
                continue
            there = rows[have_scores[rows]]
            both, c = (mine[there], theirs[there]), items.clusters[there]
            n_identical = int(same[there].sum())
            headline = group is None and metric == task.metrics[0]
            how, level = aggregates.get(metric), alpha if headline else None
            is_tested = not (group or "").startswith("task:")
            found = paired(both, c, n_identical, how, level, is_tested) if len(c) else None
            interval, test, mde = found or (None, None, None)
            yield Comparison(
                task=task.name,
                metric=metric,
                adapter=adapter.name,
                against=against,
                group=group,
                delta=interval.value if interval else None,
                low=finite(interval.low) if interval else None,
                high=finite(interval.high) if interval else None,
                p_value=test.p_value if test else None,
                test=test.name if test else "none",
                n_items=len(c),
                n_clusters=interval.n_clusters if interval else 0,
                n_identical=n_identical,
                mde=mde,
            )


def finite(bound: float) -> float | None:
    """Return a bound, or None where there is none: one cluster says nothing about others."""
    return bound if math.isfinite(bound) else None


def _interval(
    values: NDArray[Any], clusters: Clusters, aggregate: Aggregate | None
) -> stats.Interval:
    """Return a metric's interval: of a mean of shares, or of whatever ``aggregate`` computes."""
    if (found := _shares((values,), clusters, aggregate)) is not None:
        (shares,), units = found
        return stats.mean_interval(shares, units)
    assert aggregate is not None
    return corpus.interval(values.tolist(), clusters, aggregate)


def _shares(
    columns: Sequence[NDArray[Any]], clusters: Clusters, aggregate: Aggregate | None
) -> tuple[Sequence[NDArray[Any]], Clusters] | None:
    """Return columns of numbers in [0, 1] and their clusters; None where no mean of such is meant.

    An item that holds several becomes as many rows.
    """
    if aggregate is None:
        return columns, clusters
    if aggregate.of_shares:
        return corpus.spread(columns, clusters)
    own = aggregate.interval is not None or aggregate.other_scale
    plain = not own and all(map(_is_share, columns)) and is_mean(aggregate)
    return (columns, clusters) if plain else None


def paired(
    both: tuple[NDArray[Any], NDArray[Any]],
    clusters: Clusters,
    n_identical: int,
    aggregate: Aggregate | None,
    alpha: float | None,
    is_tested: bool = True,
) -> tuple[stats.Interval, stats.Test | None, float | None] | None:
    """Return a paired difference's interval, of no width where every answer is alike, and its test.

    And, for a level `alpha` and a mean of items of which some differ, its minimum detectable
    effect. None where either number is undefined.
    """
    test, mde = None, None
    if (found := _shares(both, clusters, aggregate)) is not None:
        (mine, theirs), units = found
        d = mine - theirs
        interval = stats.difference_interval(d, units)
        if is_tested:
            test = stats.paired_test(d, units)
        if alpha is not None and n_identical < len(clusters):
            mde = stats.minimum_detectable_effect(d, units, alpha)
    else:
        assert aggregate is not None
        mine, theirs = both
        interval, its = corpus.difference((mine.tolist(), theirs.tolist()), clusters, aggregate)
        if math.isnan(interval.value):
            return None
        test = its if is_tested else None
    if n_identical == len(clusters):
        interval = dataclasses.replace(interval, low=0.0, high=0.0)
    return interval, test, mde


def _is_share(values: NDArray[Any]) -> bool:
    """Tell whether a metric's values are numbers in [0, 1], whose plain mean is meant."""
    return bool(values.dtype != object and np.all((values >= 0) & (values <= 1)))
