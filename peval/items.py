"""A task's samples as columns: what estimates need of them, interned once for all systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peval.types import Sample

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Items:
    """Clusters and groups of a task's samples, in their order.

    ``clusters`` has shape (n_samples,): clusters are numbered in the order of their names.
    ``groups`` holds the rows of all samples under None, and those of each category and cluster;
    categories and clusters only where there are several, and clusters only where they are more
    than single items.
    """

    clusters: Ints
    groups: tuple[tuple[str | None, Ints], ...]

    def __len__(self) -> int:
        return len(self.clusters)


def items(samples: Sequence[Sample]) -> Items:
    """Return a task's samples as columns."""
    clusters, names = _numbered([sample.cluster for sample in samples])
    groups: list[tuple[str | None, Ints]] = [(None, np.arange(len(samples)))]
    groups += _groups("category", *_numbered([sample.category for sample in samples]))
    groups += _groups("task", clusters, names)
    return Items(clusters, tuple(groups))


def _numbered(values: Sequence[str]) -> tuple[Ints, list[str]]:
    names = sorted(set(values))
    number = {name: i for i, name in enumerate(names)}
    return np.fromiter((number[v] for v in values), dtype=np.intp, count=len(values)), names


def _groups(kind: str, numbers: Ints, names: Sequence[str]) -> list[tuple[str | None, Ints]]:
    named = [i for i, name in enumerate(names) if name]
    if not 1 < len(named) < len(numbers):
        return []
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(names) + 1))
    return [(f"{kind}:{names[i]}", order[starts[i] : starts[i + 1]]) for i in named]
