"""The blind check: whether texts alone, without any model, tell members from non-members.

Where they do, membership attacks may find the difference between two kinds of text, not memory
(Das, Zhang and Tramer, arXiv 2406.16201).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from peval.stats import Interval, auroc_interval

FOLDS = 5
_WORD = re.compile(r"\w+|[^\w\s]")


def blind_check(members: Sequence[str], others: Sequence[str]) -> Interval:
    """Return the AUROC of a bag-of-words classifier that never sees a text it judges.

    Multinomial naive Bayes with add-one smoothing over words and signs, cross-validated in five
    folds (every fifth text of each kind).
    """
    texts = [_words(text) for text in (*members, *others)]
    labels = [True] * len(members) + [False] * len(others)
    folds = [i % FOLDS for i in range(len(members))] + [i % FOLDS for i in range(len(others))]
    scores = [0.0] * len(texts)
    for fold in range(FOLDS):
        seen = [(t, label) for t, label, f in zip(texts, labels, folds, strict=True) if f != fold]
        odds = _log_odds(seen)
        for i, text in enumerate(texts):
            if folds[i] == fold:
                scores[i] = math.fsum(n * odds.get(word, 0.0) for word, n in text.items())
    return auroc_interval(scores, labels, [str(i) for i in range(len(texts))])


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.lower()))


def _log_odds(seen: Sequence[tuple[Counter[str], bool]]) -> dict[str, float]:
    """Return how much each word speaks for membership."""
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for words, label in seen:
        counts[label].update(words)
    vocabulary = counts[True].keys() | counts[False].keys()
    totals = {label: c.total() + len(vocabulary) for label, c in counts.items()}
    return {
        word: math.log((counts[True][word] + 1) / totals[True])
        - math.log((counts[False][word] + 1) / totals[False])
        for word in vocabulary
    }
