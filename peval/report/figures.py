"""The forest plot of differences to the base."""

from __future__ import annotations

from pathlib import Path

from peval.report.format import BETTER, SAME, WORSE, difference, mark
from peval.report.tables import headline
from peval.results import Results
from peval.types import Comparison

COLOURS = {BETTER: "#0b7a75", WORSE: "#c1440e", SAME: "#8a8f98"}
UNDECIDED = "#5b6470"
INK, GRID = "#1f2430", "#d9dde3"
PANEL_WIDTH_IN, ROW_HEIGHT_IN = 3.9, 0.34


def draw_differences(results: Results, path: Path) -> bool:
    """Draw each adapter's difference to the base with its interval, one panel per task.

    Returns
    -------
    bool
        Whether there was anything to draw.
    """
    panels = {
        task["name"]: [
            c
            for c in results.comparisons
            if (c.task, c.metric, c.group) == (task["name"], headline(task), None)
            and c.delta is not None
        ]
        for task in results.tasks
    }
    panels = {name: rows for name, rows in panels.items() if rows}
    if not panels:
        return False
    _draw(panels, {t["name"]: headline(t) for t in results.tasks}, path)
    return True


def _draw(panels: dict[str, list[Comparison]], metrics: dict[str, str], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(c.adapter for rows in panels.values() for c in rows))
    height = 1.25 + ROW_HEIGHT_IN * len(names)
    figure = Figure(figsize=(1.6 + PANEL_WIDTH_IN * len(panels), height), dpi=160)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (task, rows) in zip(axes, panels.items(), strict=True):
        _panel(axis, rows, names)
        axis.set_title(f"{task}\n{metrics[task]}, points against the base", fontsize=9, color=INK,
                       loc="left")  # fmt: skip
    axes[0].set_yticks(range(len(names)), names, fontsize=9, color=INK)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    figure.tight_layout(w_pad=2.2)
    figure.savefig(path, facecolor="white", metadata={"Software": None})


def _panel(axis: object, rows: list[Comparison], names: list[str]) -> None:
    """Draw one task's differences."""
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    axis.axvline(0, color=INK, linewidth=0.9, zorder=1)
    right = max(100 * (c.high or 0) for c in rows)
    left = min(100 * (c.low or 0) for c in rows)
    width = max(right, 0) - min(left, 0) or 2.0
    for c in rows:
        y, colour = names.index(c.adapter), COLOURS.get(mark(c), UNDECIDED)
        centre, low, high = (100 * (v or 0.0) for v in (c.delta, c.low, c.high))
        axis.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="round",
                  zorder=2)  # fmt: skip
        axis.plot([centre], [y], marker="o", markersize=5.5, color=colour, zorder=3)
        axis.annotate(
            difference(c), (1.0, y), xycoords=("axes fraction", "data"), xytext=(-2, 5.5),
            textcoords="offset points", ha="right", va="bottom", fontsize=6.5, color=colour,
            family="DejaVu Sans",
        )  # fmt: skip
    axis.set_xlim(min(left, 0) - 0.08 * width, max(right, 0) + 0.1 * width)
    axis.tick_params(axis="x", labelsize=8, colors=INK, length=0)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=GRID, linewidth=0.7, zorder=0)
    axis.set_axisbelow(True)
    for side in axis.spines.values():
        side.set_visible(False)
