"""ROC curves on logarithmic axes, where the rates that matter to privacy can be seen."""

from __future__ import annotations

from typing import Any

from peval.report.charts import Roc
from peval.report.ink import (
    INK,
    MUTED,
    SERIES,
    SMALL_PT,
    TEXT_PT,
    WIDTH_IN,
    bare,
    label,
    svg_of,
    width_in,
)

HEIGHT_IN = 3.6


def draw_roc(name: str, chart: Roc) -> str:
    """Draw each curve and the diagonal of chance; names stand in a key at the right."""
    right = 1 - (width_in([label(curve.label, 22) for curve in chart.curves]) + 0.75) / WIDTH_IN
    low = min(chart.lowest, 0.1)

    def paint(figure: Any) -> None:
        axis = figure.add_axes((0.09, 0.15, min(right, 0.8) - 0.09, 0.8))
        bare(axis, "both")
        axis.plot([low, 1], [low, 1], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        for at, curve in enumerate(chart.curves):
            xs, ys = ([max(low, point[axis_at]) for point in curve.points] for axis_at in (0, 1))
            axis.plot(xs, ys, color=SERIES[at % len(SERIES)],
                      linewidth=1.7, linestyle="-" if at < len(SERIES) else "--",
                      label=label(curve.label, 22))  # fmt: skip
        for side in ("x", "y"):
            getattr(axis, f"set_{side}scale")("log")
            getattr(axis, f"set_{side}lim")(low, 1.08)
        ticks = [x for x in (0.001, 0.01, 0.05, 0.1, 0.5, 1.0) if x >= low]
        axis.set_xticks(ticks, [f"{100 * x:g} %" for x in ticks])
        axis.set_yticks(ticks, [f"{100 * x:g} %" for x in ticks])
        axis.minorticks_off()
        axis.set_xlabel(chart.x_title, fontsize=SMALL_PT, color=MUTED)
        axis.set_ylabel(chart.y_title, fontsize=SMALL_PT, color=MUTED)
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False,
                    fontsize=TEXT_PT - 0.5, labelcolor=INK)  # fmt: skip

    return svg_of(name, HEIGHT_IN, paint)
