"""A judge's work on a run, as tasks with scores and as findings for the report. Asks nobody."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from peval.judging import agreement, leaderboard, ratings
from peval.judging.findings import findings
from peval.judging.judges import Judge
from peval.judging.outcomes import Outcome, Outcomes, outcomes, worth
from peval.judging.place import Place, Texts, item_of, places, texts_of
from peval.judging.questions import Draws, facing
from peval.judging.wins import wins
from peval.rundir import RunDir
from peval.store import Store
from peval.types import Asked, Completion, Request, Sample, Score, Task

N_EXAMPLES = 3
BASE = "base"
OPPONENTS = "opponents of "
METRICS = {
    "pairwise": ("win_rate", "discrete_win_rate"),
    "rating": ("rating",),
    "rubric": ("criteria_met",),
}


@dataclass(frozen=True)
class Judged:
    """One task as one judge sees it: the same answers with scores of another kind.

    ``finding`` is what the report tells of it.
    """

    task: Task
    samples: list[Sample]
    asked: dict[str | None, list[Asked]]
    scores: dict[str | None, list[Score | None]]
    finding: dict[str, Any]
    outcomes: Outcomes


def judged(
    rundir: RunDir,
    store: Store,
    tasks: Mapping[str, Task],
    samples: Mapping[str, Mapping[str, Sample]],
) -> list[Judged]:
    """Return what every judge of a run found on each task that it judged."""
    found = []
    for place in places(rundir):
        about = place.read()
        if not about["has_begun"]:
            continue
        with Store(place.store) as kept:
            calls = kept.requests()
            verdicts = kept.completions(call.key for call in calls)
            opponents = _opponents(kept, samples)
        for name in about["tasks"]:
            if name in tasks:
                some = [one for one in calls if one.task == name]
                work = _Work(place, about, tasks[name], samples[name], dict(store.asked(name)))
                texts = texts_of(samples[name], work.asked, store)
                found.append(work.judged(some, verdicts, opponents.get(name, {}), texts))
    return found


def _opponents(
    store: Store, samples: Mapping[str, Mapping[str, Sample]]
) -> dict[str, dict[str, Draws]]:
    """Return what was shown beside the answers, by task and sample id."""
    held = store.samples()
    return {
        task: {name: _draws(held[OPPONENTS + task][name], sample) for name, sample in by_id.items()
               if name in held[OPPONENTS + task]}
        for task, by_id in samples.items()
        if OPPONENTS + task in held
    }  # fmt: skip


def _draws(opponent: Sample, sample: Sample) -> Draws:
    """Return an opponent's texts, which a store holds one after the other, by draw and turn."""
    texts, n_turns = [query.text for query in opponent.queries], 1 + len(sample.follow_ups)
    starts = range(0, len(texts), n_turns)
    return tuple(tuple(texts[start : start + n_turns]) for start in starts)


def is_opponent(task: Task, system: str | None) -> bool:
    """Tell whether a system is what a judge held the others against."""
    return _is_it(task.settings["against"], system)


def _is_it(against: object, system: str | None) -> bool:
    return bool(against == (BASE if system is None else system))


