"""The clearest of a judge's verdicts, with its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from peval.judging.outcomes import Outcomes, systems
from peval.judging.place import item_of
from peval.judging.shown import Shown

N_EXAMPLES = 3


class _Row(NamedTuple):
    value: float
    system: str | None
    item: str
    draw: int
    reply: str


def examples(found: Outcomes, shown: Shown) -> Iterator[dict[str, Any]]:
    """Yield the clearest wins, then the clearest losses, systems taking turns."""
    rows = [
        _Row(one.value, name, item, draw, one.reply)
        for name, by_id in systems(found).items()
        for item, drawn in by_id.items()
        for draw, one in enumerate(drawn)
        if one.value is not None and not one.identical
    ]
    won = _in_turn(rows, -1)[:N_EXAMPLES]
    lost = [row for row in _in_turn(rows, 1) if row not in won][:N_EXAMPLES]
    for row in (*won, *lost):
        yield {
            "system": row.system, "sample_id": row.item, "draw": row.draw, "value": row.value,
            "question": _joined(item_of(shown.samples[row.item]).turns),
            "answer": _joined(shown.answer(row.system, row.item, row.draw)),
            "opponent": _joined(shown.opponent(row.item, row.draw)), "reply": row.reply,
        }  # fmt: skip


def _joined(turns: tuple[str, ...]) -> str:
    return "\n\n".join(turns)


def _in_turn(rows: list[_Row], sign: int) -> list[_Row]:
    """Return rows by value, lowest (or highest) first; among equals systems take turns."""
    turns: Counter[tuple[float, str | None]] = Counter()
    placed = []
    for row in sorted(rows, key=lambda row: row.item):
        placed.append((sign * row.value, turns[row.value, row.system], str(row.system), row))
        turns[row.value, row.system] += 1
    return [row for *_, row in sorted(placed, key=lambda one: one[:3])]
