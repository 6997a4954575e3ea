"""What counts as one draw: the cluster where items share one, else the item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def units(clusters: Sequence[str]) -> Ints:
    """Return each item's sampling unit: its cluster, or itself where all share one cluster.

    Units are numbered in the order of the clusters' names, so that the order of items does not
    matter.
    """
    names = sorted(set(clusters))
    if len(names) == 1:
        return np.arange(len(clusters))
    number = {name: i for i, name in enumerate(names)}
    return np.fromiter(map(number.__getitem__, clusters), dtype=np.intp, count=len(clusters))
