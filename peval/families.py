"""Which p-values are adjusted together, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from peval.stats import benjamini_hochberg, holm
from peval.types import Comparison

PRIMARY = "primary"
EXPLORATORY = "exploratory"
LEVEL = 0.05


def family_of(c: Comparison, headlines: Mapping[str, str]) -> str | None:
    """Return the family of a difference; None where there is no p-value.

    The primary family is what a run is for: every adapter's headline metric on every whole task.
    Other metrics and categories are for exploring.
    """
    if c.p_value is None:
        return None
    return PRIMARY if c.group is None and c.metric == headlines.get(c.task) else EXPLORATORY


def counts(c: Comparison) -> bool:
    """Tell whether a comparison counts in its family: whether any answer differs."""
    return c.n_identical < c.n_items


def adjusted(
    comparisons: Sequence[Comparison], headlines: Mapping[str, str]
) -> tuple[Comparison, ...]:
    """Return the comparisons with their families and adjusted p-values.

    A comparison in which every answer is alike could not have come out otherwise, so it does not
    count: its adjusted p-value is 1 (Tarone, Biometrics 46 (1990) 515-522).

    Holm's bound the chance of any false positive in the primary family; Benjamini and
    Hochberg's the expected share of false positives in the exploratory one.

    Parameters
    ----------
    headlines
        The headline metric of each task.
    """
    found = [dataclasses.replace(c, family=family_of(c, headlines)) for c in comparisons]
    for family, adjust in ((PRIMARY, holm), (EXPLORATORY, benjamini_hochberg)):
        found = [c if c.family != family else dataclasses.replace(c, p_adjusted=1.0) for c in found]
        at = [i for i, c in enumerate(found) if c.family == family and counts(c)]
        p_values = adjust(np.array([found[i].p_value for i in at], dtype=float))
        for i, p_value in zip(at, p_values, strict=True):
            found[i] = dataclasses.replace(found[i], p_adjusted=float(p_value))
    return tuple(found)
