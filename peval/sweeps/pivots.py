"""Tables of size against learning rate, or against whatever else was varied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peval.sweeps.scores import Scores
from peval.sweeps.settings import Setting
from peval.sweeps.trained import Fact

ROWS = ("rank", "n_tasks", "steps", "epochs", "alpha", "method", "target_modules")
COLUMNS = ("learning_rate", *ROWS)


@dataclass(frozen=True)
class Pivot:
    """Mean scores on one task: ``means[i][j]`` is of the settings at row i and column j.

    Their means over seeds are averaged, so that every setting counts alike; ``n_adapters`` has the
    number of adapters behind each mean. None and 0 where nothing was trained.
    """

    task: str
    metric: str
    row: str
    column: str
    row_values: tuple[Fact, ...]
    column_values: tuple[Fact, ...]
    means: tuple[tuple[float | None, ...], ...]
    n_adapters: tuple[tuple[int, ...], ...]


def pivots(settings: Sequence[Setting], scores: Scores) -> Iterator[Pivot]:
    """Yield a table for each task, where two facts were varied and neither follows from the other.

    An alpha of twice the rank is no fact of its own: such a table would have one number a row.
    """
    known = dict.fromkeys(key for setting in settings for key in setting.facts)
    rows = [key for key in dict.fromkeys((*ROWS, *known)) if key in known]
    columns = [key for key in dict.fromkeys((*COLUMNS, *known)) if key in known]
    pairs = ((r, c) for r in rows for c in columns if r != "learning_rate" and c != r)
    axes = next((pair for pair in pairs if _cross(settings, *pair)), None)
    if axes is None:
        return
    placed = [s for s in settings if axes[0] in s.facts and axes[1] in s.facts]
    for task in scores.tasks:
        yield _pivot(task, axes, placed, scores)


def _cross(settings: Sequence[Setting], row: str, column: str) -> bool:
    """Tell whether neither of two facts follows from the other."""
    found = {(s.facts[row], s.facts[column]) for s in settings if {row, column} <= s.facts.keys()}
    n_rows, n_columns = (len({pair[i] for pair in found}) for i in (0, 1))
    return len(found) > max(n_rows, n_columns)


def _pivot(task: str, axes: tuple[str, str], placed: Sequence[Setting], scores: Scores) -> Pivot:
    row, column = axes
    rows, columns = (_values(placed, axis) for axis in axes)
    cells: dict[tuple[Fact, Fact], list[list[float]]] = {}
    for setting in placed:
        found = [scores.value(task, name) for name in setting.adapters]
        values = [value for value in found if value is not None]
        if values:
            cells.setdefault((setting.facts[row], setting.facts[column]), []).append(values)
    return Pivot(
        task=task,
        metric=scores.metrics[task],
        row=row,
        column=column,
        row_values=rows,
        column_values=columns,
        means=tuple(tuple(_mean(cells.get((r, c), [])) for c in columns) for r in rows),
        n_adapters=tuple(
            tuple(sum(map(len, cells.get((r, c), []))) for c in columns) for r in rows
        ),
    )


def _values(placed: Sequence[Setting], axis: str) -> tuple[Fact, ...]:
    found = {setting.facts[axis] for setting in placed}
    return tuple(sorted(found, key=lambda value: (isinstance(value, str), value)))


def _mean(groups: Sequence[Sequence[float]]) -> float | None:
    means = [sum(values) / len(values) for values in groups]
    return sum(means) / len(means) if means else None
