"""Charts that have a row for each adapter: forest plots, heat maps, spreads over seeds."""

from __future__ import annotations

from typing import Any

from peval.report.charts import Chart, Domains, Dot, Forest, Heat, Lines, Panel, Roc, Scatter, Strip
from peval.report.draw_domains import draw_domains
from peval.report.draw_plane import draw_lines, draw_scatter
from peval.report.draw_roc import draw_roc
from peval.report.format import SAME
from peval.report.ink import (
    DIVERGING,
    GRID,
    INK,
    MARK_COLOURS,
    MARKERS,
    MUTED,
    ON_CELL,
    PAPER,
    SERIES,
    SMALL_PT,
    TEXT_PT,
    WIDTH_IN,
    bare,
    label,
    svg_of,
    width_in,
)

ROW_IN = 0.25
PANELS_ACROSS = 3
TITLE_IN, FOOT_IN = 0.62, 0.3
GAP_IN = 0.12
NUMBER_IN = 0.62


def draw(name: str, chart: Chart) -> str:
    """Return a chart as SVG in the light theme's colours."""
    match chart:
        case Forest():
            return _forest(name, chart)
        case Heat():
            return _heat(name, chart)
        case Strip():
            return _strip(name, chart)
        case Scatter():
            return draw_scatter(name, chart)
        case Lines():
            return draw_lines(name, chart)
        case Domains():
            return draw_domains(name, chart)
        case Roc():
            return draw_roc(name, chart)


