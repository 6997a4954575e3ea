"""Metrics of a whole set of items (perplexity, F1, correlations), with intervals by the jackknife.

The clusters are dealt into at most 50 groups, in the order of their names; items of one cluster by
a hash of what they hold, so that their order does not matter. The number is computed anew without
each group (Shao and Tu, The Jackknife and Bootstrap, 1995, chapter 2). Where it is the same without
any of them, as a correlation of 1 is, or is none without one of them, this shows nothing of how far
it is uncertain: then there are no bounds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peval.stats import CONFIDENCE, Interval, Test
from peval.stats.intervals import ROUNDING
from peval.stats.units import Clusters, has_several, units

MAX_GROUPS = 50
N_SWAPS = 999
SEED = 0
UNDEFINED = (ValueError, ArithmeticError, IndexError)

Items = Sequence[Any]


@dataclass(frozen=True)
class Aggregate:
    """How many items' values become one number.

    ``is_log`` says that it is positive and varies by factors, as a perplexity does: its interval
    is then computed on its logarithm. ``interval`` replaces the jackknife where there is a better
    one. ``whole_only``: the number means nothing for one category or cluster. ``of_shares``: each
    item holds one share or several (as a list), and it is the mean of them all. ``other_scale``:
    values that lie in [0, 1] are no shares all the same.
    """

    compute: Callable[[list[Any]], float]
    is_log: bool = False
    interval: Callable[[Items, Clusters], Interval] | None = None
    whole_only: bool = False
    of_shares: bool = False
    other_scale: bool = False


def is_whole_only(aggregate: Aggregate | None) -> bool:
    """Tell whether a metric has no value for a category or cluster."""
    return aggregate is not None and aggregate.whole_only


def spread(
    columns: Sequence[NDArray[Any]], clusters: Clusters
) -> tuple[list[NDArray[np.float64]], NDArray[np.intp]]:
    """Return all shares of items that hold several, and the unit that each belongs to.

    Items stay together, as one unit or as part of one.
    """
    sizes = [len(item) for item in columns[0]]
    flat = [np.concatenate([np.asarray(item, dtype=float) for item in one]) for one in columns]
    return flat, np.repeat(units(clusters), sizes)


def is_mean(aggregate: Aggregate) -> bool:
    """Tell whether an aggregate is the plain mean of numbers."""
    probe = [0.0, 0.5, 1.0, 0.1]
    try:
        return math.isclose(aggregate.compute(probe), sum(probe) / len(probe))
    except (TypeError, ValueError, ArithmeticError, IndexError):
        return False


def interval(items: Items, clusters: Clusters, aggregate: Aggregate) -> Interval:
    """Return an aggregate of items with its 95 % interval.

    Parameters
    ----------
    items
        What ``aggregate`` needs of each item.
    clusters
        The cluster of each item, same length.
    """
    if aggregate.interval is not None:
        try:
            return aggregate.interval(items, clusters)
        except UNDEFINED:
            return Interval(math.nan, -math.inf, math.inf, len(items), 0)

    def compute(kept: NDArray[np.intp]) -> float:
        value = aggregate.compute([items[i] for i in kept])
        return math.log(value) if aggregate.is_log else value

    value, error, n_groups, n_units = _jackknife(items, clusters, compute)
    half = _t(n_groups) * error
    bounds = (value, value - half, value + half)
    value, low, high = map(_exp, bounds) if aggregate.is_log else bounds
    if math.isinf(half):
        low, high = -math.inf, math.inf
    return Interval(value, low, high, len(items), n_units)


def difference(
    pairs: tuple[Items, Items], clusters: Clusters, aggregate: Aggregate
) -> tuple[Interval, Test]:
    """Return the difference of two systems' aggregates on the same items, and its t test.

    Where the jackknife shows no spread, units' answers change sides at random instead, 999 times.
    """
    first, second = pairs
    both = list(zip(first, second, strict=True))

    def gap(one: list[Any], other: list[Any]) -> float:
        return aggregate.compute(one) - aggregate.compute(other)

    value, error, n_groups, n_units = _jackknife(
        both, clusters, lambda kept: gap([first[i] for i in kept], [second[i] for i in kept])
    )
    half = _t(n_groups) * error
    found = Interval(value, value - half, value + half, len(first), n_units)
    if math.isinf(error) and n_groups > 1 and abs(value) > 0:
        index = _units(both, clusters)
        return found, Test(_swapped(both, index, lambda a, b: abs(gap(a, b))), "swapped answers")
    return found, Test(_p_value(value, error, n_groups), "jackknife t")


def _swapped(
    both: Sequence[tuple[Any, Any]], index: NDArray[np.intp], size: Callable[[Any, Any], float]
) -> float:
    """Return how often a difference is as large when units' answers change sides at random."""
    rng = np.random.default_rng(SEED)
    least = size([one for one, _ in both], [other for _, other in both]) * (1 - 1e-9)
    n_hits = 1
    for _ in range(N_SWAPS):
        turned = rng.integers(0, 2, int(index.max()) + 1)[index]
        rows = [pair[::-1] if turn else pair for pair, turn in zip(both, turned, strict=True)]
        found = _defined(partial(size, [a for a, _ in rows], [b for _, b in rows]))
        n_hits += not found < least
    return n_hits / (N_SWAPS + 1)


def _jackknife(
    items: Items, clusters: Clusters, value_of: Callable[[NDArray[np.intp]], float]
) -> tuple[float, float, int, int]:
    """Return a value, its standard error, and the numbers of groups and of units."""
    index = _units(items, clusters)
    n_units = int(index.max()) + 1
    n_groups = min(n_units, MAX_GROUPS)
    group = index * n_groups // n_units
    whole = _defined(partial(value_of, np.arange(len(clusters))))
    if n_groups < 2:
        return whole, math.inf, n_groups, n_units
    others = (np.flatnonzero(group != g) for g in range(n_groups))
    without = np.array([_defined(partial(value_of, kept)) for kept in others])
    variance = (n_groups - 1) / n_groups * float(((without - without.mean()) ** 2).sum())
    shows = math.isfinite(variance) and math.sqrt(variance) > ROUNDING * max(1.0, abs(whole))
    return whole, math.sqrt(variance) if shows else math.inf, n_groups, n_units


def _defined(compute: Callable[[], float]) -> float:
    """Return a number, or NaN where it has no meaning, as the correlation of nothing."""
    try:
        return float(compute())
    except UNDEFINED:
        return math.nan


def _units(items: Items, clusters: Clusters) -> NDArray[np.intp]:
    return units(clusters) if has_several(clusters) else _dealt(items)


def _dealt(items: Items) -> NDArray[np.intp]:
    """Return a number for each item, the same in whichever order items stand."""
    hashes = [
        hashlib.blake2b(repr(item).encode("utf-8", "surrogatepass")).digest() for item in items
    ]
    places = np.empty(len(items), dtype=np.intp)
    places[sorted(range(len(items)), key=hashes.__getitem__)] = np.arange(len(items))
    return places


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _t(n_groups: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(1, n_groups - 1), 0.5 + CONFIDENCE / 2))


def _p_value(value: float, error: float, n_groups: int) -> float:
    from scipy.special import stdtr

    if value == 0 or math.isinf(error):
        return 1.0
    return 2 * float(stdtr(n_groups - 1, -abs(value) / error)) if error else 0.0
