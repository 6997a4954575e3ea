"""Bradley and Terry's ratings of systems that were held against each other on the same items.

Source: Bradley and Terry, Biometrika 39, 1952, fitted by Newton's method; a tie is half a win for
each side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peval.stats.intervals import ROUNDING

Array = NDArray[np.float64]
N_DRAWS = 1000
SEED = 0
STEPS = 50
ELO = 400 / float(np.log(10))
Z = 1.96
FEW_UNITS = 30
PRIOR = 0.5
"""Half a win and half a loss against an average system, so that nobody's rating is infinite."""


@dataclass(frozen=True)
class Rating:
    """One system's strength in Elo points around a mean of 0, with a 95 % bootstrap interval."""

    system: str | None
    elo: float
    low: float
    high: float


def strengths(won: Array, prior: float = PRIOR) -> Array:
    """Return log-strengths with mean 0 from a matrix: how often the row's system won.

    >>> strengths(np.array([[0.0, 3.0], [1.0, 0.0]]), prior=0.0).round(4).tolist()
    [0.5493, -0.5493]
    """
    played = won + won.T
    theta: Array = np.zeros(len(won))
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
        mean = 1 / (1 + np.exp(-theta))
        slope = (won - played * p).sum(axis=1) + prior * (1 - 2 * mean)
        step = np.clip(np.linalg.solve(_information(theta, played, prior), slope), -2, 2)
        theta = theta + step - (step.mean() if prior == 0 else 0.0)
        if float(np.abs(step).max()) < 1e-8:
            break
    centred: Array = theta - theta.mean()
    return centred


def _information(theta: Array, played: Array, prior: float) -> Array:
    """Return the negative second derivatives of the log-likelihood by log-strengths."""
    p = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    mean = 1 / (1 + np.exp(-theta))
    weight = played * p * (1 - p)
    return np.diag(weight.sum(axis=1) + 2 * prior * mean * (1 - mean) + 1e-9) - weight


def _errors(theta: Array, played: Array) -> Array:
    """Return the standard errors of log-strengths around their mean, every match by itself."""
    centre = np.eye(len(theta)) - 1 / len(theta)
    found: Array = np.sqrt(
        np.diag(centre @ np.linalg.inv(_information(theta, played, PRIOR)) @ centre)
    )
    return found


def ratings(
    pairs: Mapping[tuple[str | None, str | None], Mapping[str, float]],
    clusters: Mapping[str, str],
) -> list[Rating]:
    """Return ratings, the strongest first; the bootstrap draws clusters of items.

    Where all items are of one cluster, items are drawn. Resamples of few units are too alike, and
    those of a system that always won do not differ at all: with fewer than 30 units, or no spread,
    the interval is no narrower than that from the curvature of the likelihood.

    Parameters
    ----------
    pairs
        By pair of systems and sample id, the share of the preference for the first.
    clusters
        By sample id.
    """
    systems = list(dict.fromkeys(name for pair in pairs for name in pair))
    at = {name: i for i, name in enumerate(systems)}
    all_items = sorted({item for items in pairs.values() for item in items})
    names = sorted({clusters[item] for item in all_items})
    unit = clusters if len(names) > 1 else dict(zip(all_items, all_items, strict=True))
    names = names if len(names) > 1 else all_items
    place = {name: i for i, name in enumerate(names)}
    won = np.zeros((len(names), len(systems), len(systems)))
    for (one, other), items in pairs.items():
        for item, value in items.items():
            won[place[unit[item]], at[one], at[other]] += value
            won[place[unit[item]], at[other], at[one]] += 1 - value
    rng = np.random.default_rng(SEED)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=N_DRAWS)
    drawn = np.array([strengths(np.tensordot(c, won, 1)) for c in counts.astype(float)])
    whole = strengths(won.sum(axis=0))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    total = won.sum(axis=0)
    half = Z * _errors(whole, total + total.T)
    few = (high - low < ROUNDING) | (len(names) < FEW_UNITS)
    low = np.where(few, np.minimum(low, whole - half), low)
    high = np.where(few, np.maximum(high, whole + half), high)
    found = [
        Rating(name, *(float(ELO * v[i]) for v in (whole, low, high))) for name, i in at.items()
    ]
    return sorted(found, key=lambda one: (-one.elo, one.system or ""))