def _forest(name: str, chart: Forest) -> str:
    """Draw panels side by side, names at the left, each difference as a number at the right."""
    labels = [label(row) for row in chart.rows]
    left = width_in(labels) + 0.15
    n_across = min(PANELS_ACROSS, len(chart.panels))
    n_down = -(-len(chart.panels) // n_across)
    panel_in = (WIDTH_IN - left) / n_across
    height_in = TITLE_IN + ROW_IN * len(labels) + FOOT_IN
    spans = [b for p in chart.panels for d in p.dots for b in (d.low, d.high, 0.0)]
    pad = 0.04 * (max(spans) - min(spans) or 1.0)

    def paint(figure: Any) -> None:
        for at, panel in enumerate(chart.panels):
            down, across = divmod(at, n_across)
            bottom = (n_down - 1 - down) * height_in + FOOT_IN
            axis = figure.add_axes((
                (left + across * panel_in) / WIDTH_IN,
                bottom / (n_down * height_in),
                (panel_in - NUMBER_IN - GAP_IN) / WIDTH_IN,
                ROW_IN * len(labels) / (n_down * height_in),
            ))  # fmt: skip
            axis.set_xlim(min(spans) - pad, max(spans) + pad)
            axis.set_ylim(len(labels) - 0.5, -0.5)
            _forest_panel(axis, panel, chart.rows)
            axis.set_yticks(range(len(labels)), labels if across == 0 else [""] * len(labels))
            axis.tick_params(axis="y", labelsize=TEXT_PT, labelcolor=INK)

    return svg_of(name, n_down * height_in, paint)


def _forest_panel(axis: Any, panel: Panel, rows: tuple[str, ...]) -> None:
    bare(axis)
    axis.axvline(0, color=MUTED, linewidth=1.0)
    for y in range(len(rows)):
        axis.axhline(y, color=GRID, linewidth=0.5, zorder=0)
    room = 44
    axis.annotate(label(panel.title, room), (0, 1), xytext=(0, 19), xycoords="axes fraction",
                  textcoords="offset points", fontsize=TEXT_PT + 0.5,
                  fontweight="bold")  # fmt: skip
    axis.annotate(label(panel.subtitle, room), (0, 1), xytext=(0, 7), xycoords="axes fraction",
                  textcoords="offset points", fontsize=SMALL_PT, color=MUTED)  # fmt: skip
    for dot in panel.dots:
        _forest_dot(axis, dot, rows.index(dot.row))


def _forest_dot(axis: Any, dot: Dot, y: int) -> None:
    colour = MARK_COLOURS[dot.mark]
    decided = dot.mark in "▲▼"
    if dot.mark != SAME:
        axis.plot([dot.low, dot.high], [y, y], color=colour, linewidth=2.0 if decided else 1.3,
                  solid_capstyle="butt")  # fmt: skip
    look = {"color": colour, "markerfacecolor": colour if decided else PAPER}
    axis.plot([dot.value], [y], MARKERS[dot.mark], markersize=5.0, markeredgewidth=1.1, **look)
    axis.annotate(
        dot.label, (1, y), xytext=(NUMBER_IN * 72, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", va="center_baseline", fontsize=SMALL_PT,
        color=colour, fontweight="bold" if decided else "normal", annotation_clip=False,
    )  # fmt: skip


def _heat(name: str, chart: Heat) -> str:
    """Draw a cell for each row and column, its number written in it."""
    rows = [label(row) for row in chart.rows]
    columns = [label(column, 24) for column in chart.columns]
    left, top = width_in(rows) + 0.15, 0.38 + 0.58 * width_in(columns)
    cell_in = min(0.9, (WIDTH_IN - left - 0.9) / len(columns))
    height_in = top + ROW_IN * len(rows) + 0.1
    known = [abs(v) for row in chart.values for v in row if v is not None]
    widest = max(known, default=0.0) or 1.0

    def paint(figure: Any) -> None:
        axis = figure.add_axes((
            left / WIDTH_IN, 0.1 / height_in, cell_in * len(columns) / WIDTH_IN,
            ROW_IN * len(rows) / height_in,
        ))  # fmt: skip
        bare(axis, None)
        axis.set_xlim(0, len(columns))
        axis.set_ylim(len(rows), 0)
        for y, values in enumerate(chart.values):
            for x, value in enumerate(values):
                if value is not None:
                    _heat_cell(axis, (x, y), value, chart.marks[y][x], widest)
        axis.set_yticks([y + 0.5 for y in range(len(rows))], rows)
        axis.set_xticks([x + 0.5 for x in range(len(columns))], columns, rotation=40, ha="left",
                        rotation_mode="anchor")  # fmt: skip
        axis.tick_params(labelsize=TEXT_PT, labelcolor=INK)
        axis.tick_params(axis="x", top=True, bottom=False, labeltop=True, labelbottom=False,
                         labelsize=SMALL_PT)  # fmt: skip
        figure.text(0.004, 1 - 0.08 / height_in, chart.title, fontsize=SMALL_PT, color=MUTED,
                    va="top")  # fmt: skip

    return svg_of(name, height_in, paint)


def _heat_cell(axis: Any, place: tuple[int, int], value: float, mark: str, widest: float) -> None:
    from matplotlib.patches import Rectangle

    middle = len(DIVERGING) // 2
    step = middle + round(middle * max(-1.0, min(1.0, value / widest)))
    x, y = place
    axis.add_patch(
        Rectangle((x + 0.03, y + 0.06), 0.94, 0.88, facecolor=DIVERGING[step], linewidth=0)
    )
    shown = f"{value:+.0f}".replace("-", "−") if round(value) else "0"
    decided = mark in "▲▼"
    axis.text(x + 0.5, y + 0.5, f"{shown} {mark}" if decided else shown, ha="center",
              va="center_baseline", fontsize=SMALL_PT - 0.5, color=ON_CELL[step],
              fontweight="bold" if decided else "normal")  # fmt: skip


def _strip(name: str, chart: Strip) -> str:
    """Draw every seed as a dot, the mean as a bar across, the range as a line."""
    labels = [label(line.label) for line in chart.lines]
    left, height_in = width_in(labels) + 0.2, 0.75 + ROW_IN * len(labels)

    def paint(figure: Any) -> None:
        axis = figure.add_axes((
            left / WIDTH_IN, 0.5 / height_in, 0.97 - left / WIDTH_IN,
            ROW_IN * len(labels) / height_in,
        ))  # fmt: skip
        bare(axis)
        if chart.level is not None:
            axis.axvline(chart.level, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
            axis.annotate("base", (chart.level, 1), xytext=(0, 3), ha="center",
                          xycoords=("data", "axes fraction"), textcoords="offset points",
                          fontsize=SMALL_PT, color=MUTED)  # fmt: skip
        for y, line in enumerate(chart.lines):
            mean = sum(line.ys) / len(line.ys)
            axis.plot([min(line.ys), max(line.ys)], [y, y], color=SERIES[0], linewidth=1.2)
            axis.plot([mean, mean], [y - 0.3, y + 0.3], color=INK, linewidth=1.6)
            axis.plot(line.ys, [y] * len(line.ys), "o", markersize=5, color=SERIES[0],
                      markerfacecolor=PAPER)  # fmt: skip
        axis.set_ylim(len(labels) - 0.5, -0.5)
        axis.set_yticks(range(len(labels)), labels)
        axis.tick_params(axis="y", labelsize=TEXT_PT, labelcolor=INK)
        axis.set_xlabel(chart.x_title, fontsize=SMALL_PT, color=MUTED)

    return svg_of(name, height_in, paint)
