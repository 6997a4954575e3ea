"""What a judge's outcomes amount to: rates, diagnostics, null answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from peval.judging import wins
from peval.judging.belief import has_orders, warnings, why_no_headline
from peval.judging.judges import Judge
from peval.judging.outcomes import Outcome, Outcomes, systems, worth
from peval.judging.questions import NULL
from peval.judging.shown import Shown

Record = dict[str, Any]


def findings(judge: Judge, found: Outcomes, shown: Shown) -> Record:
    """Return one task's findings as JSON's own types.

    Of several answers to an item each is counted, but for ``n_items``, and ``n_scored`` of a
    system; rates and means are over items.

    Parameters
    ----------
    found
        Null opponents are systems whose names begin with ``null:``.
    shown
        For lengths and categories.
    """
    mine = systems(found)
    nulls = {name: by_id for name, by_id in found.items() if str(name).startswith(NULL)}
    items = [drawn for by_id in mine.values() for drawn in by_id.values()]
    scored = {name: _scored(name, by_id, shown) for name, by_id in mine.items()}
    categories = {sample.id: sample.category for sample in shown.samples.values()}
    record: Record = _counts(items) | {
        "systems": [
            _system(judge, name, by_id, scored[name]) | {"by_turn": _by_turn(by_id, categories)}
            for name, by_id in mine.items()
        ],
        "orders": _orders(found) if has_orders(judge) else None,
        "nulls": [_null(judge, str(name), by_id, mine) for name, by_id in nulls.items()],
        "lengths": _lengths(judge, [one for some in scored.values() for one in some]),
    }
    record["why_no_headline"] = why_no_headline(record)
    record["warnings"] = list(warnings(judge, record))
    return record


def _counts(items: Sequence[Sequence[Outcome]]) -> Record:
    """Return how many answers were judged, and what came in the place of verdicts that count."""
    answers = [one for drawn in items for one in drawn]
    unscored = Counter(one.unscored for one in answers if one.unscored)
    return {
        "n_items": len(items),
        "n_draws": max(map(len, items), default=1),
        "n_answers": len(answers),
        "n_scored": sum(one.value is not None for one in answers),
        "n_pending": sum(one.pending for one in answers),
        "n_identical": sum(one.identical for one in answers),
        "unscored": dict(sorted(unscored.items())),
        "unscored_said": {one.unscored: one.why for one in reversed(answers) if one.unscored},
    }


@dataclass(frozen=True)
class _Scored:
    """One answer with a verdict that counts; lengths in characters, over its turns."""

    item: str
    value: float
    length: int
    opponents_length: int
    identical: bool


def _scored(
    system: str | None, by_id: Mapping[str, Sequence[Outcome]], shown: Shown
) -> list[_Scored]:
    """Return a system's answers with verdicts, on the items of which none is pending."""
    return [
        _Scored(
            item, one.value, _length(shown.answer(system, item, draw)),
            _length(shown.opponent(item, draw)), one.identical,
        )
        for item, drawn in _settled(by_id).items()
        for draw, one in enumerate(drawn)
        if one.value is not None
    ]  # fmt: skip


def _settled(by_id: Mapping[str, Sequence[Outcome]]) -> dict[str, Sequence[Outcome]]:
    """Return the items all of whose answers were judged."""
    return {
        item: drawn for item, drawn in by_id.items() if not any(one.pending for one in drawn)
    }  # fmt: skip


def _system(
    judge: Judge,
    name: str | None,
    by_id: Mapping[str, Sequence[Outcome]],
    scored: Sequence[_Scored],
) -> Record:
    items = [v for drawn in by_id.values() if (v := worth(drawn)) is not None]
    values, lengths = [one.value for one in scored], [one.length for one in scored]
    n_unscored = sum(
        one.unscored is not None for drawn in _settled(by_id).values() for one in drawn
    )
    record: Record = {
        "system": name,
        "n_items": len(by_id),
        "n_scored": len(items),
        "n_unscored": n_unscored,
        "mean": sum(items) / len(items) if items else None,
        "mean_length": sum(lengths) / len(lengths) if lengths else None,
    }
    if judge.kind == "pairwise" and values:
        names, theirs = [one.item for one in scored], [one.opponents_length for one in scored]
        record |= asdict(wins.wins(values, names))
        record["bounds"] = wins.bounds(values, n_unscored)
        controlled = wins.length_controlled(values, lengths, theirs, names)
        record["length_controlled"] = asdict(controlled) if controlled else None
    elif values and judge.reply != "number":
        low, high = (judge.lowest, judge.highest) if judge.kind == "rating" else (0.0, 1.0)
        n = len(values) + n_unscored
        record["bounds"] = tuple((sum(values) + n_unscored * end) / n for end in (low, high))
    return record


