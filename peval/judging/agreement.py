"""How far two judges agree, chance taken out.

Cohen, Educational and Psychological Measurement 20(1), 1960; Krippendorff, Content Analysis, 2004,
chapter 11 (nominal and interval data).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


def cohens_kappa(one: Sequence[object], other: Sequence[object]) -> float | None:
    """Return Cohen's kappa of two raters' categories; None where chance explains everything.

    >>> cohens_kappa("aabb", "aaba")
    0.5
    """
    n = len(one)
    if not n:
        return None
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    mine, theirs = Counter(one), Counter(other)
    expected = sum(mine[c] * theirs[c] for c in mine) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorffs_alpha(
    ratings: Sequence[Sequence[float | None]], interval: bool = True
) -> float | None:
    """Return Krippendorff's alpha; None where nothing varies or nothing is rated twice.

    Parameters
    ----------
    ratings
        One sequence for each rater, of shape (n_items,); None where a rating is missing.
    interval
        Squared differences count; else values are names.

    >>> krippendorffs_alpha([[1, 2, 3], [1, 2, 3]])
    1.0
    """
    units = [[v for v in unit if v is not None] for unit in zip(*ratings, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    everything = np.array([v for unit in units for v in unit], dtype=float)
    n = len(everything)
    if n < 2:
        return None

    def spread(values: np.ndarray) -> float:
        gap = values[:, None] - values[None, :]
        return float((gap**2 if interval else gap != 0).sum())

    observed = sum(spread(np.array(unit)) / (len(unit) - 1) for unit in units) / n
    expected = spread(everything) / (n * (n - 1))
    return None if expected == 0 else 1 - observed / expected
