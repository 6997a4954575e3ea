"""Verdicts to what each item is worth: both orders together, ties kept, what is unscored apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from peval.judging.judges import Judge
from peval.judging.questions import SAME
from peval.judging.verdicts import Verdict, read_verdict
from peval.types import Completion, Request


@dataclass(frozen=True)
class Outcome:
    """What a judge said of one system's answers to one item.

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


Outcomes = Mapping[str | None, Mapping[str, Outcome]]


def outcomes(
    judge: Judge, requests: Sequence[Request], completions: Mapping[str, Completion]
) -> dict[str | None, dict[str, Outcome]]:
    """Return one task's outcomes by system and sample id."""
    asked: dict[str | None, dict[str, list[Request]]] = {}
    for request in requests:
        asked.setdefault(request.adapter, {}).setdefault(request.sample_id, []).append(request)
    return {
        system: {name: _outcome(judge, some, completions) for name, some in by_id.items()}
        for system, by_id in asked.items()
    }


@dataclass
class _Turn:
    mine: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)


def _outcome(
    judge: Judge, requests: Sequence[Request], completions: Mapping[str, Completion]
) -> Outcome:
    if requests[0].part == SAME:
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
        turn = turns.setdefault(request.part // 2, _Turn())
        if verdict.value is None:
            why = why if unscored else found.error or found.text
            unscored = unscored or verdict.unscored
        elif judge.kind == "pairwise":
            swapped = request.part % 2 == 1
            turn.firsts.append(verdict.value)
            turn.mine.append(verdict.value if swapped else 1 - verdict.value)
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
