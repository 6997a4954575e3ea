"""A sweep in figures: score against rank by learning rate, over seeds, over training steps.

Groups are adapters alike in all facts but the seed. Checkpoints with equal weights count once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peval.metrics import is_share
from peval.report.charts import Line, Lines, Strip
from peval.report.document import (
    Cell,
    Column,
    Figure,
    Fold,
    Paragraph,
    Part,
    Section,
    Table,
    slug,
)
from peval.report.format import NONE
from peval.report.tables import N_OPEN, TASKS_ACROSS, count_cell, text_cell
from peval.report.view import View, chunks, headline

SEED, STEPS, RANK, RATE = "seed", "steps", "rank", "learning_rate"
NEVER_GROUP = (SEED, "bytes")
FEW_SEEDS = LEAST = 3
LINES_DRAWN = 8
GROUPS_DRAWN = 20

Facts = Mapping[str, Any]
Key = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Group:
    """Adapters that differ in their seed alone; ``facts`` are those that vary in the sweep."""

    facts: Key
    adapters: tuple[str, ...]

    @property
    def name(self) -> str:
        """The facts in words."""
        return ", ".join(f"{_short(key)} {_plain(value)}" for key, value in self.facts) or "all"


def sections(view: View) -> Iterator[Section]:
    """Yield the section, where the training of three adapters or more is known and varies."""
    facts = facts_of(view)
    groups = grouped(last(facts))
    tasks = [t for t in view.skills if is_share(headline(t))]
    trained = any(key in one for one in facts.values() for key in (RATE, SEED, STEPS))
    if len(facts) < LEAST or not trained or not tasks or not any(g.facts for g in groups):
        return  # ranks alone do not make adapters alike
    first, *rest = (list(_figures(view, task, facts, groups)) for task in tasks)
    parts: list[Part] = [*_words(groups), *first, *group_tables(view, tasks, groups)]
    folded = tuple(figure for figures in rest for figure in figures)
    if folded:
        parts.append(Fold("The sweep on the other tasks", folded))
    yield Section("The sweep", tuple(parts))


def facts_of(view: View) -> dict[str, Facts]:
    """Return each adapter's facts; of checkpoints with the same weights the first one's alone."""
    by_name = {a["name"]: a for a in view.results.adapters}
    first: dict[str, str] = {}
    for name in sorted(by_name):
        first.setdefault(by_name[name]["sha256"], name)
    return {
        name: by_name[name].get("facts", {})
        for name in view.adapters
        if first[by_name[name]["sha256"]] == name and by_name[name].get("facts")
    }


def last(facts: Mapping[str, Facts]) -> dict[str, Facts]:
    """Return of adapters that differ in their steps alone the one trained longest."""
    longest: dict[str, str] = {}
    for name in sorted(facts):
        rest = {k: v for k, v in facts[name].items() if k not in (STEPS, "epochs", "bytes")}
        key = repr(sorted(rest.items()))
        if key not in longest or facts[name].get(STEPS, 0) > facts[longest[key]].get(STEPS, 0):
            longest[key] = name
    return {name: facts[name] for name in sorted(longest.values())}


def varied(facts: Mapping[str, Facts]) -> list[str]:
    """Return the facts that differ between adapters and do not name single ones."""
    keys = dict.fromkeys(key for one in facts.values() for key in one)
    return [
        key for key in keys
        if key not in NEVER_GROUP and len({one.get(key) for one in facts.values()}) > 1
    ]  # fmt: skip


def grouped(facts: Mapping[str, Facts]) -> list[Group]:
    """Return adapters by the facts that vary, those without a known seed each alone."""
    keys = varied(facts)
    found: dict[tuple[Key, str], list[str]] = {}
    for name in sorted(facts):
        one = facts[name]
        key = tuple((k, one[k]) for k in keys if k in one)
        found.setdefault((key, "" if SEED in one else name), []).append(name)
    groups = [Group(key, tuple(names)) for (key, _), names in found.items()]
    return sorted(groups, key=lambda g: [(k, isinstance(v, str), v) for k, v in g.facts])


def _words(groups: Sequence[Group]) -> Iterator[Part]:
    yield Paragraph((
        "Facts are read from the checkpoints or a table of one's own. A setting is all of them but "
        "the seed; of a series of checkpoints the last one stands for it, whatever it scored.",
    ))  # fmt: skip
    n_seeds = [len(g.adapters) for g in groups]
    few = sum(n < FEW_SEEDS for n in n_seeds)
    if few:
        some = "Every setting" if few == len(groups) else f"{few:,} of {len(groups):,} settings"
        has = "has" if few == len(groups) else "have"
        yield Paragraph((
            f"{some} {has} fewer than {FEW_SEEDS} seeds: what is found there is about these "
            "adapters, not about the way in which they were made.",
        ))  # fmt: skip


def _figures(
    view: View, task: dict[str, Any], facts: Mapping[str, Facts], groups: Sequence[Group]
) -> Iterator[Figure]:
    """Yield a task's figures: over ranks, over steps, over seeds, where each varies."""
    scores = _scores(view, task, facts)
    level = _level(view, task)
    title = f"{task['name']}: {headline(task)}, percent"
    keys = varied(facts)
    if RANK in keys:
        split = RATE if RATE in keys else "method" if "method" in keys else None
        lines = _lines(last(facts), scores, RANK, lambda one: _by(one, split))
        if lines:
            yield Figure(
                slug("ranks", task["name"]),
                f"Scores on {task['name']} against rank"
                + (f" by {_short(split)}" if split else ""),
                Lines("rank", title, lines, level, log_x=True),
            )
    if STEPS in keys:
        rest = [k for k in keys if k != STEPS]
        lines = _lines(facts, scores, STEPS, lambda one: _named(one, rest))
        lines = tuple(line for line in lines if len(set(line.xs)) > 1)[:LINES_DRAWN]
        if lines:
            yield Figure(
                slug("steps", task["name"]), f"Scores on {task['name']} over training steps",
                Lines("training steps", title, lines, level),
            )  # fmt: skip
    strips = tuple(
        Line(g.name, tuple(0.0 for _ in ys), tuple(ys))
        for g in groups
        if len(ys := [scores[a] for a in g.adapters if a in scores]) > 1
    )
    if strips:
        yield Figure(
            slug("seeds", task["name"]), f"Scores on {task['name']} of each setting's seeds",
            Strip(title, strips[:GROUPS_DRAWN], level),
        )  # fmt: skip


