"""Results, looked up at once and in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from peval.metrics import describes, higher_is_better, is_share
from peval.report.format import BETTER, WORSE, mark
from peval.results import Results
from peval.types import CONTROL, Comparison, Estimate

Key = tuple[str, str, str | None, str | None]
T = TypeVar("T")


def headline(task: dict[str, Any]) -> str:
    """Return a task's headline metric."""
    return str(task["metrics"][0])


def chunks(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield items in as few parts of at most `most` as can be, as even as can be."""
    n_parts = -(-len(items) // most)
    for at in range(n_parts):
        yield items[at * len(items) // n_parts : (at + 1) * len(items) // n_parts]


@dataclass(frozen=True)
class View:
    """Results by task, metric, system and group."""

    results: Results

    @cached_property
    def _estimates(self) -> dict[Key, Estimate]:
        found = (*self.results.baselines, *self.results.estimates)
        return {(e.task, e.metric, e.adapter, e.group): e for e in found}

    @cached_property
    def _comparisons(self) -> dict[Key, Comparison]:
        return {(c.task, c.metric, c.adapter, c.group): c for c in self.results.comparisons}

    @property
    def is_predictions(self) -> bool:
        """Whether no model was asked: the answers are predictions from elsewhere."""
        return bool(self.results.run["serving"]["engine"] == "predictions")

    @cached_property
    def tasks(self) -> tuple[dict[str, Any], ...]:
        """Return the tasks in the order in which they were asked for."""
        return self.results.tasks

    @cached_property
    def pools(self) -> tuple[dict[str, Any], ...]:
        """Return the groups of tasks that have a score, in the form of tasks."""
        return tuple(
            {"name": pool["name"], "metrics": [pool["metric"]], "n_tasks": len(pool["tasks"])}
            for pool in self.results.run.get("groups", [])
            if any(self.estimate(pool["name"], pool["metric"], system) for system in self.systems)
        )

    @cached_property
    def skills(self) -> tuple[dict[str, Any], ...]:
        """Return the tasks on which a higher score is what training is for."""
        others = {t["name"] for t in (*self.probes, *self.unjudged)}
        return tuple(t for t in self.tasks if t["name"] not in others)

    @cached_property
    def unjudged(self) -> tuple[dict[str, Any], ...]:
        """Return the tasks whose open answers are described, and scored by nobody here."""
        return tuple(t for t in self.tasks if describes(headline(t)))

    @cached_property
    def described(self) -> tuple[dict[str, Any], ...]:
        """Return the tasks whose answers are described, be they scored too or not."""
        return tuple(t for t in self.tasks if any(map(describes, t["metrics"])))

    @cached_property
    def probes(self) -> tuple[dict[str, Any], ...]:
        """Return the tasks that ask what was memorized of the training data."""
        return tuple(t for t in self.tasks if t["reader"] == "memorization")

    @cached_property
    def baselines(self) -> tuple[str, ...]:
        """Return the names of the baselines that need no model."""
        return tuple(dict.fromkeys(str(e.adapter) for e in self.results.baselines))

    @cached_property
    def adapters(self) -> tuple[str, ...]:
        """Return the adapters, those with the largest mean gain over the base first.

        A mean over the tasks whose headline is a share; of scores, where there is no base. The
        order says nothing about whether one is better than the next.
        """
        names = {str(a["name"]) for a in self.results.adapters} - {*self.controls}
        return tuple(sorted(names, key=lambda name: (-self.mean_gain(name), name)))

    @cached_property
    def controls(self) -> tuple[str, ...]:
        """Return the name of the base in the second engine, where adapters are held against it."""
        return tuple(str(a["name"]) for a in self.results.adapters if a.get("method") == CONTROL)

    @cached_property
    def systems(self) -> tuple[str | None, ...]:
        """Return the base as None, where it was asked, its controls and the adapters."""
        base: tuple[None, ...] = (None,) if self.results.run["with_base"] else ()
        return (*base, *self.controls, *self.adapters)

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Return the names of each task's categories."""
        found: dict[str, dict[str, None]] = {}
        for e in self.results.estimates:
            kind, _, name = (e.group or "").partition(":")
            if kind == "category":
                found.setdefault(e.task, {})[name] = None
        return {task: tuple(sorted(names)) for task, names in found.items()}

    def metrics(self, task: str) -> tuple[str, ...]:
        """Return all metrics that a whole task was measured by."""
        return tuple(dict.fromkeys(
            e.metric for e in self.results.estimates if e.task == task and e.group is None
        ))  # fmt: skip

    def estimate(
        self, task: str, metric: str, system: str | None, group: str | None = None
    ) -> Estimate | None:
        """Return one score, if there is one."""
        return self._estimates.get((task, metric, system, group))

    def comparison(
        self, task: str, metric: str, adapter: str | None, group: str | None = None
    ) -> Comparison | None:
        """Return one difference to the base, if there is one."""
        return self._comparisons.get((task, metric, adapter, group))

    def differences(self, adapter: str) -> list[Comparison]:
        """Return an adapter's headline differences to the base in skill, task by task."""
        found = (self.comparison(t["name"], headline(t), adapter) for t in self.skills)
        return [c for c in found if c is not None and c.delta is not None]

    def recall(self, adapter: str) -> list[Comparison]:
        """Return an adapter's headline differences to the base in memory, probe by probe."""
        found = (self.comparison(t["name"], headline(t), adapter) for t in self.probes)
        return [c for c in found if c is not None and c.delta is not None]

    def better(self, adapter: str) -> list[Comparison]:
        """Return the differences that are gains."""
        return [c for c in self.differences(adapter) if mark(c) == BETTER]

    def worse(self, adapter: str) -> list[Comparison]:
        """Return the differences that are losses."""
        return [c for c in self.differences(adapter) if mark(c) == WORSE]

    def mean_gain(self, adapter: str) -> float:
        """Return the mean difference over the tasks; the mean score where there is no base."""
        gains = [
            (c.delta or 0.0) * (1 if higher_is_better(c.metric) else -1)
            for c in self.differences(adapter)
            if is_share(c.metric)
        ]
        if not gains:
            found = (self.estimate(t["name"], headline(t), adapter) for t in self.skills)
            gains = [e.value for e in found if e and e.value is not None and is_share(e.metric)]
        return sum(gains) / len(gains) if gains else 0.0
