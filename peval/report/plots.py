"""Which figures a report has, as data: what is folded away where there are many adapters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from peval.metrics import is_share
from peval.report.charts import Dot, Forest, Heat, Panel
from peval.report.document import Figure, slug
from peval.report.format import delta, mark
from peval.report.view import View, chunks, headline
from peval.types import Comparison

ROWS_DOWN = 16
PANELS = 6
CATEGORIES_ACROSS = 12


def forests(view: View) -> list[Figure]:
    """Return forest plots of the headline differences; the first is the one to see at once."""
    tasks = [t for t in view.skills if is_share(headline(t))]
    panels = [(t, found) for t in tasks if (found := _found(view, t))]
    figures: list[Figure] = []
    for start in range(0, len(panels), PANELS):
        some = panels[start : start + PANELS]
        for rows in chunks(view.adapters, ROWS_DOWN):
            shown = tuple(_panel(task, found, rows) for task, found in some)
            shown = tuple(panel for panel in shown if panel.dots)
            if shown:
                figures.append(_figure(len(figures), Forest(tuple(rows), shown)))
    return figures


def _found(view: View, task: dict[str, Any]) -> list[Comparison]:
    found = (view.comparison(task["name"], headline(task), a) for a in view.adapters)
    return [c for c in found if c is not None and c.delta is not None]


def _panel(task: dict[str, Any], found: list[Comparison], rows: Sequence[str]) -> Panel:
    dots = tuple(_dot(c) for c in found if c.adapter in rows)
    return Panel(task["name"], f"{headline(task)}, points against the base", dots)


def _dot(c: Comparison) -> Dot:
    known = c.delta or 0.0
    value, low, high = (100 * (known if v is None else v) for v in (known, c.low, c.high))
    return Dot(c.adapter, value, low, high, mark(c), f"{delta(c)} {mark(c)}")


def _figure(at: int, chart: Forest) -> Figure:
    tasks = ", ".join(panel.title for panel in chart.panels)
    return Figure(
        "differences" if not at else f"differences-{at + 1}",
        f"Differences to the base with 95 % intervals on {tasks}; the numbers are in the table "
        "of differences",
        chart,
    )


def heats(view: View, task: dict[str, Any]) -> Iterator[Figure]:
    """Yield heat maps of an adapters' differences by category of one task."""
    name, metric = str(task["name"]), headline(task)
    if not is_share(metric) or not view.results.comparisons:
        return
    groups = view.groups.get(name, ())
    at = 0
    for columns in chunks(groups, CATEGORIES_ACROSS):
        for rows in chunks(view.adapters, ROWS_DOWN):
            cells = [[view.comparison(name, metric, a, f"category:{g}") for g in columns]
                     for a in rows]  # fmt: skip
            if not any(c and c.delta is not None for row in cells for c in row):
                continue
            at += 1
            yield Figure(
                slug("categories", name, *([str(at)] if at > 1 else [])),
                f"Differences to the base on {name} by category; the numbers are in the tables "
                "by category",
                Heat(
                    f"{name} ({metric}), points against the base",
                    tuple(rows),
                    tuple(columns),
                    tuple(tuple(_points(c) for c in row) for row in cells),
                    tuple(tuple(mark(c) if c else "" for c in row) for row in cells),
                ),
            )


def _points(c: Comparison | None) -> float | None:
    return None if c is None or c.delta is None else 100 * c.delta
