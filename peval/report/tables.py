"""The report's tables of scores and differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from peval.metrics import is_share
from peval.report.document import Cell, Code, Column, Quiet, Table, Value, named, slug
from peval.report.format import (
    NONE,
    bounds,
    delta,
    difference,
    interval,
    is_same,
    mark,
    p_value,
    rough,
    score,
)
from peval.report.view import View, chunks, headline
from peval.types import Comparison, Estimate

N_OPEN = 12
TASKS_ACROSS = 4
CATEGORIES_ACROSS = 7
ESTIMATED = ("low", "high", "difference", "difference low", "difference high", "mark")
DIFFERENCE = ("low", "high")


def name_cell(name: str | None) -> Cell:
    """Return a system's name."""
    return Cell(named(name), (name or "base",))


def text_cell(text: str) -> Cell:
    """Return text that means itself."""
    return Cell((text,))


def count_cell(n: int) -> Cell:
    """Return a count."""
    return Cell((f"{n:,}",), (n,))


def unbroken(text: str) -> str:
    """Return text that stays on its line."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def number_cell(value: float | None, shown: str) -> Cell:
    """Return a number as it is shown."""
    return Cell((shown,), (value,))


def score_tables(view: View, metric: str | None = None) -> Iterator[Table]:
    """Yield systems x tasks of skill: each score with its interval, each difference under it.

    ``metric`` of None takes each task's headline metric. A table is no wider than a page.
    """
    tasks = [t for t in view.skills if metric is None or metric in t["metrics"]]
    for at, some in enumerate(chunks(tasks, TASKS_ACROSS), start=1):
        name = slug(
            "scores", metric or "headline", *([str(at)] if len(tasks) > TASKS_ACROSS else [])
        )
        yield score_table(view, name, [(str(t["name"]), metric or headline(t)) for t in some])


def probe_tables(view: View) -> Iterator[Table]:
    """Yield systems x probes of memory."""
    for at, some in enumerate(chunks(view.probes, TASKS_ACROSS), start=1):
        name = slug("memory", *([str(at)] if len(view.probes) > TASKS_ACROSS else []))
        yield score_table(view, name, [(str(t["name"]), headline(t)) for t in some])


def metric_tables(
    view: View,
    task: dict[str, Any],
    metrics: Sequence[str] | None = None,
    labels: Mapping[str, str] = {},
) -> Iterator[Table]:
    """Yield a task's metrics x systems, no wider than a page; all metrics, or the ones named."""
    name = str(task["name"])
    shown = view.metrics(name) if metrics is None else metrics
    which = "" if metrics is None else metrics[0] if metrics else ""
    for at, some in enumerate(chunks(view.systems, TASKS_ACROSS), start=1):
        columns = (Column(named(s), ESTIMATED) for s in some)
        rows = (
            (Cell((labels.get(m, m),), (m,)), *(_score(view, name, m, s) for s in some))
            for m in shown
        )
        yield Table(
            slug("metrics", name, *filter(None, [which]), *([str(at)] if at > 1 else [])),
            f"{'Every metric' if metrics is None else 'Metrics'} of {name}",
            (Column(("metric",), numeric=False), *columns),
            tuple(rows),
        )


def pool_tables(view: View) -> Iterator[Table]:
    """Yield systems x groups of tasks."""
    for at, some in enumerate(chunks(view.pools, TASKS_ACROSS), start=1):
        name = slug("groups", *([str(at)] if len(view.pools) > TASKS_ACROSS else []))
        yield score_table(view, name, [(str(t["name"]), headline(t)) for t in some])


def score_table(view: View, name: str, wanted: Sequence[tuple[str, str]]) -> Table:
    """Return systems x pairs of a task and a metric."""
    columns = [
        Column((Code(task), f" {m}" + (", %" if is_share(m) else "")), ESTIMATED, key=f"{task} {m}")
        for task, m in wanted
    ]
    bases = [system for system in view.systems if system not in view.adapters]
    baselines = [b for b in view.baselines if any(view.estimate(t, m, b) for t, m in wanted)]
    references = [*bases, *baselines]
    rows = [
        (_system(view, system), *(_score(view, task, m, system) for task, m in wanted))
        for system in [*references, *view.adapters]
    ]
    beneath = "; under each, the difference to the base in points" if bases else ""
    return Table(
        name, f"Scores with 95 % intervals{beneath}",
        (Column(("",), numeric=False), *columns), tuple(rows), len(references) + N_OPEN,
    )  # fmt: skip


