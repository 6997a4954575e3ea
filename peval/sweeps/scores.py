"""Headline scores of whole tasks, looked up by task and adapter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from peval.metrics import higher_is_better
from peval.results import Results
from peval.types import Estimate


class Scores:
    """The headline score of every adapter on every task."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self.metrics = {str(t["name"]): str(t["metrics"][0]) for t in results.tasks}

    @cached_property
    def _found(self) -> dict[tuple[str, str | None], Estimate]:
        return {
            (e.task, e.adapter): e
            for e in self._results.estimates
            if e.group is None and self.metrics.get(e.task) == e.metric
        }

    @property
    def tasks(self) -> Sequence[str]:
        """The tasks, in the order in which they were asked for."""
        return list(self.metrics)

    def estimate(self, task: str, adapter: str | None) -> Estimate | None:
        """Return a score with its interval, if there is one; the base's for None."""
        found = self._found.get((task, adapter))
        return found if found is not None and found.value is not None else None

    def value(self, task: str, adapter: str | None) -> float | None:
        """Return a score, if there is one."""
        found = self.estimate(task, adapter)
        return found.value if found else None

    def is_better(self, task: str, one: float, other: float) -> bool:
        """Tell whether a score is better than another."""
        return one > other if higher_is_better(self.metrics[task]) else one < other

    def without_model(self, task: str) -> float | None:
        """Return the best score of the baselines that need no model, if there are any."""
        values = [
            e.value
            for e in self._results.baselines
            if e.value is not None
            and (e.task, e.metric, e.group) == (task, self.metrics[task], None)
        ]
        best = max if higher_is_better(self.metrics[task]) else min
        return best(values, default=None)
