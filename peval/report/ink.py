"""Colours and the canvas: one drawing serves light pages, dark pages and style sheets.

A drawing names its colours by their light values, each of which stands for one role; another theme
replaces them. Blue and orange are told apart by all common kinds of colour blindness, and no
meaning rests on a colour alone.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from peval.report.format import BETTER, NOISE, OPEN, SAME, WORSE

INK, MUTED, GRID, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#fffffe"
BLUE, ORANGE = "#0a69b0", "#bc4c02"
SERIES = ("#0072b3", "#d45f02", "#009e74", "#a8478a", "#7a6a00", "#3a3f98")
DIVERGING = (
    "#b35806", "#e08214", "#fdb863", "#fee0b6", "#f3f4f6", "#d1e5f0", "#92c5de", "#4393c3",
    "#2166ac",
)  # fmt: skip
ON_CELL = ("#fefefe", "#1e1f21", "#1e1f22", "#1e1f23", "#1e1f24", "#1e1f25", "#1e1f26", "#1e1f27",
           "#fdfdfd")  # fmt: skip
MARK_COLOURS = {BETTER: BLUE, WORSE: ORANGE, OPEN: MUTED, SAME: MUTED, NOISE: MUTED}
MARKERS = {BETTER: "^", WORSE: "v", OPEN: "o", SAME: "s", NOISE: "d"}
SERIES_MARKERS = ("o", "s", "D", "^", "v", "P")

DARK = {
    INK: "#e6edf3", MUTED: "#9ba3ad", GRID: "#343b44", PAPER: "#0d1117", BLUE: "#58a6ff",
    ORANGE: "#f0883e",
    **dict(zip(SERIES, ("#56b4e9", "#f0883e", "#2fc99a", "#e08cc0", "#d9c54a", "#9aa3ff"),
               strict=True)),
    **dict(zip(DIVERGING, ("#f59e42", "#c4701b", "#8a4f17", "#4d3013", "#21262d", "#163350",
                           "#1f5a8f", "#3182c6", "#6cb6ff"), strict=True)),
    **dict(zip(ON_CELL, ("#1b1206", "#160d04", "#fff7ee", "#fff7ef", "#e6edf4", "#f0f7ff",
                         "#f1f7ff", "#04101c", "#06121e"), strict=True)),
}  # fmt: skip
HALO = "halo"
"""What is drawn under this id has an edge in the page's colour, to be read upon lines."""
FONTS = "-apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', Helvetica, Arial, sans-serif"
SMALL_PT, TEXT_PT = 8.0, 9.0
WIDTH_IN = 8.6
CHARACTER_IN = 0.074
LONGEST_LABEL = 34

Theme = Literal["light", "dark", "page"]


def themed(svg: str, theme: Theme) -> str:
    """Return a drawing in a theme's colours; "page" leaves them to the page's style sheet."""
    if theme == "light":
        return svg

    def other(found: re.Match[str]) -> str:
        colour = found.group(0)
        if colour not in DARK:
            return colour
        return DARK[colour] if theme == "dark" else f"var(--c{colour[1:]})"

    return re.sub(r"#[0-9a-f]{6}\b", other, svg)


def style_sheet() -> tuple[str, str]:
    """Return the declarations of all colours for light and for dark pages."""
    light = "".join(f"--c{colour[1:]}:{colour};" for colour in DARK)
    dark = "".join(f"--c{colour[1:]}:{other};" for colour, other in DARK.items())
    return light, dark


def svg_of(name: str, height_in: float, paint: Callable[[Any], None]) -> str:
    """Return what `paint` draws onto a figure of the report's width; the same in every run."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False,
                "font.size": TEXT_PT, "text.color": INK, "path.simplify": False}  # fmt: skip
    with rc_context(settings), _quiet():
        figure = Figure(figsize=(WIDTH_IN, height_in))
        FigureCanvasSVG(figure)
        paint(figure)
        out = io.BytesIO()
        figure.savefig(
            out, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = re.sub(r"font: ([\d.]+px|[a-z]+ [\d.]+px)[^;\"]*", rf"font: \1 {FONTS}",
                  out.getvalue().decode())  # fmt: skip
    halo = f'style="paint-order:stroke;stroke:{PAPER};stroke-width:3px;stroke-linejoin:round"'
    return text[text.index("<svg") :].replace(f'id="{HALO}"', halo)


def label(text: str, longest: int = LONGEST_LABEL) -> str:
    """Return a name that fits beside a drawing: a long one without its middle."""
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def width_in(texts: Iterator[str] | tuple[str, ...] | list[str]) -> float:
    """Return the room that the longest text takes."""
    return CHARACTER_IN * max(map(len, texts), default=0)


def bare(axis: Any, grid: Literal["x", "y", "both"] | None = "x") -> None:
    """Leave of an axis its labels and a light grid."""
    axis.patch.set_visible(False)
    axis.tick_params(length=0, labelsize=SMALL_PT, labelcolor=MUTED, pad=3)
    axis.set_axisbelow(True)
    if grid:
        axis.grid(axis=grid, color=GRID, linewidth=0.7)
    for side in axis.spines.values():
        side.set_visible(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep quiet about glyphs that the measuring font lacks: readers' fonts draw the text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield
