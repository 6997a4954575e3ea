"""A judge's reply to a number, or to the reason why it is none. Nothing is guessed."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass

from peval.judging.judges import Judge
from peval.types import Completion, Likelihood

PARSE, REFUSAL, LENGTH, CALL = "unreadable", "refused", "cut off", "call failed"
IDENTICAL = "identical answers: a tie without a call"

_RATING = (re.compile(r"\[\[(\d+(?:\.\d*)?)\]\]"), re.compile(r"\[(\d+(?:\.\d*)?)\]"))
_LINE = re.compile(r"^[\s*>#-]*([A-Za-z0-9_-]+)[\s*]*:[\s*]*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """What one reply says.

    ``value`` is for a pair the first shown answer's share of the preference (1, 0.5, 0 or between),
    else a rating on the judge's scale, or a rubric's share of yes. It is None where the reply says
    nothing that counts; ``unscored`` then tells why.
    """

    value: float | None
    unscored: str | None = None


def read_verdict(judge: Judge, reply: Completion) -> Verdict:
    """Read a judge's reply."""
    if reply.text == IDENTICAL and not reply.token_ids and not reply.likelihoods:
        return Verdict(0.5)
    if reply.error is not None:
        kind = reply.error.partition(":")[0]
        return Verdict(None, kind if kind in (REFUSAL, LENGTH) else CALL)
    value = (
        _probability(reply.likelihoods)
        if reply.likelihoods
        else _READERS[judge.reply](judge, reply.text)
    )
    if value is not None and math.isfinite(value):
        return Verdict(value)
    # A reply that ran into its limit before the verdict says nothing about the judge's format.
    return Verdict(None, LENGTH if reply.finish_reason == "length" else PARSE)


def _probability(likelihoods: tuple[Likelihood, ...]) -> float | None:
    """Return P(first label) / (P(first) + P(second)); a label that was not listed has none."""
    first, second = (one.total for one in likelihoods)
    if max(first, second) == -math.inf:
        return None
    highest = max(first, second)
    mine, theirs = math.exp(first - highest), math.exp(second - highest)
    return mine / (mine + theirs)


def _label(judge: Judge, text: str) -> float | None:
    """Return what the only label of a one-token reply says, where no probabilities came."""
    word = text.strip()
    return 1.0 if word == judge.labels[0] else 0.0 if word == judge.labels[1] else None


def _marker(judge: Judge, text: str) -> float | None:
    """Return what the last marker says: one that is quoted from an answer comes before it."""
    first, second = judge.labels
    tie = "[[C]]"
    found = re.findall("|".join(map(re.escape, (first, second, tie))), text)
    return {first: 1.0, second: 0.0, tie: 0.5}[found[-1]] if found else None


def _rating(judge: Judge, text: str) -> float | None:
    for pattern in _RATING:
        if found := pattern.findall(text):
            return _on_scale(judge, float(found[-1]))
    return None


def _on_scale(judge: Judge, value: float) -> float | None:
    return value if judge.lowest <= value <= judge.highest else None


def _number(judge: Judge, text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _ranking(judge: Judge, text: str) -> float | None:
    """Return what AlpacaEval's list of ranks says: a Python literal and nothing else."""
    try:
        ranks = {one["model"]: one["rank"] for one in ast.literal_eval(text.strip())}
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return None
    if set(ranks) != {"model_1", "model_2"} or {*ranks.values()} != {1, 2}:
        return None
    return 1.0 if ranks["model_1"] == 1 else 0.0


def _criteria(judge: Judge, text: str) -> float | None:
    """Return the share of yes, where the reply answers each criterion exactly once."""
    said = [m.groups() for line in text.splitlines() if (m := _LINE.match(line))]
    asked = [(name, word) for name, word in said if name in judge.criteria]
    if sorted(name for name, _ in asked) != sorted(judge.criteria):
        return None
    n_yes: int = sum(word.lower() == "yes" for _, word in asked)
    return n_yes / len(asked)


_READERS = {
    "marker": _marker, "rating": _rating, "ranking": _ranking, "probabilities": _label,
    "criteria": _criteria, "number": _number,
}  # fmt: skip
