"""Exposure of a canary: how far its secret stands out among others of its random space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def rank(secret: float, others: Sequence[float]) -> float:
    """Return a secret's rank from 1 by log-likelihood; equals share their ranks."""
    x = np.asarray(others)
    return 1.0 + float((x > secret).sum()) + float((x == secret).sum()) / 2


def exposure(secret: float, others: Sequence[float]) -> float:
    """Return the bits by which knowing the model shortens the search for a secret.

    log2 of the number of secrets less log2 of the rank among them (Carlini et al., arXiv
    1802.08232), counted over the secret and the ``others``, so it is at most
    ``log2(len(others) + 1)``. A model that knows nothing has 1.44 bits on average.

    Examples
    --------
    >>> exposure(-1.0, [-5.0, -6.0, -7.0])
    2.0
    """
    return math.log2(len(others) + 1) - math.log2(rank(secret, others))


def extrapolated_exposure(secret: float, others: Sequence[float], n_secrets: int) -> float:
    """Return exposure in the whole space, from a skew normal fitted to the others.

    -log2 of the chance that a random secret is as likely, as in github.com/tensorflow/privacy
    (``exposures.py``); at most the log2 of the space's size.
    """
    from scipy.stats import skewnorm

    bits = -np.asarray(others) / math.log(2)
    most = math.log2(n_secrets)
    if np.ptp(bits) == 0:
        return 0.0 if -secret / math.log(2) >= bits[0] else most
    chance = float(skewnorm.cdf(-secret / math.log(2), *skewnorm.fit(bits)))
    return min(most, max(0.0, -math.log2(chance))) if chance > 0 else most