@dataclass(frozen=True)
class _Work:
    """One judge's work on one task."""

    place: Place
    about: Mapping[str, Any]
    task: Task
    samples: Mapping[str, Sample]
    asked: Mapping[str | None, Mapping[str, Asked]]

    def judged(
        self,
        calls: Sequence[Request],
        verdicts: Mapping[str, Completion],
        opponents: Mapping[str, Draws],
        texts: Texts,
    ) -> Judged:
        judge = Judge.from_record(self.about["judge"])
        found = outcomes(judge, calls, verdicts)
        categories = {s.id: s.category for s in self.samples.values()}
        # The opponent's ties with itself are there for comparisons; they are no finding.
        others = {s: by_id for s, by_id in found.items() if not _is_it(self.about["against"], s)}
        finding = findings(judge, others, texts, opponents, categories)
        is_one_each = finding["n_draws"] == 1
        if is_one_each and leaderboard.applies(self.task, self.about["against"], len(self.samples)):
            self._control_lengths(finding, others, texts, opponents)
        name = f"{self.task.name} by {self.place.path.name}"
        settings = {
            "of": self.task.name, "judge": judge.sha256[:12], "model": judge.model,
            "against": self.about["against"], "orders": judge.orders, "combine": judge.combine,
        } | ({"draws": finding["n_draws"]} if finding["n_draws"] > 1 else {})  # fmt: skip
        task = dataclasses.replace(
            self.task, name=name, reader="judge", metrics=METRICS[judge.kind], rule=None,
            tokenizer="default", settings=settings,
        )  # fmt: skip
        items = list(self.samples.values())
        lined_up = {system: [by_id[s.id] for s in items] for system, by_id in self.asked.items()}
        has_headline = not finding["why_no_headline"]
        scores = {
            system: [
                _score(judge, found.get(system, {}).get(s.id, ()), request[0].key, has_headline)
                for s, request in zip(items, mine, strict=True)
            ]
            for system, mine in lined_up.items()
        }
        finding |= {
            "judge": judge.name, "version": judge.version, "sha256": judge.sha256,
            "kind": judge.kind, "model": judge.model, "engine": judge.engine,
            "scale": [judge.lowest, judge.highest] if judge.kind == "rating" else None,
            "fence": judge.fence, "task": self.task.name, "name": name,
            "place": self.place.path.name,
            "against": self.about["against"], "spent_usd": self.about.get("spent_usd", 0.0),
            "cap_usd": self.about.get("cap_usd"), "stopped": self.about.get("stopped"),
            "same_base": self.about.get("same_base", False),
            "examples": list(self._examples(judge, found, texts, opponents)),
        }  # fmt: skip
        if n_unused := self.about.get("n_unused_labels"):
            finding["warnings"].append(
                f"people's verdicts that are on no system and sample here: {n_unused:,}"
            )
        if self.about.get("same_base"):
            finding["warnings"].append(
                "self-preference: the judge and the evaluated models have one base"
            )
        return Judged(task, items, lined_up, scores, finding, found)

    def _control_lengths(
        self,
        finding: dict[str, Any],
        found: Outcomes,
        texts: Texts,
        opponents: Mapping[str, Draws],
    ) -> None:
        """Put AlpacaEval's own length-controlled win rates in the place of ours."""
        for row in finding["systems"]:
            by_id = found[row["system"]]
            pairs = [
                leaderboard.Pair(value, texts[row["system"]][name][0][0], opponents[name][0][0])
                for name in self.samples
                if name in by_id and (value := worth(by_id[name])) is not None
            ]
            if len(pairs) == len(self.samples) and (own := leaderboard.length_controlled(pairs)):
                row["length_controlled"] = dataclasses.asdict(own)

    def _examples(
        self,
        judge: Judge,
        found: Outcomes,
        texts: Texts,
        opponents: Mapping[str, Draws],
    ) -> Iterator[dict[str, Any]]:
        """Yield the clearest wins and losses, systems taking turns, with the judge's words."""
        rows = [
            (one.value, name, item, draw, one)
            for name, by_id in found.items()
            if not str(name).startswith("null:")
            for item, drawn in by_id.items()
            for draw, one in enumerate(drawn)
            if one.value is not None and not one.identical
        ]
        won = _in_turn(rows, -1)[:N_EXAMPLES]
        lost = [row for row in _in_turn(rows, 1) if row not in won][:N_EXAMPLES]
        for value, name, item, draw, one in [*won, *lost]:
            opponent = facing(opponents[item], draw) if item in opponents else ()
            yield {
                "system": name, "sample_id": item, "draw": draw, "value": value,
                "question": "\n\n".join(item_of(self.samples[item]).turns),
                "answer": "\n\n".join(texts[name][item][draw]),
                "opponent": "\n\n".join(opponent), "reply": one.reply,
            }  # fmt: skip


