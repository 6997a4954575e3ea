"""Learning curves: scores over the checkpoints of one training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peval.sweeps.scores import Scores
from peval.sweeps.trained import STEPS, Trained


@dataclass(frozen=True)
class Point:
    """A checkpoint's score with its 95 % interval over items."""

    adapter: str
    steps: float
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Curve:
    """One training's scores on one task, by steps."""

    series: str
    task: str
    metric: str
    points: tuple[Point, ...]


def curves(runs: Sequence[Trained], scores: Scores) -> Iterator[Curve]:
    """Yield the curves of every series that has two checkpoints or more."""
    for series, checkpoints in series_of(runs).items():
        for task in scores.tasks:
            found = tuple(_points(checkpoints, task, scores))
            if len(found) > 1:
                yield Curve(series, task, scores.metrics[task], found)


def series_of(runs: Sequence[Trained]) -> dict[str, list[Trained]]:
    """Return the checkpoints of each series, by steps."""
    found: dict[str, list[Trained]] = {}
    for run in runs:
        if run.series is not None:
            found.setdefault(run.series, []).append(run)
    return {name: sorted(many, key=n_steps) for name, many in sorted(found.items())}


def n_steps(run: Trained) -> float:
    """Return how far a checkpoint was trained."""
    steps = run.facts[STEPS]
    return steps if isinstance(steps, int | float) else 0.0


def _points(checkpoints: Sequence[Trained], task: str, scores: Scores) -> Iterator[Point]:
    for run in checkpoints:
        found = scores.estimate(task, run.name)
        if found is not None and found.value is not None:
            yield Point(run.name, n_steps(run), found.value, found.low, found.high)
