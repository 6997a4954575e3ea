"""A sweep's figures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from peval.report.charts import Line, Lines, Strip
from peval.report.document import Cell, Column, Figure, Table, slug
from peval.report.format import NONE, digits_of, written
from peval.report.tables import N_OPEN, TASKS_ACROSS, count_cell, text_cell, unbroken
from peval.report.view import View, chunks, headline

RANK, RATE = "rank", "learning_rate"
LINES_DRAWN = 8
GROUPS_DRAWN = 20

Record = dict[str, Any]


def ranks(view: View, task: Record) -> Figure | None:
    """Return scores against rank, a line for all that is alike in whatever else was varied."""
    settings = [s for s in view.results.sweep["settings"] if _is_number(s["facts"].get(RANK))]
    if len({s["facts"][RANK] for s in settings}) < 2:
        return None
    varied = _beside_rank([s["facts"] for s in settings])
    points: dict[str, list[tuple[float, float]]] = {}
    for s in settings:
        name = ", ".join(f"{_short(key)} {_plain(s['facts'].get(key, NONE))}" for key in varied)
        found = points.setdefault(name or "all", [])
        found += [(float(s["facts"][RANK]), y) for y in _percents(view, task, s)]
    lines = [
        Line(name, tuple(x for x, _ in sorted(found)), tuple(y for _, y in sorted(found)))
        for name, found in points.items()
        if found
    ]
    by = f" by {' and '.join(map(_short, varied))}" if varied else ""
    return Figure(
        slug("ranks", task["name"]), f"Scores on {task['name']} against rank{by}",
        Lines("rank", _title(task), tuple(lines[:LINES_DRAWN]), _level(view, task), log_x=True),
    ) if lines else None  # fmt: skip


def _beside_rank(facts: Sequence[Record]) -> list[str]:
    """Return what was varied beside the rank: facts that do not follow from it, as alpha may."""
    known = dict.fromkeys(key for one in facts for key in one if key != RANK)
    pairs = {key: {(one[RANK], one.get(key)) for one in facts} for key in known}
    n_ranks = len({one[RANK] for one in facts})
    return [key for key in (RATE, *known) if len(pairs.pop(key, ())) > n_ranks]


def steps(view: View, task: Record) -> Figure | None:
    """Return scores over training steps, a line for each series of checkpoints."""
    lines = []
    for curve in view.results.sweep["curves"]:
        points = curve["points"]
        if curve["task"] != task["name"] or len(points) < 2:
            continue
        bounds = [(p["low"], p["high"]) for p in points]
        whole = all(None not in pair for pair in bounds)
        lines.append(Line(
            curve["series"], tuple(p["steps"] for p in points),
            tuple(100 * p["value"] for p in points),
            tuple((100 * low, 100 * high) for low, high in bounds) if whole else (),
        ))  # fmt: skip
    if not lines:
        return None
    return Figure(
        slug("steps", task["name"]),
        f"Scores on {task['name']} over training steps, with 95 % intervals over items",
        Lines("training steps", _title(task), tuple(lines[:LINES_DRAWN]), _level(view, task)),
    )


def seeds(view: View, task: Record) -> Figure | None:
    """Return the scores of each setting's seeds."""
    strips = [
        Line(_named(s), tuple(0.0 for _ in ys), tuple(ys))
        for s in view.results.sweep["settings"]
        if len(ys := _percents(view, task, s)) > 1
    ]
    return Figure(
        slug("seeds", task["name"]), f"Scores on {task['name']} of each setting's seeds",
        Strip(_title(task), tuple(strips[:GROUPS_DRAWN]), _level(view, task)),
    ) if strips else None  # fmt: skip


def pivot(view: View, task: Record) -> Table | None:
    """Return mean scores by two facts."""
    found = next((p for p in view.results.sweep["pivots"] if p["task"] == task["name"]), None)
    if found is None:
        return None
    across = _short(found["column"])
    columns = (
        Column((f"{across} {_plain(value)}",), ("adapters",)) for value in found["column_values"]
    )
    rows = tuple(
        (text_cell(_plain(value)),
         *(Cell((NONE if mean is None else f"{100 * mean:.0f}",), (mean, n))
           for mean, n in zip(means, sizes, strict=True)))
        for value, means, sizes in zip(
            found["row_values"], found["means"], found["n_adapters"], strict=True
        )
    )  # fmt: skip
    return Table(
        slug("pivot", task["name"]),
        f"{task['name']}: mean {found['metric']}, percent, by {_short(found['row'])} and {across}",
        (Column((f"{task['name']}, %, by {_short(found['row'])}",), numeric=False), *columns), rows,
    )  # fmt: skip


def setting_tables(found: Record, tasks: Sequence[Record]) -> Iterator[Table]:
    """Yield settings x tasks: the mean over seeds, from the lowest to the highest."""
    settings = found["settings"]
    keys = list(dict.fromkeys(key for s in settings for key in s["facts"]))
    for at, some in enumerate(chunks(tasks, TASKS_ACROSS), start=1):
        columns = [Column((_short(key),), numeric=False) for key in keys]
        columns.append(Column(("adapters",)))
        fields = ("low", "high", "lowest", "highest", "sd", "diverged")
        columns += [Column((f"{t['name']}, %",), fields, key=str(t["name"])) for t in some]
        rows = tuple(
            (*(text_cell(_plain(s["facts"].get(k, NONE))) for k in keys),
             count_cell(len(s["adapters"])), *(_spread(s, t["name"]) for t in some))
            for s in settings
        )  # fmt: skip
        yield Table(
            slug("settings", *([str(at)] if len(tasks) > TASKS_ACROSS else [])),
            "Means over seeds, from the lowest to the highest", tuple(columns), rows, N_OPEN,
        )  # fmt: skip


def _spread(setting: Record, task: str) -> Cell:
    one = next((score for score in setting["scores"] if score["task"] == task), None)
    if one is None:
        return Cell((NONE,), (None,) * 7)
    low, high = (one["low"], one["high"]) if one["low"] is not None else (
        one["lowest"], one["highest"]
    )  # fmt: skip
    digits = digits_of(low, high, one["metric"]) if one["n"] > 1 else 0
    mean, lowest, highest = (
        written(one[key], one["metric"], digits) for key in ("mean", "lowest", "highest")
    )
    spread = unbroken(f"{mean} ({lowest} to {highest})") if one["n"] > 1 else mean
    n_diverged = one["n_diverged"]
    text = [spread, f"{n_diverged:,} diverged"] if n_diverged else [spread]
    keys = ("mean", "low", "high", "lowest", "highest", "sd", "n_diverged")
    return Cell((", ".join(text),), tuple(one[key] for key in keys))


def _percents(view: View, task: Record, setting: Record) -> list[float]:
    found = (view.estimate(task["name"], headline(task), a) for a in setting["adapters"])
    return [100 * e.value for e in found if e and e.value is not None]


def _level(view: View, task: Record) -> float | None:
    base = view.estimate(task["name"], headline(task), None)
    return None if base is None or base.value is None else 100 * base.value


def _title(task: Record) -> str:
    return f"{task['name']}: {headline(task)}, percent"


def _named(setting: Record) -> str:
    order = sorted(setting["facts"].items(), key=lambda fact: fact[0] != RANK)
    return ", ".join(f"{_short(key)} {_plain(value)}" for key, value in order) or "all"


def _short(key: str | None) -> str:
    return {RATE: "lr", "target_modules": "modules"}.get(key or "", (key or "").replace("_", " "))


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
