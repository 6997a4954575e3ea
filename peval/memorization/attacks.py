"""Membership attacks on one text: each gives a number that is higher for what was trained on.

The formulas are those of the attacks' own repositories: loss and lower-case (swj0419/
detect-pretrain-code), zlib, Min-K % and Min-K %++ (zjysteven/mink-plus-plus), ReCaLL
(iamgroot42/mimir). Where they let less mean membership, the sign is turned here.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from math import floor, fsum

from peval.types import Likelihood

MIN_K_SHARE = 0.2
_SMALL = 1e-12

ATTACKS = ("loss", "zlib", "lowercase", "min_k", "min_k_plus", "recall")
CALIBRATED = "base_difference"
"""The attack that compares with the base: its scores need two systems."""


def mean_logprob(found: Likelihood) -> float:
    """Return the log-likelihood per token: the negative of the loss."""
    return found.total / len(found.logprobs)


def zlib_ratio(found: Likelihood, text: str) -> float:
    """Return the log-likelihood per token and per byte of the compressed text."""
    return mean_logprob(found) / len(zlib.compress(text.encode("utf-8")))


def lowercase_ratio(found: Likelihood, lowered: Likelihood) -> float:
    """Return the lower-cased text's loss over that of the text as it stood in training."""
    return mean_logprob(lowered) / min(mean_logprob(found), -_SMALL)


def min_k(found: Likelihood, share: float = MIN_K_SHARE) -> float:
    """Return the mean log-probability of the least likely tokens (Min-K %, arXiv 2310.16789).

    ``share`` of the tokens, rounded down, but at least one.
    """
    return _mean_of_lowest(found.logprobs, share)


def min_k_plus(found: Likelihood, share: float = MIN_K_SHARE) -> float:
    """Return Min-K % of log-probabilities that are standardized at their position.

    (Min-K %++, arXiv 2404.02936.) A position without any deviation is certain: it counts 0.
    """
    moments = found.moments
    if moments is None:
        raise ValueError("Min-K %++ needs the moments at each position")
    standard = [
        (x - mean) / deviation if deviation > 0 else 0.0
        for x, mean, deviation in zip(
            found.logprobs, moments.means, moments.deviations, strict=True
        )
    ]
    return _mean_of_lowest(standard, share)


def recall(found: Likelihood, after_others: Likelihood) -> float:
    """Return the log-likelihood after texts that were not trained on, over that without them.

    (ReCaLL, arXiv 2406.15968.)
    """
    return mean_logprob(after_others) / min(mean_logprob(found), -_SMALL)


def _mean_of_lowest(values: Sequence[float], share: float) -> float:
    n = max(1, floor(share * len(values)))
    return fsum(sorted(values)[:n]) / n
