"""Verdicts to what each item is worth: both orders together, ties kept, what is unscored apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from peval.judging.judges import Judge
from peval.judging.parts import Part
from peval.judging.questions import NULL
from peval.judging.verdicts import Verdict, read_verdict
from peval.types import Completion, Request


@dataclass(frozen=True)
class Outcome:
    """What a judge said of one of a system's answers to one item.

    ``value`` is the mean over turns: the share of the preference for a pair, else a rating; None
    where a verdict is missing or unscored. ``turns`` holds each turn's value. ``firsts`` holds for
    each call how much it preferred the answer shown first. ``flips`` counts pairs of orders
    whose verdicts contradict each other, of ``n_pairs``. ``reply`` is the first reply's text;
    ``why`` is what came in the place of a verdict that counts.
    """

    value: float | None
    turns: tuple[float | None, ...] = ()
    pending: bool = False
    unscored: str | None = None
    firsts: tuple[float, ...] = ()
    flips: int = 0
    n_pairs: int = 0
    identical: bool = False
    reply: str = ""
    why: str = ""


Outcomes = Mapping[str | None, Mapping[str, tuple[Outcome, ...]]]
"""By system and sample id, one for each drawn answer."""


def systems(found: Outcomes) -> dict[str | None, Mapping[str, tuple[Outcome, ...]]]:
    """Return the outcomes of what was evaluated, without those of null answers."""
    return {name: by_id for name, by_id in found.items() if not str(name).startswith(NULL)}


def worth(drawn: Sequence[Outcome]) -> float | None:
    """Return what an item is worth: the mean over those of its answers whose verdict counts.

    None where there is none, or where one is pending: repeats of an item are no further items.
    """
    values = [one.value for one in drawn if one.value is not None]
    if not values or any(one.pending for one in drawn):
        return None
    return sum(values) / len(values)


def outcomes(
    judge: Judge, requests: Sequence[Request], completions: Mapping[str, Completion]
) -> dict[str | None, dict[str, tuple[Outcome, ...]]]:
    """Return one task's outcomes."""
    asked: dict[str | None, dict[str, dict[int, list[Request]]]] = {}
    for request in requests:
        by_draw = asked.setdefault(request.adapter, {}).setdefault(request.sample_id, {})
        by_draw.setdefault(Part.of(request.part).draw, []).append(request)
    return {
        system: {
            name: tuple(_outcome(judge, by_draw[draw], completions) for draw in sorted(by_draw))
            for name, by_draw in by_id.items()
        }
        for system, by_id in asked.items()
    }


@dataclass
class _Turn:
    mine: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)


def _outcome(
    judge: Judge, requests: Sequence[Request], completions: Mapping[str, Completion]
) -> Outcome:
    if Part.of(requests[0].part).is_same:
        return Outcome(0.5, (0.5,), identical=True)
    turns: dict[int, _Turn] = {}
    unscored, pending, reply, why = None, False, "", ""
    for request in sorted(requests, key=lambda one: one.part):
        found = completions.get(request.key)
        if found is None:
            pending = True
            continue
        reply = reply or found.text
        verdict: Verdict = read_verdict(judge, found)
        part = Part.of(request.part)
        turn = turns.setdefault(part.turn, _Turn())
        if verdict.value is None:
            why = why if unscored else found.error or found.text
            unscored = unscored or verdict.unscored
        elif judge.kind == "pairwise":
            turn.firsts.append(verdict.value)
            turn.mine.append(verdict.value if part.swapped else 1 - verdict.value)
        else:
            turn.mine.append(verdict.value)
    n_orders = 2 if judge.kind == "pairwise" and judge.orders == "both" else 1
    values = tuple(
        _together(judge, turn.mine) if len(turn.mine) == n_orders else None
        for _, turn in sorted(turns.items())
    )
    whole = bool(values) and None not in values and not pending
    kept = [v for v in values if v is not None]
    pairs = [turn.mine for turn in turns.values() if len(turn.mine) == 2]
    return Outcome(
        value=sum(kept) / len(kept) if whole else None,
        turns=values,
        pending=pending,
        unscored=None if pending else unscored,
        firsts=tuple(first for turn in turns.values() for first in turn.firsts),
        flips=sum(min(pair) < 0.5 < max(pair) for pair in pairs),
        n_pairs=len(pairs),
        reply=reply,
        why="" if pending else why,
    )


def _together(judge: Judge, mine: Sequence[float]) -> float:
    """Return what both orders say together."""
    if judge.combine == "agree" and len(set(mine)) > 1:
        return 0.5
    return sum(mine) / len(mine)
