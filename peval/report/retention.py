"""What was kept and what was lost: non-inferiority to the base, and gain against the worst loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peval.forgetting import verdict
from peval.metrics import higher_is_better, is_share
from peval.report.charts import Scatter, Spot
from peval.report.document import (
    Cell,
    Code,
    Column,
    Figure,
    Fold,
    Paragraph,
    Part,
    Section,
    Strong,
    Table,
    Text,
    slug,
)
from peval.report.format import BETTER, OPEN, SAME, WORSE, bounds, delta, is_same, rough
from peval.report.tables import N_OPEN, TASKS_ACROSS, name_cell, unbroken
from peval.report.view import View, chunks, headline
from peval.types import Comparison

MARGIN = 0.02
"""The largest loss that does not matter, where a task states none."""
MARKS = {"kept": BETTER, "lost": WORSE, "undecided": OPEN}


def margin_of(task: dict[str, Any]) -> float:
    """Return the loss on a task that does not matter."""
    return float(task.get("margin", MARGIN))


def sections(view: View) -> Iterator[Section]:
    """Yield the section, where an adapter was compared with the base."""
    tasks = [t for t in view.skills if is_share(headline(t))]
    if not any(verdicts(view).values()):
        return
    first, *rest = retention_tables(view, tasks)
    parts: list[Part] = [Paragraph(_how(tasks)), first]
    if len(tasks) > 1:
        parts.insert(1, gain_against_loss(view, tasks))
    if rest:
        parts.append(Fold("The other tasks", tuple(rest)))
    yield Section("Kept and lost", tuple(parts))


def verdicts(view: View) -> dict[str, list[str]]:
    """Return each adapter's verdicts, one for each task that it was compared on."""
    return {
        a: [
            found
            for t in view.skills
            if is_share(headline(t)) and (c := view.comparison(t["name"], headline(t), a))
            if (found := verdict(c, margin_of(t)))
        ]
        for a in view.adapters
    }


def _how(tasks: list[dict[str, Any]]) -> Text:
    stated = sorted({margin_of(t) for t in tasks})
    span = " to ".join(rough(m) for m in dict.fromkeys([stated[0], stated[-1]]))
    return (
        Strong("kept"), f": no part of the interval lies beyond a loss of {span} points; ",
        Strong("lost"), ": all of it does; ", Strong("undecided"), ": the data cannot tell. That "
        "no loss is marked elsewhere is no evidence that nothing was forgotten; ", Strong("kept"),
        " is.",
    )  # fmt: skip


def retention_tables(view: View, tasks: list[dict[str, Any]]) -> Iterator[Table]:
    """Yield adapters x tasks: the verdict with its numbers."""
    for at, some in enumerate(chunks(tasks, TASKS_ACROSS), start=1):
        columns = (Column((Code(t["name"]),), ("low", "high", "verdict")) for t in some)
        rows = ((name_cell(a), *(_cell(view, t, a) for t in some)) for a in view.adapters)
        yield Table(
            slug("retention", *([str(at)] if len(tasks) > TASKS_ACROSS else [])),
            "Was as much kept as the base had?",
            (Column(("adapter",), numeric=False), *columns), tuple(rows), N_OPEN,
        )  # fmt: skip


def _cell(view: View, task: dict[str, Any], adapter: str) -> Cell:
    c = view.comparison(task["name"], headline(task), adapter)
    found = verdict(c, margin_of(task)) if c else None
    if c is None or found is None:
        return Cell(("–",), (None, None, None, None))
    numbers = "" if is_same(c) else f" {delta(c)} {bounds(c)}"
    word = Strong(found) if found == "lost" else found
    return Cell((word, unbroken(numbers)), (c.delta, c.low, c.high, found))


def gain_against_loss(view: View, tasks: list[dict[str, Any]]) -> Figure:
    """Return each adapter's largest gain on any task against its largest loss on any."""
    margins = {t["name"]: margin_of(t) for t in tasks}
    spots = [
        _spot(a, found, margins)
        for a in view.adapters
        if (found := [c for c in view.differences(a) if c.task in margins])
    ]
    widest = max(margins.values())
    chart = Scatter(
        "worst task: points against the base", "best task: points against the base",
        tuple(spots), margin=-100 * widest,
    )  # fmt: skip
    return Figure(
        "gain-against-loss",
        "Each adapter's difference to the base on its best task against that on its worst, with "
        "95 % intervals; left of the margin something was lost",
        chart,
    )


def _spot(adapter: str, found: list[Comparison], margins: dict[str, float]) -> Spot:
    worst = min(found, key=lambda c: (_points(c, c.delta), c.task))
    best = max(found, key=lambda c: (_points(c, c.delta), c.task))
    kinds = {verdict(c, margins[c.task]) for c in found}
    kind = next((k for k in ("lost", "undecided", "kept") if k in kinds), "undecided")
    mark = SAME if all(map(is_same, found)) else MARKS[kind]
    return Spot(
        adapter, _points(worst, worst.delta), _points(best, best.delta), _bounds(worst),
        _bounds(best), mark,
    )  # fmt: skip


def _bounds(c: Comparison) -> tuple[float, float]:
    low, high = sorted((_points(c, c.low), _points(c, c.high)))
    return low, high


def _points(c: Comparison, value: float | None) -> float:
    return 100 * (value or 0.0) * (1 if higher_is_better(c.metric) else -1)
