"""Charts on two axes of numbers: gain against something, score against something."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from peval.report.charts import Line, Lines, Scatter, Spot
from peval.report.ink import (
    HALO,
    INK,
    MARK_COLOURS,
    MARKERS,
    MUTED,
    PAPER,
    SERIES,
    SERIES_MARKERS,
    SMALL_PT,
    TEXT_PT,
    WIDTH_IN,
    bare,
    label,
    svg_of,
    width_in,
)
from peval.report.placing import GAP_PT, LINE_PT, placed

HEIGHT_IN = 4.0
N_WITH_INTERVALS = 8
LEFT = 0.09


def draw_scatter(name: str, chart: Scatter) -> str:
    """Draw points with their intervals and names; both axes show 0."""

    def paint(figure: Any) -> None:
        axis = figure.add_axes((LEFT, 0.14, 0.72, 0.8))
        bare(axis, "both")
        axis.axvline(0, color=MUTED, linewidth=0.9)
        axis.axhline(0, color=MUTED, linewidth=0.9)
        if chart.margin is not None:
            axis.axvline(chart.margin, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
            axis.annotate("margin", (chart.margin, 1), xytext=(0, 3), ha="center",
                          xycoords=("data", "axes fraction"), textcoords="offset points",
                          fontsize=SMALL_PT, color=INK)  # fmt: skip
        many = len(chart.spots) > N_WITH_INTERVALS
        for spot in chart.spots:
            _spot(axis, spot, crowded=many)
        axis.margins(0.06)
        axis.set_xlabel(chart.x_title, fontsize=SMALL_PT, color=MUTED)
        axis.set_ylabel(chart.y_title, fontsize=SMALL_PT, color=MUTED)
        _names(axis, chart, figure)

    return svg_of(name, HEIGHT_IN, paint)


def _spot(axis: Any, spot: Spot, crowded: bool) -> None:
    colour = MARK_COLOURS[spot.mark]
    if not crowded:
        line = {"color": colour, "linewidth": 0.8, "solid_capstyle": "butt"}
        if spot.x_bounds:
            axis.plot(spot.x_bounds, [spot.y, spot.y], **line)
        if spot.y_bounds:
            axis.plot([spot.x, spot.x], spot.y_bounds, **line)
    axis.plot([spot.x], [spot.y], marker=MARKERS[spot.mark], markersize=6.5, color=colour,
              markerfacecolor=colour if spot.mark in "▲▼" else PAPER, markeredgewidth=1.2,
              zorder=3)  # fmt: skip


def _names(axis: Any, chart: Scatter, figure: Any) -> None:
    """Name points where there is room: first those that none beats, then the marked ones."""
    spots = _by_interest(chart)
    points = _places(axis, [(s.x, s.y) for s in spots], figure)
    widths = [72 * width_in([label(s.label)]) for s in spots]
    room = (72 * WIDTH_IN * LEFT, 72 * WIDTH_IN)
    for spot, place in zip(spots, placed(points, widths, room), strict=True):
        if place:
            axis.annotate(label(spot.label), (spot.x, spot.y), textcoords="offset points",
                          xytext=(place.dx, place.dy), ha=place.align, va="center_baseline",
                          fontsize=TEXT_PT - 0.5, color=MARK_COLOURS[spot.mark],
                          annotation_clip=False, gid=HALO)  # fmt: skip


def _by_interest(chart: Scatter) -> list[Spot]:
    """Return the points, first those that no other beats on both axes, then those with a mark."""
    sign = -1 if chart.best_is_left else 1
    best = {
        s for s in chart.spots
        if not any(sign * o.x > sign * s.x and o.y > s.y for o in chart.spots)
    }  # fmt: skip
    return sorted(chart.spots, key=lambda s: (s not in best, s.mark not in "▲▼", -s.y, s.label))


def _places(axis: Any, points: Sequence[tuple[float, float]], figure: Any) -> list[Any]:
    """Return where points of the chart lie on the page, in points."""
    axis.get_xlim()  # settles the limits, which places need
    axis.get_ylim()
    return [axis.transData.transform(point) * 72 / figure.dpi for point in points]


def draw_lines(name: str, chart: Lines) -> str:
    """Draw a line through each group's means, every point a small dot, names at the ends."""
    room = width_in([label(line.label, 22) for line in chart.lines]) + 0.3
    right = 1 - max(room, 0.5) / WIDTH_IN

    def paint(figure: Any) -> None:
        axis = figure.add_axes((LEFT, 0.14, right - LEFT, 0.8))
        bare(axis, "both")
        if chart.log_x:
            axis.set_xscale("log", base=2)
        if chart.level is not None:
            axis.axhline(chart.level, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        ends = []
        for at, line in enumerate(chart.lines):
            colour, marker = SERIES[at % len(SERIES)], SERIES_MARKERS[at % len(SERIES_MARKERS)]
            xs, means = _means(line)
            if line.bounds:
                lows, highs = zip(*line.bounds, strict=True)
                axis.fill_between(line.xs, lows, highs, color=colour, alpha=0.12, linewidth=0)
            axis.plot(line.xs, line.ys, "o", markersize=3, color=colour, markerfacecolor=PAPER,
                      markeredgewidth=0.8)  # fmt: skip
            axis.plot(xs, means, color=colour, linewidth=1.6, marker=marker, markersize=5.5,
                      linestyle="-" if at < len(SERIES) else "--")  # fmt: skip
            ends.append((label(line.label, 22), xs[-1], means[-1], colour))
        if chart.level is not None:
            ends.append(
                ("base", max(x for line in chart.lines for x in line.xs), chart.level, MUTED)
            )
        ticks = sorted({x for line in chart.lines for x in line.xs})
        if len(ticks) <= 12:
            axis.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axis.minorticks_off()
        elif not chart.log_x and all(x == int(x) for x in ticks):
            axis.locator_params(axis="x", integer=True)
        axis.set_xlabel(chart.x_title, fontsize=SMALL_PT, color=MUTED)
        axis.set_ylabel(chart.y_title, fontsize=SMALL_PT, color=MUTED)
        _labels(axis, ends, figure)

    return svg_of(name, HEIGHT_IN - 0.6, paint)


def _means(line: Line) -> tuple[list[float], list[float]]:
    xs = sorted(set(line.xs))
    found = [[y for x, y in zip(line.xs, line.ys, strict=True) if x == at] for at in xs]
    return xs, [math.fsum(ys) / len(ys) for ys in found]


def _labels(axis: Any, texts: Sequence[tuple[str, float, float, str]], figure: Any) -> None:
    """Write names to the right of their points, moved apart where they would overlap."""
    places = _places(axis, [(x, y) for _, x, y, _ in texts], figure)
    order = sorted(range(len(texts)), key=lambda i: (places[i][1], texts[i][0]))
    taken: list[tuple[float, float, float]] = []
    for i in order:
        text, x, y, colour = texts[i]
        shown = label(text)
        across, up = places[i]
        wide, wanted = width_in([shown]) * 72, up
        for left, width, other in sorted(taken, key=lambda t: t[2]):
            overlaps = across < left + width and left < across + wide
            if overlaps and abs(wanted - other) < LINE_PT:
                wanted = other + LINE_PT
        taken.append((across, wide, wanted))
        fits = across + GAP_PT + wide < 72 * WIDTH_IN
        axis.annotate(shown, (x, y), textcoords="offset points", ha="left" if fits else "right",
                      xytext=(GAP_PT if fits else -GAP_PT, wanted - up),
                      va="center_baseline", fontsize=TEXT_PT - 0.5, color=colour,
                      annotation_clip=False, gid=HALO)  # fmt: skip
