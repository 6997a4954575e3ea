"""Phrases that the report's sentences are made of: names, differences with their numbers."""

from __future__ import annotations

from collections.abc import Iterator

from peval.metrics import is_share
from peval.report.document import Code, Strong, Text, named
from peval.report.format import bounds, counted, delta, p_value
from peval.report.tables import findable
from peval.types import Comparison

N_NAMED = 3


def sized(found: list[Comparison]) -> Iterator[str | Code]:
    """Yield differences with their numbers: the widest three."""
    shown = sorted(found, key=lambda c: -abs(c.delta or 0.0))[:N_NAMED]
    for at, c in enumerate(shown):
        unit = " points" if at == 0 and is_share(c.metric) else ""
        metric = "" if is_share(c.metric) else f" {c.metric}"
        yield f"{', ' if at else ''}{delta(c)}{unit}{metric} on "
        yield Code(c.task)
        yield f" {evidence(c)}"
    if len(found) > len(shown):
        yield f", and {len(found) - len(shown):,} more"


def evidence(c: Comparison) -> str:
    """Return a difference's interval and, where it was tested, its p-value."""
    p = p_value(c.p_adjusted)
    tested = f", p {p if p.startswith('<') else f'= {p}'}" if c.p_adjusted is not None else ""
    return f"({bounds(c)}{tested})"


def widest(found: list[Comparison]) -> Text:
    """Return what would have been found, at best and at worst."""
    sizes = sorted((c.mde, findable(c)) for c in found if c.mde is not None and is_share(c.metric))
    if not sizes:
        return ()
    least, most = sizes[0][1], sizes[-1][1]
    if least == "none":
        return ("; on so little data no difference could have been found",)
    span = least if least == most else f"{least} to {most}"
    if most == "none":
        span = f"{least} or more"
    return (f"; one of {span} points would have been found four times in five",)


def be(names: list[str]) -> str:
    """Return the verb."""
    return "is" if len(names) == 1 else "are"


def several(names: list[str]) -> Text:
    """Return a few names, the rest counted."""
    shown = names[: N_NAMED + 1] if len(names) == N_NAMED + 1 else names[:N_NAMED]
    rest = len(names) - len(shown)
    text: list[str | Code | Strong] = []
    for at, name in enumerate(shown):
        last = at == len(shown) - 1 and not rest
        text += ["" if not at else " and " if last else ", ", *named(name)]  # type: ignore[list-item]
    return (*text, f" and {counted(rest, 'more adapter')}") if rest else tuple(text)
