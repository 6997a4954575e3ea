"""Several answers to each item: the spread of items told from the spread of sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from peval.stats.intervals import Interval, mean_interval
from peval.stats.units import Clusters, Floats


@dataclass(frozen=True)
class Repeated:
    """A mean over items, each answered several times, and where its spread comes from.

    ``item_variance`` is that of items' true scores, ``sampling_variance`` that of one answer
    about its item's true score; None where no item has two answers. More repeats shrink the
    second alone.
    """

    interval: Interval
    item_variance: float | None
    sampling_variance: float | None
    n_answers: int


def repeated_interval(
    values: Sequence[float] | Floats, items: Sequence[str], clusters: Clusters
) -> Repeated:
    """Return the mean over items with its interval, and both variances.

    Parameters
    ----------
    values, items, clusters
        Score, item and item's cluster of each answer, shape (n_answers,).

    Notes
    -----
    Repeats of an item are averaged first: they are no further items. The variances are those of
    the one-way random-effects analysis of variance; a negative item variance is 0.

    References
    ----------
    Searle, Casella and McCulloch, Variance Components (1992), section 3.6.
    """
    x = np.asarray(values, dtype=float)
    names, first, index = np.unique(np.asarray(items), return_index=True, return_inverse=True)
    sizes = np.bincount(index)
    means = np.bincount(index, weights=x) / sizes
    groups = [clusters[i] for i in first]
    interval = mean_interval(means, groups)
    n, n_items = len(x), len(names)
    if n == n_items or n_items < 2:
        return Repeated(interval, None, None, n)
    within = float(((x - means[index]) ** 2).sum()) / (n - n_items)
    between = float((sizes * (means - x.mean()) ** 2).sum()) / (n_items - 1)
    typical = (n - float((sizes**2).sum()) / n) / (n_items - 1)
    return Repeated(interval, max(0.0, (between - within) / typical), within, n)
