"""Each task's answers and scores lined up with its samples, as columns, one system at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from peval.answers import Answers, Block, lined_up
from peval.coding import Sandbox, is_code
from peval.items import Items, items
from peval.judging.concluded import Judged
from peval.parquet import AnswersFile
from peval.scoring import key_ends, score_system
from peval.store import Store
from peval.types import Answered, Asked, Sample, Score, Task

Systems = dict[str | None, Answers]

SAMPLES_AT_ONCE = 1_000
"""So few that a processor's cache holds what is known of them while it becomes columns.

Their scores are stored together: another number scores every run anew.
"""


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
        self.file.begin(task.name, part.samples)
        ends = key_ends(task, part.samples)
        for name, by_id in self.store.asked(task.name):
            asked = [by_id[sample.id] for sample in part.samples]
            blocks = _scored(self.store, part, asked, ends, self.sandbox)
            part.systems[name] = lined_up(task, self._kept(part, name, blocks))
            if self.repeat is not None and not is_code(task):  # programs do not run a second time
                blocks = _scored(self.repeat, part, asked, ends)
                part.again[name] = lined_up(task, blocks)
        return part

    def judged(self, one: Judged) -> Part:
        """Line up the same answers with what a judge said of them."""
        part = Part(one.task, one.samples, items(one.samples))
        self.file.begin(one.task.name, one.samples)
        for name, asked in one.asked.items():
            answered = _answered(self.store, one.samples, asked)
            part.systems[name] = lined_up(one.task, [(answered, one.scores[name])])
            self.file.add(name, answered, one.scores[name])
        return part

    def _kept(self, part: Part, name: str | None, blocks: Iterable[Block]) -> Iterator[Block]:
        """Write and count answers as they pass."""
        for answered, scores in blocks:
            self.file.add(name, answered, scores)
            _count(part, answered, scores)
            if is_code(part.task):
                part.scores.setdefault(name, []).extend(scores)
            yield answered, scores


def _scored(
    store: Store,
    part: Part,
    asked: Sequence[Asked],
    ends: Sequence[str],
    sandbox: Sandbox | None = None,
) -> Iterator[Block]:
    """Yield one system's answers with their scores, some samples at a time.

    lm-eval has them all at once, as its filters may compare them.
    """
    n = len(part.samples)
    size = max(1, n) if part.task.reader == "lm-eval" else SAMPLES_AT_ONCE
    for some in (slice(start, start + size) for start in range(0, n, size)):
        answered = _answered(store, part.samples[some], asked[some])
        yield answered, score_system(store, part.task, answered, ends[some], sandbox)


def _answered(store: Store, samples: Sequence[Sample], asked: Sequence[Asked]) -> Answered:
    found = store.completions(one.key for many in asked for one in many)
    said = [tuple([found.get(one.key) for one in many]) for many in asked]
    return Answered(samples, asked, said)


def _count(part: Part, answered: Answered, scores: Sequence[Score | None]) -> None:
    for asked, score in zip(answered.asked, scores, strict=True):
        part.tally["asked"] += len(asked)
        if score is None:
            part.tally["open"] += len(asked)
        elif score.status == "failed":
            part.tally["failed"] += len(asked)
            part.failures.update([score.why] if score.why else [])
