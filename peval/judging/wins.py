"""Win rates as AlpacaEval computes them, and a length-controlled one of our own.

Source: github.com/tatsu-lab/alpaca_eval at cd543a1, ``metrics/winrate.py`` and ``helpers.py``;
Dubois et al., arXiv 2404.04475, for the idea of taking length out with a GLM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RIDGE = 1 / 80
"""For each item. With less, length gets the credit of difficult instructions, and weak systems look
good; of the ridges tried, this came nearest to AlpacaEval's published figures.
"""
OWN_MODEL = "peval's GLM"
STEPS = 50


@dataclass(frozen=True)
class Wins:
    """Shares of preference in numbers: fractions, not percent.

    ``standard_error`` is the sample's standard deviation over the root of n, items taken as
    independent. ``discrete_win_rate`` counts a preference above one half as a win and one half as
    half of one. Rates are means over items, wins, losses and ties count answers.
    """

    win_rate: float
    standard_error: float | None
    discrete_win_rate: float
    n_wins: int
    n_losses: int
    n_ties: int


def wins(values: Sequence[float], items: Sequence[str] | None = None) -> Wins:
    """Return the win rates of shares of preference in [0, 1]; there must be one at least.

    Parameters
    ----------
    values
        One for each answer.
    items
        Each answer's item: several answers to one are averaged first, as they are no further
        items. None where each is on another.

    >>> found = wins([1.0, 0.5, 0.0, 1.0])
    >>> found.win_rate, found.discrete_win_rate, found.n_wins, found.n_losses, found.n_ties
    (0.625, 0.625, 2, 1, 1)
    >>> wins([1.0, 0.0, 1.0], ["a", "a", "b"]).win_rate
    0.75
    """
    x = np.asarray(values, dtype=float)
    n_wins, n_losses = int((x > 0.5).sum()), int((x < 0.5).sum())
    n_ties = len(x) - n_wins - n_losses
    index = _index(items, len(x))
    means, discrete = (_means(v, index) for v in (x, (x > 0.5) + (x == 0.5) / 2))
    error = float(np.std(means, ddof=1) / math.sqrt(len(means))) if len(means) > 1 else None
    return Wins(float(means.mean()), error, float(discrete.mean()), n_wins, n_losses, n_ties)


def _index(items: Sequence[str] | None, n: int) -> NDArray[np.intp]:
    """Return the number of each answer's item, in the order in which items come first."""
    if items is None:
        return np.arange(n)
    number = {name: i for i, name in enumerate(dict.fromkeys(items))}
    return np.array([number[name] for name in items], dtype=np.intp)


def _means(values: Array, index: NDArray[np.intp]) -> Array:
    """Return each item's mean."""
    means: Array = np.bincount(index, weights=values) / np.bincount(index)
    return means


def bounds(values: Sequence[float], n_unscored: int) -> tuple[float, float]:
    """Return the win rates if every unscored item were lost, and if every one were won.

    >>> bounds([1.0, 1.0, 0.0], 1)
    (0.5, 0.75)
    """
    n = len(values) + n_unscored
    total = float(sum(values))
    return total / n, (total + n_unscored) / n


@dataclass(frozen=True)
class LengthControlled:
    """A win rate at equal lengths, its standard error, and how strongly length decided.

    ``coefficient`` is the change in log-odds of a win for an answer that is much longer (tanh of
    the standardized difference going from 0 to 1); None where ``model``, which says whose fit it
    is, does not tell.
    """

    win_rate: float
    standard_error: float
    coefficient: float | None
    model: str


def length_controlled(
    values: Sequence[float],
    lengths: Sequence[int],
    opponents: Sequence[int],
    items: Sequence[str] | None = None,
) -> LengthControlled | None:
    """Fit ``logit P(win) = a + b tanh(d)`` and return P(win) at d = 0.

    d is the difference of the two answers' lengths in characters over its standard deviation.
    The fit is a logistic regression on the shares of preference with a ridge of n / 80 on b alone;
    the standard error comes from its sandwich covariance by the delta method, clustered by item
    where ``items`` names each answer's (as in `wins`). AlpacaEval's own
    model has a difficulty for each instruction, fitted on its leaderboard's systems, which other
    data cannot have: this number must not be held against that leaderboard.

    Returns None where the lengths never differ or there are fewer than ten items.
    """
    y = np.asarray(values, dtype=float)
    difference = np.asarray(lengths, dtype=float) - np.asarray(opponents, dtype=float)
    spread = float(difference.std())
    index = _index(items, len(y))
    if len(set(index.tolist())) < 10 or spread == 0:
        return None
    x = np.column_stack([np.ones(len(y)), np.tanh(difference / spread)])
    ridge = np.diag([1e-6, RIDGE * len(y)])
    beta: Array = np.zeros(2)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        hessian = x.T @ (x * (p * (1 - p))[:, None]) + ridge
        step = np.linalg.solve(hessian, x.T @ (y - p) - ridge @ beta)
        beta = beta + np.clip(step, -2, 2)
        if float(np.abs(step).max()) < 1e-10:
            break
    p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
    hessian = x.T @ (x * (p * (1 - p))[:, None]) + ridge
    bread = np.linalg.inv(hessian)
    pull = x * (y - p)[:, None]
    by_item = np.column_stack([np.bincount(index, weights=column) for column in pull.T])
    covariance = bread @ (by_item.T @ by_item) @ bread
    rate = float(1 / (1 + math.exp(-float(np.clip(beta[0], -30, 30)))))
    error = rate * (1 - rate) * math.sqrt(float(covariance[0, 0]))
    return LengthControlled(rate, error, float(beta[1]), OWN_MODEL)


def correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Pearson's correlation, or None where one of both does not vary."""
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])
