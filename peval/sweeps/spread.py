"""A setting's scores over its seeds: mean, spread, and how often training went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from peval.stats.intervals import QUANTILE, ROUNDING
from peval.sweeps.scores import Scores
from peval.sweeps.settings import FEW_SEEDS, Setting


@dataclass(frozen=True)
class Spread:
    """Scores of one setting's adapters on one task.

    ``sd`` is between seeds. ``low`` and ``high`` are Student's 95 % interval of the mean over
    seeds, on these very items; None for fewer than three seeds, and where all score alike. A seed
    has ``diverged`` that is no better than the baselines without a model and worse than the base;
    None where a task has no such baselines.

    References
    ----------
    Mosbach, Andriushchenko and Klakow, ICLR 2021, section 3 (failed runs).
    """

    task: str
    metric: str
    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    lowest: float
    highest: float
    n_diverged: int | None
    share_diverged: float | None


def spreads(setting: Setting, scores: Scores) -> Iterator[Spread]:
    """Yield a setting's spread on each task on which any of its adapters has a score."""
    for task in scores.tasks:
        known = ((name, scores.value(task, name)) for name in setting.adapters)
        values = [value for _, value in known if value is not None]
        if values:
            yield _spread(setting, task, values, scores)


def _spread(setting: Setting, task: str, values: list[float], scores: Scores) -> Spread:
    from scipy.special import stdtrit

    x = np.array(values)
    n, mean = len(x), float(x.mean())
    sd = float(x.std(ddof=1)) if n > 1 else None
    half = None
    if sd is not None and sd > ROUNDING and n >= FEW_SEEDS and len(setting.seeds) >= FEW_SEEDS:
        half = float(stdtrit(n - 1, QUANTILE)) * sd / n**0.5
    n_diverged = _n_diverged(task, values, scores)
    return Spread(
        task=task,
        metric=scores.metrics[task],
        n=n,
        mean=mean,
        sd=sd,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        lowest=float(x.min()),
        highest=float(x.max()),
        n_diverged=n_diverged,
        share_diverged=None if n_diverged is None else n_diverged / n,
    )


def _n_diverged(task: str, values: list[float], scores: Scores) -> int | None:
    """Count the seeds that learned nothing; None where there is nothing to tell it by."""
    floor, base = scores.without_model(task), scores.value(task, None)
    if floor is None:
        return None
    return sum(
        not scores.is_better(task, v, floor) and (base is None or scores.is_better(task, base, v))
        for v in values
    )
