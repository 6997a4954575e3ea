"""Classification: which label was chosen, and how well choices agree with the gold ones.

Matthews' correlation for any number of labels is that of Gorodkin (2004), as in scikit-learn; an
undefined correlation or F1 counts as 0, as there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peval.scorers.choice import likeliest
from peval.types import Likelihood, Sample

SCORER_VERSION = 1

COUNT = re.compile(r"(\d+) of (\d+) right")
"""How a prediction reads that only tells how many of several runs were right."""

_NOT_ENTAILED = frozenset({"nonentailment", "notentailment"})
_NOT_ENTAILMENT = _NOT_ENTAILED | {"neutral", "contradiction"}

Pair = list[str]  # gold label, chosen label


def score_label(likelihoods: Sequence[Likelihood], sample: Sample) -> dict[str, Any]:
    """Return every metric's value for one sample.

    Parameters
    ----------
    likelihoods
        One per choice of the sample, in their order. "accuracy" compares the choices alone;
        "accuracy_full_vocabulary" asks whether the right word is the likeliest of all tokens,
        "no_label" whether none of the words is.
    """
    greedy = [c for c, one in zip(sample.choices, likelihoods, strict=True) if one.is_greedy]
    values = score_chosen(sample.choices[likeliest(likelihoods)], sample)
    values["accuracy_full_vocabulary"] = float(any(c in sample.targets for c in greedy))
    values["no_label"] = float(not greedy)
    return values


def score_chosen(chosen: str, sample: Sample) -> dict[str, Any]:
    """Return every metric's value for a label that was chosen, by whomever."""
    pair = [sample.targets[0], chosen]
    is_right = float(chosen in sample.targets)
    return {
        "accuracy": is_right, "mcc": pair, "macro_f1": pair, "micro_f1": pair,
        "accuracy_full_vocabulary": is_right, "no_label": float(chosen not in sample.choices),
    }  # fmt: skip


def score_counted(text: str) -> dict[str, Any]:
    """Return the accuracy of several runs on one sample, from how many of them were right."""
    found = COUNT.fullmatch(text)
    assert found is not None, text
    return {"accuracy": int(found[1]) / int(found[2])}


def named(text: str, labels: Sequence[str]) -> str:
    """Return the label that somebody's text names, or the text itself where it names none.

    Where there is only entailment and its absence (HANS, RTE), neutral and contradiction are that
    absence. Case and punctuation do not matter.
    """
    said = _plain(text)
    for label in labels:
        wanted = _plain(label)
        if said == wanted or (wanted in _NOT_ENTAILED and said in _NOT_ENTAILMENT):
            return label
    return text


def matthews(pairs: Sequence[Pair]) -> float:
    """Return Matthews' correlation of gold and chosen labels."""
    table = _confusion(pairs)
    n, right = float(table.sum()), float(np.trace(table))
    gold, chosen = table.sum(axis=1), table.sum(axis=0)
    spread = (n * n - chosen @ chosen) * (n * n - gold @ gold)
    return float((right * n - gold @ chosen) / np.sqrt(spread)) if spread else 0.0


def macro_f1(pairs: Sequence[Pair]) -> float:
    """Return the mean over labels, gold or chosen, of F1."""
    table = _confusion(pairs)
    sums = table.sum(axis=0) + table.sum(axis=1)
    return float(np.mean(2 * np.diag(table) / sums))


def micro_f1(pairs: Sequence[Pair]) -> float:
    """Return F1 over all labels at once, which is accuracy where each item has one label."""
    return float(np.mean([gold == chosen for gold, chosen in pairs]))


OVER_ALL = {"mcc": matthews, "macro_f1": macro_f1, "micro_f1": micro_f1}
"""The metrics that are no means of items, with their functions."""


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _confusion(pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Return counts of shape (n_labels, n_labels): gold by chosen, over the labels that occur."""
    labels = {name: i for i, name in enumerate(sorted({name for pair in pairs for name in pair}))}
    table = np.zeros((len(labels), len(labels)))
    for gold, chosen in pairs:
        table[labels[gold], labels[chosen]] += 1
    return table
