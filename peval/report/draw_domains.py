"""Scores out of domain against those in domain: a small point a run, a large one a mean."""

from __future__ import annotations

import math
from typing import Any

from peval.report.charts import Domains
from peval.report.ink import (
    MUTED,
    PAPER,
    SERIES,
    SERIES_MARKERS,
    SMALL_PT,
    WIDTH_IN,
    bare,
    label,
    svg_of,
)

SIDE_IN = 4.2
LEFT_IN, FOOT_IN, TOP_IN = 0.7, 0.6, 0.15
LEAST_SPAN = 10.0  # points: no difference of a few items fills the chart


def draw_domains(name: str, chart: Domains) -> str:
    """Draw a square with the same limits on both axes, its diagonal dashed."""
    low, high = _limits(chart)
    height_in = SIDE_IN + FOOT_IN + TOP_IN

    def paint(figure: Any) -> None:
        axis = figure.add_axes((
            LEFT_IN / WIDTH_IN, FOOT_IN / height_in, SIDE_IN / WIDTH_IN, SIDE_IN / height_in,
        ))  # fmt: skip
        bare(axis, "both")
        axis.set_xlim(low, high)
        axis.set_ylim(low, high)
        for at, group in enumerate(chart.groups):
            colour, marker = SERIES[at % len(SERIES)], SERIES_MARKERS[at % len(SERIES_MARKERS)]
            if len(group.xs) > 1:
                axis.plot(group.xs, group.ys, linestyle="none", marker=marker, markersize=4,
                          color=colour, markerfacecolor=PAPER, markeredgewidth=0.9,
                          zorder=4)  # fmt: skip
            is_second = at >= len(SERIES)
            axis.plot(_mean(group.xs), _mean(group.ys), linestyle="none", marker=marker,
                      markersize=9, color=colour, markerfacecolor=PAPER if is_second else colour,
                      markeredgewidth=1.4, label=label(group.label), zorder=3)  # fmt: skip
        axis.plot([low, high], [low, high], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)),
                  label="equal in both", zorder=2)  # fmt: skip
        x, y = chart.majority
        axis.axvline(x, color=MUTED, linewidth=1.2, linestyle=(0, (1, 2)), zorder=2)
        axis.axhline(y, color=MUTED, linewidth=1.2, linestyle=(0, (1, 2)), zorder=2,
                     label="majority class")  # fmt: skip
        axis.set_xlabel(chart.x_title, fontsize=SMALL_PT, color=MUTED)
        axis.set_ylabel(chart.y_title, fontsize=SMALL_PT, color=MUTED)
        axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False,
                    fontsize=SMALL_PT, borderaxespad=0.0)  # fmt: skip

    return svg_of(name, height_in, paint)


def _limits(chart: Domains) -> tuple[float, float]:
    seen = [value for group in chart.groups for value in (*group.xs, *group.ys)]
    values = [*seen, *chart.majority]
    middle = (min(values) + max(values)) / 2
    half = max(max(values) - min(values), LEAST_SPAN) * 0.55
    return middle - half, middle + half


def _mean(values: tuple[float, ...]) -> list[float]:
    return [math.fsum(values) / len(values)]
