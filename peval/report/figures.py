"""The forest plot of differences to the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peval.metrics import is_share
from peval.report.format import BETTER, SAME, WORSE, mark, points
from peval.report.tables import headline
from peval.results import Results
from peval.types import Comparison

COLOURS = {BETTER: "#0b7a75", WORSE: "#c1440e", SAME: "#8a8f98"}
UNDECIDED = "#5b6470"
INK, GRID = "#1f2430", "#d9dde3"
PANELS_PER_ROW = 3
FIGURE_WIDTH_IN, TITLE_HEIGHT_IN, ROW_HEIGHT_IN = 10.0, 0.8, 0.4


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
        if is_share(headline(task))
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
    n_columns = min(PANELS_PER_ROW, len(panels))
    n_rows = -(-len(panels) // n_columns)
    height = n_rows * (TITLE_HEIGHT_IN + ROW_HEIGHT_IN * (len(names) + 0.5))
    figure = Figure(figsize=(FIGURE_WIDTH_IN * (0.4 + 0.2 * n_columns), height), dpi=160)
    FigureCanvasAgg(figure)
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for axis, (task, rows) in zip(axes, panels.items(), strict=False):
        _panel(axis, rows, names)
        axis.set_title(f"{task}\n", fontsize=10, color=INK, loc="left", fontweight="bold")
        subtitle = f"{metrics[task]}, points against the base"
        axis.text(0, 1.02, subtitle, fontsize=8.5, color=UNDECIDED, transform=axis.transAxes)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in figure.axes[::n_columns]:
        axis.set_yticks(range(len(names)), names, fontsize=9, color=INK)
    figure.axes[0].set_ylim(len(names) - 0.5, -0.7)
    figure.tight_layout(w_pad=1.6)
    figure.savefig(path, facecolor="white", metadata={"Software": None})


def _panel(axis: Any, rows: list[Comparison], names: list[str]) -> None:
    """Draw one task's differences."""
    axis.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for c in rows:
        y, colour = names.index(c.adapter), COLOURS.get(mark(c), UNDECIDED)
        centre, low, high = (100 * (value or 0.0) for value in (c.delta, c.low, c.high))
        line = {"color": colour, "linewidth": 2.4, "solid_capstyle": "round", "zorder": 2}
        axis.plot([low, high], [y, y], **line)
        axis.plot([centre], [y], marker="o", markersize=6, color=colour, zorder=3)
        axis.annotate(
            f"{points(c.delta)} {mark(c)}", (centre, y), xytext=(0, 6), ha="center", va="bottom",
            textcoords="offset points", fontsize=8, color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    axis.margins(x=0.08)
    axis.tick_params(axis="x", labelsize=8, colors=INK, length=0, labelbottom=True)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=GRID, linewidth=0.7, zorder=0)
    axis.set_axisbelow(True)
    for side in axis.spines.values():
        side.set_visible(False)
