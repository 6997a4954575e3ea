r"""F1 and exact match of SQuAD 1.1, and the containment recall that the Tulu evaluations add.

References
----------
.. [1] Rajpurkar et al., 2016 (arXiv 1606.05250); the official script, as in
   https://github.com/huggingface/evaluate, metrics/squad/compute_score.py.
.. [2] https://github.com/allenai/open-instruct, eval/tydiqa/run_eval.py at commit f745360.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from peval.errors import DataError
from peval.types import Score

SCORER_VERSION = "1"
"""Part of every score's key: raise it with any change that could alter a value."""

METRICS = ("f1", "exact_match", "recall")

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def score_squad(key: str, prediction: str, targets: Sequence[str]) -> Score:
    """Score one answer: for each metric the best value over the targets.

    ``f1`` and ``exact_match`` go without case, ASCII punctuation and English articles, whatever the
    language. ``recall`` is 1 if the answer contains a target, case ignored.

    Raises
    ------
    DataError
        There is no target.

    Examples
    --------
    >>> score_squad("q1", "The blue cat.", ["cat", "a blue dog"]).values
    {'f1': 0.6666666666666666, 'exact_match': 0.0, 'recall': 1.0}
    """
    if not targets:
        raise DataError(f"{key}: no target to score against: give it one or leave it out")
    said = _normalized(prediction)
    wanted = [_normalized(target) for target in targets]
    lowered = prediction.strip().lower()
    values = {
        "f1": max(_f1(said.split(), target.split()) for target in wanted),
        "exact_match": float(said in wanted),
        "recall": float(any(target.strip().lower() in lowered for target in targets)),
    }
    return Score(key, values, extracted=prediction.strip())


def _f1(said: Sequence[str], wanted: Sequence[str]) -> float:
    n_common = sum((Counter(said) & Counter(wanted)).values())
    if n_common == 0:  # also where both are empty: the official script gives 0, not 1
        return 0.0
    precision = n_common / len(said)
    recall = n_common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def _normalized(text: str) -> str:
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())
