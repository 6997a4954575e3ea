"""Completions to scores. A score has its own key, so a changed scorer never asks a model again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from peval.errors import DataError
from peval.scorers.text import (
    SCORER_VERSION,
    Tokenize,
    default_tokenize,
    score_text,
    subword_tokenize,
)
from peval.store import Store
from peval.types import Completion, Request, Sample, Score, Task


def score_system(
    store: Store,
    task: Task,
    samples: Sequence[Sample],
    requests: Sequence[Request],
    completions: Mapping[str, Completion],
) -> list[Score | None]:
    """Score one system's answers to one task, reusing the scores that the store holds.

    Parameters
    ----------
    samples, requests
        The task's samples and the system's request for each, in the same order.
    completions
        By request key.

    Returns
    -------
    list
        A score for each sample; None where there is no completion yet. A failed request's score
        has the status "failed" and no values.
    """
    keys = [score_key(r.key, task, s) for r, s in zip(requests, samples, strict=True)]
    known = store.scores(keys)
    tokenize = tokenizer_of(task)
    new: dict[str, Score] = {}
    scores: list[Score | None] = []
    for key, request, sample in zip(keys, requests, samples, strict=True):
        completion = completions.get(request.key)
        if completion is None:
            scores.append(None)
        elif completion.error is not None:
            scores.append(Score(request.key, {}, "failed", why=completion.error))
        else:
            if key not in known and key not in new:
                values = score_text(completion.text, sample.targets, task.metrics, tokenize)
                new[key] = Score(request.key, values)
            scores.append(known.get(key) or new[key])
    store.add_scores(new.items())
    return scores


def score_key(request_key: str, task: Task, sample: Sample) -> str:
    """Return the hash of everything that can change a score."""
    parts = [request_key, SCORER_VERSION, task.metrics, task.tokenizer, sample.targets]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def tokenizer_of(task: Task) -> Tokenize:
    """Return how ROUGE splits this task's texts.

    Raises
    ------
    DataError
        If the task needs GPT-2's tokenizer and it is neither cached nor reachable.
    """
    if task.tokenizer == "default":
        return default_tokenize
    from transformers import AutoTokenizer

    try:
        return subword_tokenize(AutoTokenizer.from_pretrained("gpt2"))
    except OSError as error:
        raise DataError(
            f"{task.name} is scored on GPT-2's tokens: the tokenizer gpt2 is neither in the hub's "
            "cache nor reachable; download it once, or choose another task"
        ) from error
