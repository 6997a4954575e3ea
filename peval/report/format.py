"""Numbers as the report writes them: percent, one decimal, a true minus sign."""

from __future__ import annotations

from peval.families import LEVEL
from peval.metrics import higher_is_better, is_share
from peval.types import Comparison, Estimate

BETTER, WORSE, OPEN, SAME = "▲", "▼", "·", "="


def percent(value: float | None) -> str:
    """Return a fraction as percent, or a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """Return a difference of fractions as signed percentage points."""
    if value is None:
        return "–"
    rounded = round(100 * value, 1)
    if rounded == 0:
        return "0.0"
    return f"{'+' if rounded > 0 else '−'}{abs(rounded):.1f}"


def plain(value: float | None) -> str:
    """Return a number that is no share, with four digits that matter."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def signed(value: float | None) -> str:
    """Return a difference of such numbers."""
    return "–" if value is None else f"{value:+.4g}".replace("-", "−")


def interval(e: Estimate) -> str:
    """Return an estimate with its interval."""
    if e.value is None:
        return "–"
    write = percent if is_share(e.metric) else plain
    return f"{write(e.value)} [{write(e.low)}, {write(e.high)}]"


def difference(c: Comparison) -> str:
    """Return a paired difference with its interval and its mark."""
    if c.delta is None:
        return "–"
    if is_same(c):
        return f"0.0 {SAME}"
    write = points if is_share(c.metric) else signed
    return f"{write(c.delta)} [{write(c.low)}, {write(c.high)}] {mark(c)}"


def mark(c: Comparison) -> str:
    """Return ▲ or ▼ for a difference, = where every answer is the base's, else ·.

    A difference is one whose interval excludes 0 and whose adjusted p-value, where it was tested,
    is at most 0.05.
    """
    if is_same(c):
        return SAME
    chance = c.p_adjusted is not None and c.p_adjusted > LEVEL
    if c.low is None or c.high is None or chance:
        return OPEN
    more, less = (BETTER, WORSE) if higher_is_better(c.metric) else (WORSE, BETTER)
    return more if c.low > 0 else less if c.high < 0 else OPEN


def is_same(c: Comparison) -> bool:
    """Tell whether the adapter answered every item exactly as the base did."""
    return c.n_items > 0 and c.n_identical == c.n_items


def p_value(p: float | None) -> str:
    """Return a p-value with two digits that matter."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def counted(n: int, noun: str) -> str:
    """Return a count with its noun."""
    if n == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {plural}"


def cell(text: str) -> str:
    """Return text that cannot break a markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """Return a markdown table; columns after the first `left` are aligned right."""
    rule = [":--"] * left + ["--:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
