"""Tables and figure of sentence classification in domain and out of domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from peval.generalization import METRIC
from peval.report.charts import Domains, Line
from peval.report.document import Cell, Code, Column, Figure, Fold, Paragraph, Part, Table, slug
from peval.report.format import NONE, points
from peval.report.tables import N_OPEN, name_cell, text_cell, unbroken

GROUPS_DRAWN = 12

Record = dict[str, Any]


def table(pair: Record, kept: dict[str, list[Record]]) -> Table:
    """Return means, maxima and standard deviations in domain and out of domain."""
    fields = ("mean", "max", "std")
    columns = (
        Column(("setting",), numeric=False), Column(("runs",)),
        Column((f"{pair['in_domain']}, mean (max), std",), fields, key="in_domain"),
        Column((f"{pair['out_of_domain']}, mean (max), std",), fields, key="out_of_domain"),
        Column(("gap, points",), ("gap",), key="gap"),
    )  # fmt: skip
    body = tuple(
        (text_cell(name), _counted(rows),
         _spread([r["in_domain"] for r in rows]), _spread([r["out_of_domain"] for r in rows]),
         _in_points(sum(r["gap"] for r in rows) / len(rows)))
        for name, rows in kept.items()
    )  # fmt: skip
    return Table(
        slug("domains", pair["in_domain"], pair["out_of_domain"]),
        f"{METRIC.capitalize()} on {pair['in_domain']} and {pair['out_of_domain']}: mean, maximum "
        "and standard deviation over runs, or over the contexts of a system that stands alone",
        columns, body, N_OPEN,
    )  # fmt: skip


def _counted(rows: Sequence[Record]) -> Cell:
    of = " contexts" if "context" in rows[0] else ""
    return Cell((unbroken(f"{len(rows):,}{of}"),), (len(rows),))


def _spread(values: Sequence[float]) -> Cell:
    mean, n = sum(values) / len(values), len(values)
    sd = (sum((v - mean) ** 2 for v in values) / (n - 1)) ** 0.5 if n > 1 else None
    spread = NONE if sd is None else f"{100 * sd:.1f}"
    said = f"{100 * mean:.1f} ({100 * max(values):.1f}), {spread}"
    return Cell((unbroken(said),), (mean, max(values), sd))


def _in_points(value: float, low: float | None = None, high: float | None = None) -> Cell:
    said = points(value)
    if low is not None and high is not None:
        said += f" [{points(low)}, {points(high)}]"
    return Cell((unbroken(said),), (value,) if low is None else (value, low, high))


def figure(pair: Record, kept: dict[str, list[Record]], majority: Mapping[str, float]) -> Figure:
    """Return the scatter: x in domain, y out of domain, beside the majority class in both."""
    groups = tuple(
        Line(name, *(tuple(100 * r[key] for r in rows) for key in ("in_domain", "out_of_domain")))
        for name, rows in list(kept.items())[:GROUPS_DRAWN]
    )
    return Figure(
        slug("domains", pair["in_domain"], pair["out_of_domain"]),
        f"{METRIC.capitalize()} on {pair['out_of_domain']} against {pair['in_domain']}: a small "
        "point a run, a large one a mean; dashed where both are equal, dotted what the majority "
        "class scores",
        Domains(f"{pair['in_domain']}, percent", f"{pair['out_of_domain']}, percent", groups,
                (100 * majority[pair["in_domain"]], 100 * majority[pair["out_of_domain"]])),
    )  # fmt: skip


def runs(pair: Record) -> Table:
    """Return every run with its gap."""
    columns = (
        Column(("run",), numeric=False), Column(("in domain",)), Column(("out of domain",)),
        Column(("gap, points",), ("gap", "low", "high"), key="gap"),
    )  # fmt: skip
    body = tuple(
        (name_cell(r["adapter"]), _percent(r["in_domain"]), _percent(r["out_of_domain"]),
         _in_points(r["gap"], r["low"], r["high"]))
        for r in pair["systems"]
    )  # fmt: skip
    return Table(
        slug("gaps", pair["in_domain"], pair["out_of_domain"]),
        "Every run, with the 95 % interval of its gap", columns, body, N_OPEN,
    )  # fmt: skip


def gains(tasks: Sequence[Record]) -> Table:
    """Return the gains over the majority class of every run on every task."""
    columns = (
        Column(("run",), numeric=False),
        *(Column((Code(task["task"]), f", majority {100 * task['value']:.1f} %",),
                 ("gain", "low", "high"), key=task["task"]) for task in tasks),
    )  # fmt: skip
    found = [{g["adapter"]: g for g in task["gains"]} for task in tasks]
    systems = dict.fromkeys(name for of_task in found for name in of_task)
    body = tuple(
        (name_cell(name), *(_gain(of_task.get(name)) for of_task in found)) for name in systems
    )
    return Table("gains", "Gain over the majority class, in points", columns, body, N_OPEN)


def _gain(found: Record | None) -> Cell:
    if found is None or found["value"] is None:
        return Cell((NONE,), (None, None, None))
    return _in_points(found["value"], found["low"], found["high"])


def agreement(found: Record) -> Iterator[Part]:
    """Yield how far systems without demonstrations choose what the base chooses with them."""
    columns = (Column(("run",), numeric=False),
               Column(("agreement, percent",), ("value", "low", "high"),
                      key="agreement"))  # fmt: skip
    body = tuple(
        (name_cell(one["adapter"]), _shares(one["value"], one["low"], one["high"]))
        for one in found["systems"]
        if one["value"] is not None
    )
    title = f"Agreement on {found['student']} with the base on {found['teacher']}"
    yield Fold(title, (
        Paragraph((
            "Context distillation: how often a run without demonstrations chooses what the base "
            "chooses with them, and its 95 % interval over contexts. The base's own row is what "
            "nobody had to learn.",
        )),
        Table(slug("agreement", found["teacher"], found["student"]), title, columns, body, N_OPEN),
    ))  # fmt: skip


def _shares(value: float, low: float, high: float) -> Cell:
    said = f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    return Cell((unbroken(said),), (value, low, high))


def _percent(value: float) -> Cell:
    return Cell((f"{100 * value:.1f}",), (value,))
