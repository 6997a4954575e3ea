"""What counts as one draw: the cluster where items share one, else the item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

Clusters = Sequence[str] | Sequence[int] | NDArray[np.intp]
"""The cluster of each item: its name, or its number where names are numbered in their order."""


def units(clusters: Clusters) -> Ints:
    """Return each item's sampling unit: its cluster, or itself where all share one cluster.

    Units are numbered in the order of the clusters' names, so that the order of items does not
    matter.
    """
    if isinstance(clusters, np.ndarray):
        found, numbers = np.unique(clusters, return_inverse=True)
        return numbers if len(found) > 1 else np.arange(len(clusters))
    names: list[str | int] = sorted(set(clusters))
    if len(names) == 1:
        return np.arange(len(clusters))
    number = {name: i for i, name in enumerate(names)}
    return np.fromiter(map(number.__getitem__, clusters), dtype=np.intp, count=len(clusters))


def has_several(clusters: Clusters) -> bool:
    """Tell whether items are of more than one cluster."""
    if isinstance(clusters, np.ndarray):
        return bool(np.any(clusters != clusters[0]))
    return len(set(clusters)) > 1