def _system(view: View, system: str | None) -> Cell:
    return Cell((Quiet(system),), (system,)) if system in view.baselines else name_cell(system)


def _score(view: View, task: str, metric: str, system: str | None) -> Cell:
    e, c = view.estimate(task, metric, system), view.comparison(task, metric, system)
    if e is None:
        return Cell((NONE,), (None,) * 7)
    under = f"\n{difference(c)}" if c else ""
    return Cell((unbroken(interval(e) + under),), _values(e, c))


def _values(e: Estimate, c: Comparison | None) -> tuple[Value, ...]:
    found = (c.delta, c.low, c.high, mark(c)) if c else (None, None, None, None)
    return (e.value, e.low, e.high, *found)


def category_tables(view: View, task: dict[str, Any], metric: str | None = None) -> Iterator[Table]:
    """Yield systems x categories of one task; by its headline metric, or the one named."""
    name, metric = str(task["name"]), metric or headline(task)
    for at, some in enumerate(chunks(view.groups.get(name, ()), CATEGORIES_ACROSS), start=1):
        sizes = [_n_items(view, name, metric, group) for group in some]
        columns = (
            Column((f"{group} ({n:,})",), ESTIMATED) for group, n in zip(some, sizes, strict=True)
        )
        rows = (
            (name_cell(s), *(short_cell(view, (name, metric, s, f"category:{g}")) for g in some))
            for s in view.systems
        )
        yield Table(
            slug("categories", name, str(at)), f"{name} by category ({metric}; number of items)",
            (Column(("",), numeric=False), *columns), tuple(rows), N_OPEN + 1,
        )  # fmt: skip


def _n_items(view: View, task: str, metric: str, group: str) -> int:
    found = (view.estimate(task, metric, s, f"category:{group}") for s in view.systems)
    return max((e.n_items for e in found if e), default=0)


def short_cell(view: View, key: tuple[str, str, str | None, str | None]) -> Cell:
    """Return a score and its mark, by task, metric, system and group."""
    e, c = view.estimate(*key), view.comparison(*key)
    if e is None:
        return Cell((NONE,), (None,) * 7)
    return Cell((unbroken(f"{score(e)} {mark(c)}" if c else score(e)),), _values(e, c))


def difference_table(view: View) -> Table:
    """Return every headline difference with its p-value and what could have been found."""
    columns = (
        Column(("adapter",), numeric=False), Column(("task",), numeric=False),
        Column(("difference to the base",), DIFFERENCE, key="difference"),
        Column(("",), numeric=False, key="mark"),
        Column(("adjusted p",)), Column(("would be found",)), Column(("answers alike",), ("of",)),
    )  # fmt: skip
    rows = tuple(_difference_row(c) for a in view.adapters for c in view.differences(a))
    return Table("differences", "Headline differences to the base", columns, rows)


def _difference_row(c: Comparison) -> tuple[Cell, ...]:
    unit = "" if is_share(c.metric) else f" {c.metric}"
    shown = "0" if is_same(c) else f"{delta(c)} {bounds(c)}{unit}"
    return (
        name_cell(c.adapter),
        text_cell(c.task),
        Cell((unbroken(shown),), (c.delta, c.low, c.high)),
        text_cell(mark(c)),
        number_cell(c.p_adjusted, NONE if is_same(c) else p_value(c.p_adjusted)),
        number_cell(c.mde, findable(c)),
        Cell((f"{c.n_identical:,} of {c.n_items:,}",), (c.n_identical, c.n_items)),
    )


def findable(c: Comparison) -> str:
    """Return the difference that would be found four times in five."""
    if c.mde is None or not is_share(c.metric):
        return NONE
    return "none" if c.mde >= 1 else rough(c.mde)
