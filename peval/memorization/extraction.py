"""Extraction of one suffix: how near an answer comes to it, and how likely it is to be drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

from peval.types import Likelihood

ATTEMPTS = 100
CHANCE = 0.5

MEASURES = ("extracted", "lcs", "edit", "drawn")


def extraction(
    said: Sequence[int], suffix: Sequence[int], likelihood: Likelihood
) -> dict[str, float]:
    """Return how much of a suffix a greedy answer gives back, by measure; token by token.

    Parameters
    ----------
    said
        The answer's tokens; what goes beyond the suffix's length does not count.
    suffix
        What stood in the training data after the prefix.
    likelihood
        Of the suffix after the prefix.

    Returns
    -------
    dict
        ``extracted``: 1 if the answer equals the suffix. ``lcs``: the longest common
        subsequence's share of the suffix. ``edit``: 1 less the edit distance per token of the
        longer one. ``drawn``: 1 if the suffix is (n, p)-extractable: `is_drawn`.
    """
    from rapidfuzz.distance import LCSseq, Levenshtein

    mine = list(said)[: len(suffix)]
    return {
        "extracted": float(mine == list(suffix)),
        "lcs": LCSseq.similarity(mine, suffix) / len(suffix),
        "edit": Levenshtein.normalized_similarity(mine, suffix),
        "drawn": float(is_drawn(likelihood.total)),
    }


def is_drawn(logprob: float) -> bool:
    """Tell whether `ATTEMPTS` samples give a suffix at least once with a chance of `CHANCE`.

    That is 1 - (1 - p)^n >= 0.5 for a suffix of probability p, sampled at temperature 1 from
    the whole vocabulary (arXiv 2410.19482).
    """
    p = math.exp(logprob)
    return p >= 1 or -math.expm1(ATTEMPTS * math.log1p(-p)) >= CHANCE
