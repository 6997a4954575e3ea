"""Each task's answers and scores lined up with its samples, as columns, one system at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from peval.answers import Answers, lined_up
from peval.coding import Sandbox, is_code
from peval.items import Items, items
from peval.judging.concluded import Judged
from peval.parquet import AnswersFile
from peval.scoring import key_ends, score_system
from peval.store import Store
from peval.types import Asked, Sample, Score, Task

Systems = dict[str | None, Answers]


@dataclass(frozen=True)
class Part:
    """One task of a run.

    ``again`` holds each system's second answers, where everything was asked twice; ``scores``,
    by system and sample, those of coding tasks alone, with their programs. ``tally`` counts
    requests: "asked", "open", "failed"; ``failures`` says why.
    """

    task: Task
    samples: list[Sample]
    items: Items
    systems: Systems = field(default_factory=dict)
    again: Systems = field(default_factory=dict)
    scores: dict[str | None, list[Score | None]] = field(default_factory=dict)
    tally: Counter[str] = field(default_factory=Counter)
    failures: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Lineup:
    """Where answers come from and where they go: ``repeat`` holds second ones."""

    store: Store
    repeat: Store | None
    sandbox: Sandbox
    file: AnswersFile

    def part(self, task: Task, samples: Mapping[str, Sample]) -> Part:
        """Score every system on one task."""
        part = Part(task, list(samples.values()), items(list(samples.values())))
        ends = key_ends(task, part.samples)
        for name, by_id in self.store.asked(task.name):
            self._add(part, name, [by_id[sample.id] for sample in part.samples], ends)
        return part

    def judged(self, one: Judged) -> Part:
        """Line up the same answers with what a judge said of them."""
        part = Part(one.task, one.samples, items(one.samples))
        for name, asked in one.asked.items():
            completions = self.store.completions(posed.key for many in asked for posed in many)
            part.systems[name] = lined_up(one.task, asked, completions, one.scores[name])
            rows = list(zip(asked, one.scores[name], strict=True))
            self.file.add(one.task.name, name, one.samples, rows, completions)
        return part

    def _add(
        self, part: Part, name: str | None, asked: Sequence[Asked], ends: Sequence[str]
    ) -> None:
        task, samples = part.task, part.samples
        keys = [one.key for parts in asked for one in parts]
        completions = self.store.completions(keys)
        scores = score_system(
            self.store, task, samples, asked, completions, ends, self.sandbox
        )  # fmt: skip
        part.systems[name] = lined_up(task, asked, completions, scores)
        rows = list(zip(asked, scores, strict=True))
        _count(part, rows)
        self.file.add(task.name, name, samples, rows, completions)
        if is_code(task):
            part.scores[name] = scores
        elif self.repeat is not None:  # programs are not run a second time
            second = self.repeat.completions(keys)
            scores = score_system(self.repeat, task, samples, asked, second, ends)
            part.again[name] = lined_up(task, asked, second, scores)


def _count(part: Part, rows: Sequence[tuple[Asked, Score | None]]) -> None:
    for asked, score in rows:
        part.tally["asked"] += len(asked)
        if score is None:
            part.tally["open"] += len(asked)
        elif score.status == "failed":
            part.tally["failed"] += len(asked)
            part.failures.update([score.why] if score.why else [])