def _length(said: tuple[str, ...]) -> int:
    """Return an answer's length in characters, over its turns."""
    return sum(map(len, said))


def _by_turn(by_id: Mapping[str, Sequence[Outcome]], categories: Mapping[str, str]) -> list[Record]:
    """Return each turn's mean where there are several, over all and by category.

    Verdicts that are missing are dropped and counted, as MT-Bench does.
    """
    n_turns = max((len(one.turns) for drawn in by_id.values() for one in drawn), default=0)
    if n_turns < 2:
        return []
    names = sorted({categories.get(item, "") for item in by_id} - {""})
    return [
        {"turn": turn + 1, "category": category} | _mean_of_turn(turn, some)
        for category in (None, *(names if len(names) > 1 else ()))
        for some in [
            [drawn for item, drawn in by_id.items() if category in (None, categories.get(item))]
        ]
        for turn in range(n_turns)
    ]


def _mean_of_turn(turn: int, items: Sequence[Sequence[Outcome]]) -> Record:
    """Return the mean over items of one turn; ``n`` and ``n_dropped`` count answers."""
    said = [[one.turns[turn] for one in drawn if len(one.turns) > turn] for drawn in items]
    values = [kept for some in said if (kept := [v for v in some if v is not None])]
    means = [sum(kept) / len(kept) for kept in values]
    n = sum(map(len, values))
    mean = sum(means) / len(means) if means else None
    return {"mean": mean, "n": n, "n_dropped": sum(map(len, said)) - n}


def _orders(found: Outcomes) -> Record:
    """Return what the place decided, of all that was judged, null answers too."""
    every = [one for by_id in found.values() for drawn in by_id.values() for one in drawn]
    firsts = [first for one in every for first in one.firsts]
    return {
        "n_calls": len(firsts),
        "first_share": sum(firsts) / len(firsts) if firsts else None,
        "n_pairs": sum(one.n_pairs for one in every),
        "n_flipped": sum(one.flips for one in every),
    }


def _lengths(judge: Judge, scored: Sequence[_Scored]) -> Record:
    """Return how the preference (or rating) goes with length, over all systems' answers."""
    pairwise = judge.kind == "pairwise"
    rows = [
        (one.value, one.length - (one.opponents_length if pairwise else 0))
        for one in scored
        if not one.identical
    ]
    differ = [(value, gap) for value, gap in rows if gap and value != 0.5]
    longer = [(value > 0.5) == (gap > 0) for value, gap in differ]
    found = wins.correlation([v for v, _ in rows], [float(gap) for _, gap in rows])
    return {
        "n": len(rows),
        "correlation": found,
        "longer_wins": sum(longer) / len(longer) if longer and pairwise else None,
    }


def _null(
    judge: Judge, name: str, by_id: Mapping[str, Sequence[Outcome]], systems: Outcomes
) -> Record:
    """Return how often an answer that deserves nothing won: a tie is half a win.

    A rating wins where it is above the mean of the systems' ratings of the same item, and ties
    where it equals that, but for the lowest rating, which nobody deserves less than.
    """
    values = [(item, v) for item, drawn in by_id.items() if (v := worth(drawn)) is not None]
    if judge.kind != "pairwise":
        floor = judge.lowest if judge.kind == "rating" else 0.0
        means = {item: _mean(item, systems) for item, _ in values}
        won = [
            1.0 if v > m else 0.5 if v == m != floor else 0.0
            for item, v in values
            if (m := means[item]) is not None
        ]
    else:
        won = [v for _, v in values]
    firsts = [first for drawn in by_id.values() for one in drawn for first in one.firsts]
    return {
        "name": name.removeprefix(NULL),
        "n_items": len(by_id),
        "n_scored": len(won),
        "win_rate": sum(won) / len(won) if won else None,
        "first_share": sum(firsts) / len(firsts) if firsts else None,
        "mean": sum(v for _, v in values) / len(values) if values else None,
    }


def _mean(item: str, systems: Outcomes) -> float | None:
    found = [worth(by_id[item]) for by_id in systems.values() if item in by_id]
    values = [v for v in found if v is not None]
    return sum(values) / len(values) if values else None
