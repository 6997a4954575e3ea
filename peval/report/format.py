"""Numbers as the report writes them: percent, no finer than their interval, a true minus sign."""

from __future__ import annotations

import math

from peval.families import LEVEL
from peval.metrics import higher_is_better, is_neutral, is_share
from peval.types import Comparison, Estimate

BETTER, WORSE, OPEN, SAME, NOISE = "▲", "▼", "·", "=", "≈"
MORE, LESS = "↑", "↓"
NONE = "–"
MOST_DIGITS = 3
TINY = 1e-9


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as percent, or a dash where there is none."""
    return NONE if value is None else _write(100 * value, digits)


def points(value: float | None) -> str:
    """Return a difference of fractions as signed percentage points."""
    return NONE if value is None else _write(100 * value, 1, "+")


def written(value: float | None, metric: str, digits: int, sign: str = "") -> str:
    """Return a metric's value: shares in percent, others as they are."""
    if value is None:
        return NONE
    return _write(100 * value if is_share(metric) else value, digits, sign)


def digits_of(low: float | None, high: float | None, metric: str, tell_from_0: bool = False) -> int:
    """Return how many decimals an interval deserves: two digits of its half-width.

    One more where the side of 0 on which a bound lies must be told and could not be.
    """
    if low is None or high is None or high <= low:
        return 1
    scale = 100 if is_share(metric) else 1
    half = scale * (high - low) / 2
    digits = max(0, 1 - math.floor(math.log10(half)))
    near = [scale * bound for bound in (low, high) if abs(bound) > TINY]
    if tell_from_0 and not all(round(bound, digits) for bound in near):
        digits += 1
    return min(digits, MOST_DIGITS)


def rough(value: float) -> str:
    """Return a fraction as percent with two digits that matter."""
    return f"{float(f'{100 * value:.2g}'):g}"


def score(e: Estimate) -> str:
    """Return an estimate as precisely as its interval is wide."""
    return written(e.value, e.metric, digits_of(e.low, e.high, e.metric))


def interval(e: Estimate) -> str:
    """Return an estimate with its interval."""
    if e.value is None:
        return NONE
    digits = digits_of(e.low, e.high, e.metric)
    low, high = (written(bound, e.metric, digits) for bound in (e.low, e.high))
    return f"{score(e)} [{low}, {high}]"


def delta(c: Comparison) -> str:
    """Return a paired difference as precisely as its interval is wide."""
    if is_same(c):
        return "0"
    return written(c.delta, c.metric, digits_of(c.low, c.high, c.metric, tell_from_0=True), "+")


def bounds(c: Comparison) -> str:
    """Return the interval of a paired difference."""
    digits = digits_of(c.low, c.high, c.metric, tell_from_0=True)
    low, high = (written(bound, c.metric, digits, "+") for bound in (c.low, c.high))
    return f"[{low}, {high}]"


def difference(c: Comparison) -> str:
    """Return a paired difference with its interval and its mark."""
    if c.delta is None:
        return NONE
    return f"{delta(c)} {SAME}" if is_same(c) else f"{delta(c)} {bounds(c)} {mark(c)}"


def mark(c: Comparison) -> str:
    """Return ▲ or ▼ for a difference, = where every answer is the base's, else ·.

    Or ↑ and ↓ for more and less of what is neither better nor worse; or ≈, where it is no larger
    than what the engine alone makes of the same adapter.

    A difference is one whose interval excludes 0 and whose adjusted p-value, where it was tested,
    is at most 0.05; the p-value alone tells where there is no interval.
    """
    if is_same(c):
        return SAME
    if c.is_noise:
        return NOISE
    chance = c.p_adjusted is not None and c.p_adjusted > LEVEL
    low, high = c.low, c.high
    if None in (low, high) and c.p_adjusted is not None:
        low = high = c.delta
    if low is None or high is None or chance:
        return OPEN
    if is_neutral(c.metric):
        return MORE if low > 0 else LESS if high < 0 else OPEN
    more, less = (BETTER, WORSE) if higher_is_better(c.metric) else (WORSE, BETTER)
    return more if low > 0 else less if high < 0 else OPEN


def is_same(c: Comparison) -> bool:
    """Tell whether the adapter answered every item exactly as the base did."""
    return c.n_items > 0 and c.n_identical == c.n_items


def p_value(p: float | None) -> str:
    """Return a p-value with two digits that matter."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def two_places(value: float | None) -> str:
    """Write a number that is no share."""
    return NONE if value is None else f"{value:.2f}".replace("-", "−")


def counted(n: int, noun: str) -> str:
    """Return a count with its noun."""
    if n == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {plural}"


def listed(words: list[str]) -> str:
    """Return words joined as a sentence joins them."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _write(value: float, digits: int, sign: str = "") -> str:
    if not round(value, digits):
        return f"{0:.{digits}f}"
    return f"{value:{sign},.{digits}f}".replace("-", "−")
