"""p-values adjusted for how many were looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peval.stats.units import Floats


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Return p-values adjusted so that 5 % bounds the chance of any false positive.

    References
    ----------
    Holm, Scand. J. Stat. 6 (1979) 65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1) if len(p) else scaled
    return adjusted


def benjamini_hochberg(p_values: Sequence[float] | Floats) -> Floats:
    """Return p-values adjusted so that 5 % bounds the expected share of false positives.

    References
    ----------
    Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995) 289-300.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(-p, kind="stable")
    adjusted = np.empty(len(p))
    scaled = p[order] * len(p) / np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1) if len(p) else scaled
    return adjusted
