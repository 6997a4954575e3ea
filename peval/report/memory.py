"""What was memorized of the training data, and what was gained beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from peval.metrics import is_share
from peval.report import memory_parts
from peval.report.charts import Line, Lines, Scatter, Spot
from peval.report.document import Code, Figure, Fold, Paragraph, Part, Section, slug
from peval.report.format import mark
from peval.report.memory_parts import HELD_OUT, LEARNT, TASKS
from peval.report.tables import metric_tables, probe_tables
from peval.report.view import View, headline
from peval.types import Comparison

LINES_DRAWN = 8
BY_PREFIX = re.compile(r"extracted@(\d+)")
MEASURES = ("rougeL_gap", "auroc,loss")
"""How much was memorized, the first that a run has; before them the longest prefix's extraction."""


def sections(view: View) -> Iterator[Section]:
    """Yield the section, where training data were given."""
    overlaps = tuple(memory_parts.overlap_parts(view))
    if overlaps:
        yield Section("What evaluation and training data have in common", overlaps)
    if not view.probes:
        return
    parts: list[Part] = [Paragraph((
        "Here more is worse: ▼ remembers more of the training data than the base does, ▲ less, ",
        Code("·"), " cannot be told from it. The base has not seen them: what it scores is what "
        "can be had without memory.",
    ))]  # fmt: skip
    parts += [*memory_parts.warnings(view), *memory_parts.side_by_side(view)]
    parts += [*gains(view), *extractions(view), *memory_parts.curves(view), *probe_tables(view)]
    for task in view.probes:
        parts.append(Fold(f"Every metric of {task['name']}", tuple(metric_tables(view, task))))
    parts += memory_parts.unseen_rates(view)
    notes = view.results.memorization.get("notes", [])
    parts += [Paragraph((f"{note[:1].upper()}{note[1:].rstrip('.')}.",)) for note in notes]
    yield Section("What was memorized", tuple(parts))


def gains(view: View) -> Iterator[Figure]:
    """Yield each adapter's mean gain in skill against what it memorized beyond the base."""
    measured = _measure(view)
    if measured is None:
        return
    task, metric = measured
    # Held-out records are new to all adapters; other tasks of the run may have been trained on.
    on_held_out = list(_held_out_gains(view, task, metric))
    yield from on_held_out
    if on_held_out or not any(view.differences(a) for a in view.adapters):
        return
    spots = tuple(
        Spot(a, 100 * (c.delta or 0.0), 100 * view.mean_gain(a), _bounds(c), None, mark(c))
        for a in view.adapters
        if (c := view.comparison(task, metric, a)) and c.delta is not None
    )
    if spots:
        yield Figure(
            "gain-against-memory",
            f"Each adapter's mean gain over the base in skill against its {metric} on {task} "
            "beyond the base's, with its 95 % interval: the best lie high and to the left",
            Scatter(
                f"memorized: {metric} on {task}, points beyond the base",
                "mean gain in skill, points", spots, best_is_left=True,
            ),
        )  # fmt: skip


def _held_out_gains(view: View, task: str, metric: str) -> Iterator[Figure]:
    """Yield the gain on held-out records, where there are any, against what was memorized."""
    spots = []
    for a in view.adapters:
        x = view.comparison(task, metric, a)
        y = next((c for m in LEARNT if (c := view.comparison(TASKS, m, a, HELD_OUT))), None)
        if x and y and x.delta is not None and y.delta is not None:
            spots.append(Spot(a, 100 * x.delta, 100 * y.delta, _bounds(x), _bounds(y), mark(x)))
            learnt = y.metric
    if spots:
        yield Figure(
            "gain-against-memory",
            f"Each adapter's gain over the base on held-out records against its {metric} on {task} "
            "beyond the base's, with 95 % intervals: the best lie high and to the left",
            Scatter(
                f"memorized: {metric} on {task}, points beyond the base",
                f"learned: {learnt} on held-out records, points", tuple(spots), best_is_left=True,
            ),
        )  # fmt: skip


def _measure(view: View) -> tuple[str, str] | None:
    """Return the task and metric by which memory is set against gain."""
    found = [
        (t["name"], m) for t in view.probes for m in t["metrics"]
        if any((c := view.comparison(t["name"], m, a)) and c.delta is not None
               for a in view.adapters)
    ]  # fmt: skip
    by_prefix = [(int(n[1]), one) for one in found if (n := BY_PREFIX.fullmatch(one[1]))]
    if by_prefix:
        return max(by_prefix)[1]
    return next((one for name in MEASURES for one in found if one[1] == name), None)


def _bounds(c: Comparison) -> tuple[float, float] | None:
    return None if c.low is None or c.high is None else (100 * c.low, 100 * c.high)


def extractions(view: View) -> Iterator[Figure]:
    """Yield the share of records given back against the length of the prefix."""
    for task in view.probes:
        lengths = sorted(int(n[1]) for m in task["metrics"] if (n := BY_PREFIX.fullmatch(m)))
        if len(lengths) < 2 or not is_share(headline(task)):
            continue
        # In the order of the ROC curves, so that an adapter has one colour in both.
        order = (*view.adapters, None)
        lines = [line for s in order if (line := _line(view, task, s, lengths)).xs]
        most = sorted(lines, key=lambda line: -max(line.ys))[:LINES_DRAWN]
        yield Figure(
            slug("extraction", task["name"]),
            "Share of training records given back against the length of the prefix, with 95 % "
            "intervals",
            Lines("tokens of the record given as a prefix", "records given back, percent",
                  tuple(line for line in lines if line in most)),
        )  # fmt: skip


def _line(view: View, task: dict[str, Any], system: str | None, lengths: list[int]) -> Line:
    found = [(n, view.estimate(task["name"], f"extracted@{n}", system)) for n in lengths]
    kept = [(float(n), e) for n, e in found if e and None not in (e.value, e.low, e.high)]
    return Line(
        system or "base",
        tuple(n for n, _ in kept),
        tuple(100 * (e.value or 0.0) for _, e in kept),
        tuple((100 * (e.low or 0.0), 100 * (e.high or 0.0)) for _, e in kept),
    )
