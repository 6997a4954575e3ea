"""What can be said of open answers without a judge: length, refusals, loops, variety."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peval.types import Completion, Drawn

SCORER_VERSION = "1"

MIN_REPEATS = 3
MIN_LOOP_CHARACTERS = 100
LOOKED_AT_CHARACTERS = 6_000

_REFUSALS = (
    "i'm sorry", "i am sorry", "sorry, but", "sorry, i", "i apologize", "my apologies",
    "i cannot", "i can't", "i can not", "i'm unable", "i am unable", "i'm not able",
    "i am not able", "i won't", "i will not", "i must decline", "unfortunately, i can",
    "as an ai", "as a language model", "as a large language model", "i'm just an ai",
    "i am just an ai",
)  # fmt: skip


def score_open(answers: Sequence[Completion], metrics: Sequence[str]) -> dict[str, float | None]:
    """Return the mean of each metric over all texts that were said on one sample.

    A metric is None where it has no value for any of them.
    """
    texts = [text for answer in answers for text in answer.drawn]
    found: dict[str, float | None] = {}
    for metric in metrics:
        values = [value for text in texts if (value := METRICS[metric](text)) is not None]
        found[metric] = sum(values) / len(values) if values else None
    return found


def is_refusal(text: str) -> bool:
    """Tell whether an answer begins as refusals in English do; other refusals are not seen.

    >>> is_refusal(" I’m sorry, but I can't help with that.")
    True
    """
    start = " ".join(text[:200].split()).replace("’", "'").lower()
    return start.startswith(_REFUSALS)


def ends_in_loop(text: str) -> bool:
    """Tell whether an answer ends in one piece of text, said over and over.

    Its end, without white space at either side, has a period: it consists of at least 3
    repetitions of one piece, of which the last may be incomplete after two whole ones and more,
    and has at least 100 characters. The last 6,000 characters are looked at. Repetitions that
    change, as in a list that counts on, are no loop.

    >>> ends_in_loop("The answer is " + "very " * 30 + "ve")
    True
    >>> ends_in_loop("Ha ha ha ha!")
    False
    """
    end = text.strip()[-LOOKED_AT_CHARACTERS:][::-1]
    return any(
        period + same >= max(MIN_REPEATS * period, MIN_LOOP_CHARACTERS)
        for period, same in enumerate(_common_starts(end))
        if period
    )


def _common_starts(text: str) -> list[int]:
    """Return, by position, how many characters from there on are those of the text's start.

    This is the Z function (Gusfield, Algorithms on Strings, 1997, section 1.3), in linear time.
    """
    found = [len(text)] + [0] * (len(text) - 1) if text else []
    left = right = 0
    for i in range(1, len(text)):
        if i < right:
            found[i] = min(right - i, found[i - left])
        while i + found[i] < len(text) and text[found[i]] == text[i + found[i]]:
            found[i] += 1
        if i + found[i] > right:
            left, right = i, i + found[i]
    return found


def distinct(text: str, n: int) -> float | None:
    """Return the share of an answer's n-grams of words that are different ones; None without any.

    References
    ----------
    Li et al., arXiv 1510.03055, there over all answers at once and per word.
    """
    words = text.split()
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


METRICS: dict[str, Callable[[Drawn], float | None]] = {
    "loops": lambda one: float(ends_in_loop(one.text)),
    "refusals": lambda one: float(is_refusal(one.text)),
    "truncated": lambda one: float(one.finish_reason == "length"),
    # What somebody else generated comes without tokens.
    "tokens": lambda one: float(len(one.token_ids)) if one.token_ids or not one.text else None,
    "characters": lambda one: float(len(one.text)),
    "distinct-1": lambda one: distinct(one.text, 1),
    "distinct-2": lambda one: distinct(one.text, 2),
}
"""By name, what an answer's text and end make of it. The first is the headline of open tasks."""

OPEN_METRICS = tuple(METRICS)


def _mean(values: list[Any]) -> float:
    return float(sum(values) / len(values))


LENGTHS: dict[str, Callable[[list[Any]], float]] = {"tokens": _mean, "characters": _mean}
"""How what is no share becomes one number."""
