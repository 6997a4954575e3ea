"""What the engine alone makes: each system scored twice, in other batches.

Batches change the order of sums and so the last bits of logits; where two tokens are all but
equally likely, the answer changes. A difference between systems no larger than that is none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from peval.answers import Answers, is_there
from peval.corpus import Aggregate, is_mean
from peval.items import Items
from peval.types import Comparison, Task

NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Noise:
    """One system's two scorings of the same items.

    ``n_changed`` answers are not alike to the letter; ``mean_difference`` is the second score
    minus the first; ``per_item`` is the standard deviation that one scoring of an item has by the
    engine alone.
    """

    task: str
    metric: str
    adapter: str | None
    group: str | None
    n_items: int
    n_changed: int
    mean_difference: float
    per_item: float


def noise(
    task: Task,
    items: Items,
    name: str | None,
    pair: tuple[Answers, Answers],
    aggregates: Mapping[str, Aggregate] = {},
) -> Iterator[Noise]:
    """Yield a system's noise in each metric that is a mean over items, whole and by group.

    Parameters
    ----------
    pair
        The answers of both scorings.
    aggregates
        How metrics are computed that are no plain means.
    """
    first, second = pair
    changed = np.array([a != b for a, b in zip(first.said, second.said, strict=True)])
    for metric in task.metrics:
        one, other = first.values[metric], second.values[metric]
        how = aggregates.get(metric)
        if one.dtype == object or other.dtype == object or (how and not is_mean(how)):
            continue
        has_both = is_there(one) & is_there(other)
        for group, rows in items.groups:
            there = rows[has_both[rows]]
            n = len(there)
            if not n:
                continue
            d = other[there] - one[there]
            yield Noise(
                task=task.name,
                metric=metric,
                adapter=name,
                group=group,
                n_items=n,
                n_changed=int(changed[there].sum()),
                mean_difference=float(d.mean()),
                # Two scorings differ by twice the variance of one.
                per_item=float(np.sqrt((d**2).mean() / 2)),
            )


def floored(comparisons: Iterable[Comparison], measured: Iterable[Noise]) -> tuple[Comparison, ...]:
    """Return the comparisons with the noise floors that were measured.

    Notes
    -----
    The floor is 1.96 standard deviations of the difference that two equal systems would have by
    the engine alone, items being disturbed independently; and no less than what either system
    differed from itself.
    """
    known = {(n.task, n.metric, n.adapter, n.group): n for n in measured}
    return tuple(_floored(c, known) for c in comparisons)


def _floored(
    c: Comparison, known: Mapping[tuple[str, str, str | None, str | None], Noise]
) -> Comparison:
    mine, theirs = (known.get((c.task, c.metric, who, c.group)) for who in (c.adapter, c.against))
    if mine is None or theirs is None or not c.n_items:
        return c
    spread = ((mine.per_item**2 + theirs.per_item**2) / c.n_items) ** 0.5
    floor = max(NORMAL_95 * spread, abs(mine.mean_difference), abs(theirs.mean_difference))
    return dataclasses.replace(c, noise_floor=floor)