def _lines(
    facts: Mapping[str, Facts], scores: Mapping[str, float], axis: str, name: Any
) -> tuple[Line, ...]:
    found: dict[str, list[tuple[float, float]]] = {}
    for adapter, one in facts.items():
        if adapter in scores and isinstance(one.get(axis), int | float):
            found.setdefault(name(one), []).append((float(one[axis]), scores[adapter]))
    return tuple(
        Line(label, *map(tuple, zip(*sorted(points), strict=True)))
        for label, points in sorted(found.items())[:LINES_DRAWN]
    )


def group_tables(
    view: View, tasks: Sequence[dict[str, Any]], groups: Sequence[Group]
) -> Iterator[Table]:
    """Yield settings x tasks: the mean over seeds, and from the lowest to the highest."""
    keys = list(dict.fromkeys(key for g in groups for key, _ in g.facts))
    for at, some in enumerate(chunks(tasks, TASKS_ACROSS), start=1):
        scores = [_scores(view, t, {a: {} for g in groups for a in g.adapters}) for t in some]
        columns = [Column((_short(key),), numeric=False) for key in keys]
        columns.append(Column(("seeds",)))
        columns += [
            Column((f"{t['name']}, %",), ("lowest", "highest"), key=f"{t['name']}") for t in some
        ]
        rows = tuple(
            (*(text_cell(_plain(dict(g.facts).get(k, NONE))) for k in keys),
             count_cell(len(g.adapters)), *(_spread(g, found) for found in scores))
            for g in groups
        )  # fmt: skip
        yield Table(
            slug("sweep", *([str(at)] if len(tasks) > TASKS_ACROSS else [])),
            "Means over seeds, and from the lowest to the highest", tuple(columns), rows, N_OPEN,
        )  # fmt: skip


def _spread(group: Group, scores: Mapping[str, float]) -> Cell:
    ys = [scores[a] for a in group.adapters if a in scores]
    if not ys:
        return Cell((NONE,), (None, None, None))
    mean, low, high = sum(ys) / len(ys), min(ys), max(ys)
    spread = f" ({low:.0f} to {high:.0f})" if len(ys) > 1 else ""
    return Cell((f"{mean:.0f}{spread}",), (mean / 100, low / 100, high / 100))


def _scores(view: View, task: dict[str, Any], facts: Mapping[str, Facts]) -> dict[str, float]:
    found = {a: view.estimate(task["name"], headline(task), a) for a in facts}
    return {a: 100 * e.value for a, e in found.items() if e and e.value is not None}


def _level(view: View, task: dict[str, Any]) -> float | None:
    base = view.estimate(task["name"], headline(task), None)
    return None if base is None or base.value is None else 100 * base.value


def _by(one: Facts, key: str | None) -> str:
    return f"{_short(key)} {_plain(one.get(key, NONE))}" if key else "all"


def _named(one: Facts, keys: Sequence[str]) -> str:
    return ", ".join(f"{_short(k)} {_plain(one[k])}" for k in keys if k in one) or "all"


def _short(key: str | None) -> str:
    return {RATE: "lr", "target_modules": "modules"}.get(key or "", (key or "").replace("_", " "))


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
