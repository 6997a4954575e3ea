"""A judge's work on a run, as tasks with scores and as findings for the report. Asks nobody."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peval.judging import leaderboard
from peval.judging.examples import examples
from peval.judging.findings import findings
from peval.judging.judges import Judge
from peval.judging.opponents import is_opponent, opponents_in
from peval.judging.outcomes import Outcomes, outcomes
from peval.judging.place import Place, places, texts_of
from peval.judging.scores import METRICS, scores
from peval.judging.shown import Shown
from peval.rundir import RunDir
from peval.store import Store
from peval.types import Asked, Sample, Score, Task

Record = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """One task as one judge sees it: the same answers with scores of another kind.

    ``finding`` is what the report tells of it.
    """

    task: Task
    samples: list[Sample]
    asked: dict[str | None, list[Asked]]
    scores: dict[str | None, list[Score | None]]
    finding: Record
    outcomes: Outcomes


def judged(
    rundir: RunDir,
    store: Store,
    tasks: Mapping[str, Task],
    samples: Mapping[str, Mapping[str, Sample]],
) -> list[Judged]:
    """Return what every judge of a run found on each task that it judged."""
    return [one for place in places(rundir) for one in _at(place, store, tasks, samples)]


def _at(
    place: Place,
    store: Store,
    tasks: Mapping[str, Task],
    samples: Mapping[str, Mapping[str, Sample]],
) -> Iterator[Judged]:
    about = place.read()
    if not about["has_begun"]:
        return
    with Store(place.store) as kept:
        calls = kept.requests()
        verdicts = kept.completions(call.key for call in calls)
        opponents = opponents_in(kept, samples)
    judge = Judge.from_record(about["judge"])
    for name in about["tasks"]:
        if name in tasks:
            found = outcomes(judge, [one for one in calls if one.task == name], verdicts)
            asked = dict(store.asked(name))
            texts = texts_of(samples[name], asked, store)
            work = _Work(judge, about, place.path.name, tasks[name])
            yield work.judged(found, asked, Shown(samples[name], texts, opponents[name]))


@dataclass(frozen=True)
class _Work:
    """One judge's work on one task; ``place`` is the name of its folder."""

    judge: Judge
    about: Mapping[str, Any]
    place: str
    task: Task

    @property
    def name(self) -> str:
        """Return the name of the task that the verdicts make."""
        return f"{self.task.name} by {self.place}"

    def judged(
        self,
        found: Outcomes,
        asked: Mapping[str | None, Mapping[str, Asked]],
        shown: Shown,
    ) -> Judged:
        finding = self._finding(found, shown)
        samples = list(shown.samples.values())
        lined_up = {system: [by_id[s.id] for s in samples] for system, by_id in asked.items()}
        has_headline = not finding["why_no_headline"]
        return Judged(
            task=self._task(finding["n_draws"]),
            samples=samples,
            asked=lined_up,
            scores=scores(self.judge, found, samples, lined_up, has_headline),
            finding=finding,
            outcomes=found,
        )

    def _task(self, n_draws: int) -> Task:
        judge = self.judge
        settings = {
            "of": self.task.name, "judge": judge.sha256[:12], "model": judge.model,
            "against": self.about["against"], "orders": judge.orders, "combine": judge.combine,
            **({"draws": n_draws} if n_draws > 1 else {}),
        }  # fmt: skip
        return dataclasses.replace(
            self.task, name=self.name, reader="judge", metrics=METRICS[judge.kind], rule=None,
            tokenizer="default", settings=settings,
        )  # fmt: skip

    def _finding(self, found: Outcomes, shown: Shown) -> Record:
        against = self.about["against"]
        # The opponent's ties with itself are there for comparisons; they are no finding.
        others = {name: by_id for name, by_id in found.items() if not is_opponent(against, name)}
        finding = findings(self.judge, others, shown)
        if leaderboard.applies(self.task, against, len(shown.samples), finding["n_draws"]):
            leaderboard.control_lengths(finding, others, shown)
        finding["warnings"] += self._warnings()
        return finding | self._who() | {"examples": list(examples(found, shown))}

    def _who(self) -> Record:
        """Return who judged what, how, and at what cost."""
        judge, about = self.judge, self.about
        return {
            "judge": judge.name, "version": judge.version, "sha256": judge.sha256,
            "kind": judge.kind, "model": judge.model, "engine": judge.engine,
            "scale": [judge.lowest, judge.highest] if judge.kind == "rating" else None,
            "fence": judge.fence, "task": self.task.name, "name": self.name, "place": self.place,
            "against": about["against"], "spent_usd": about.get("spent_usd", 0.0),
            "cap_usd": about.get("cap_usd"), "stopped": about.get("stopped"),
            "same_base": about.get("same_base", False),
        }  # fmt: skip

    def _warnings(self) -> Iterator[str]:
        if n_unused := self.about.get("n_unused_labels"):
            yield f"people's verdicts that are on no system and sample here: {n_unused:,}"
        if self.about.get("same_base"):
            yield "self-preference: the judge and the evaluated models have one base"