def _in_turn(rows: Sequence[tuple[float, str | None, str, int, Outcome]], sign: int) -> list[Any]:
    """Return rows by value, lowest (or highest) first; among equals systems take turns."""
    turns: Counter[tuple[float, str | None]] = Counter()
    placed = []
    for row in sorted(rows, key=lambda row: row[2]):
        placed.append((sign * row[0], turns[row[:2]], str(row[1]), row))
        turns[row[:2]] += 1
    return [row for *_, row in sorted(placed, key=lambda one: one[:3])]


def _score(judge: Judge, drawn: Sequence[Outcome], key: str, has_headline: bool) -> Score | None:
    """Return an item's score; one without a verdict that counts has no values."""
    metrics = METRICS[judge.kind]
    if not drawn or any(one.pending for one in drawn):
        return None
    value = worth(drawn)
    if value is None or not has_headline:
        unscored = next((one.unscored for one in drawn if one.unscored), None)
        return Score(key, dict.fromkeys(metrics), why=f"unscored: {unscored}")
    values = {metrics[0]: value}
    if judge.kind == "pairwise":
        values["discrete_win_rate"] = wins([v for one in drawn if (v := one.value) is not None]
                                           ).discrete_win_rate  # fmt: skip
    reply = next((one.reply for one in drawn if one.reply), None)
    return Score(key, values, extracted=f"{value:g}", why=reply)


def record(found: Sequence[Judged]) -> dict[str, Any]:
    """Return what results hold of judges; nothing where nobody judged."""
    if not found:
        return {}
    return {
        "sections": [one.finding for one in found],
        "ratings": tournaments(found),
        "agreement": agreements(found),
    }


def tournaments(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return Bradley and Terry's ratings where more than two systems met each other.

    Sections of one judge and task with different systems as opponents belong together.
    """
    groups: dict[tuple[str, str], list[Judged]] = {}
    for one in found:
        if one.finding["kind"] == "pairwise":
            key = one.finding["sha256"], one.finding["task"]
            groups.setdefault(key, []).append(one)
    rows = []
    for (_, task), some in groups.items():
        pairs: dict[tuple[str | None, str | None], dict[str, float]] = {}
        for one in some:
            opponent = one.finding["against"]
            other = None if opponent == BASE else opponent
            for system, by_id in one.outcomes.items():
                if system == other or str(system).startswith("null:"):
                    continue
                values = {i: v for i, drawn in by_id.items() if (v := worth(drawn)) is not None}
                if values and (other, system) not in pairs:
                    pairs[(system, other)] = values
        n_systems = len({name for pair in pairs for name in pair})
        if len({other for _, other in pairs}) < 2 or n_systems < 3:
            continue
        clusters = {s.id: s.cluster for s in some[0].samples}
        where = {"task": task, "judge": some[0].finding["judge"]}
        rows += [dataclasses.asdict(one) | where for one in ratings.ratings(pairs, clusters)]
    return rows


def agreements(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return how far every two judges of one kind, task and opponent agree."""
    rows = []
    for one, other in combinations(found, 2):
        mine, theirs = one.finding, other.finding
        if any(mine[k] != theirs[k] for k in ("task", "kind", "against")):
            continue
        pairs = [
            (a.value, b.value)
            for system, by_id in one.outcomes.items()
            if not str(system).startswith("null:")
            for item, drawn in by_id.items()
            for a, b in zip(drawn, other.outcomes.get(system, {}).get(item, ()), strict=False)
            if a.value is not None and b.value is not None
            and not (a.identical and b.identical)
        ]  # fmt: skip
        if len(pairs) < 2:
            continue
        both = [x for x, _ in pairs], [y for _, y in pairs]
        kinds = [[_category(v) for v in values] for values in both]
        pairwise = mine["kind"] == "pairwise"
        rows.append({
            "task": mine["task"], "judges": [one.task.name, other.task.name], "n": len(pairs),
            "agreement": sum(x == y for x, y in zip(*kinds, strict=True)) / len(pairs)
            if pairwise else None,
            "kappa": agreement.cohens_kappa(*kinds) if pairwise else None,
            "alpha": agreement.krippendorffs_alpha(both),
        })  # fmt: skip
    return rows


def _category(value: float) -> str:
    return "win" if value > 0.5 else "loss" if value < 0.5 else "tie"
