"""Scores of free-text answers: ROUGE-L, ROUGE-1 and exact match against alternative targets.

The definitions are those of the official Super-NaturalInstructions evaluation: the best value over
an item's targets, then the plain mean over items.

References
----------
.. [1] https://github.com/yizhongw/Tk-Instruct, src/compute_metrics.py at commit 7c0e4000.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from functools import lru_cache

from peval.errors import DataError, TaskError
from peval.scorers.rouge import Tokenize, default_tokenize, rouge_1, rouge_l, subword_tokenize
from peval.spelling import meant

__all__ = [
    "METRICS",
    "SCORER_VERSION",
    "Tokenize",
    "default_tokenize",
    "official_metrics",
    "score_text",
    "subword_tokenize",
]

SCORER_VERSION = "1"
"""Part of every text score's key: raise it with any change that could alter a value."""

_OVERLAP = {"rougeL": rouge_l, "rouge1": rouge_1}
METRICS = (*_OVERLAP, "exact_match")

_OFFICIAL_ORDER = ("exact_match", "rouge1", "rougeL")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def score_text(
    prediction: str,
    targets: Sequence[str],
    metrics: Sequence[str],
    tokenize: Tokenize = default_tokenize,
) -> dict[str, float]:
    """Score one answer: for each metric the best value over the targets.

    Parameters
    ----------
    prediction
        The answer, as the model gave it.
    targets
        At least one; any of them is right.
    metrics
        Names out of ``METRICS``.
    tokenize
        How ROUGE splits texts. Keep one function for many calls: what it makes of targets is kept.

    Returns
    -------
    dict of str to float
        Fractions in [0, 1], in the order of ``metrics``.

    Raises
    ------
    TaskError
        For a metric that does not exist.
    DataError
        If there is no target.

    Examples
    --------
    >>> score_text("the cats sat", ("A cat sat.", "dogs"), ("exact_match", "rouge1"))
    {'exact_match': 0.0, 'rouge1': 0.6666666666666666}
    """
    _check(targets, metrics)
    values = dict.fromkeys(metrics, 0.0)
    if "exact_match" in values:
        values["exact_match"] = _exact_match(prediction, targets)
    if overlaps := [metric for metric in values if metric in _OVERLAP]:
        said = tokenize(prediction)
        wanted = [_target_tokens(tokenize, target) for target in targets]
        for metric in overlaps:
            values[metric] = max(_OVERLAP[metric](said, tokens) for tokens in wanted)
    return values


def official_metrics(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    groups: Mapping[str, str] | None = None,
    tokenize: Tokenize = default_tokenize,
) -> dict[str, float]:
    """Score predictions in the official script's way: its keys, percent, four decimals.

    Parameters
    ----------
    predictions, references
        Answers and targets by item. A missing answer counts as the empty string; answers to
        unknown items are left out.
    groups
        The group of each item, such as its task or category.
    tokenize
        As in `score_text`.

    Returns
    -------
    dict of str to float
        ``exact_match``, ``rouge1`` and ``rougeL`` over all items, then the same as
        ``{metric}_for_{group}``, groups in the order of their first item.

    Raises
    ------
    DataError
        If there are no references, or an item has no target or no group.
    """
    scores = {
        item: score_text(predictions.get(item, ""), targets, _OFFICIAL_ORDER, tokenize)
        for item, targets in references.items()
    }
    if not scores:
        raise DataError("no references to score against: give at least one item with its targets")
    results = _rounded_means(list(scores.values()))
    if groups is not None:
        for group, members in _by_group(scores, groups).items():
            for metric, value in _rounded_means(members).items():
                results[f"{metric}_for_{group}"] = value
    return results


def _check(targets: Sequence[str], metrics: Sequence[str]) -> None:
    if not targets:
        raise DataError("an item has no targets to score against: give it one or leave it out")
    for metric in metrics:
        if metric not in METRICS:
            raise TaskError(f"no text metric is called {metric!r}; {meant(metric, METRICS)}")


@lru_cache(maxsize=1 << 15)
def _target_tokens(tokenize: Tokenize, target: str) -> tuple[str, ...]:
    # Every adapter is scored against the same targets.
    return tuple(tokenize(target))


def _exact_match(prediction: str, targets: Sequence[str]) -> float:
    said = _normalized(prediction)
    return float(any(said == _normalized(target) for target in targets))


def _normalized(text: str) -> str:
    # As for SQuAD, but articles stay: "the" may be the answer.
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def _rounded_means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    means = {}
    for metric in _OFFICIAL_ORDER:
        total = 0.0
        # Not sum(): from Python 3.12 on it compensates rounding, which the official script's
        # plain additions do not.
        for row in rows:
            total += row[metric]
        means[metric] = round(100.0 * total / len(rows), 4)
    return means


def _by_group(
    scores: Mapping[str, dict[str, float]], groups: Mapping[str, str]
) -> dict[str, list[dict[str, float]]]:
    members: dict[str, list[dict[str, float]]] = {}
    for item, values in scores.items():
        if item not in groups:
            raise DataError(f"item {item!r} has no group: give every item one, or give no groups")
        members.setdefault(groups[item], []).append(values)
    return members
