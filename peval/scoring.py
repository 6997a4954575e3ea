"""Completions to scores. A score has its own key, so a changed scorer never asks a model again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from peval.errors import DataError
from peval.scorers.choice import score_choice
from peval.scorers.text import (
    SCORER_VERSION,
    Tokenize,
    default_tokenize,
    score_text,
    subword_tokenize,
)
from peval.store import Store
from peval.types import Completion, Request, Sample, Score, Task

Asked = tuple[Request, ...]  # what one system was asked of one sample, part by part


def by_system_and_sample(requests: Iterable[Request]) -> dict[str | None, dict[str, Asked]]:
    """Return the requests of one task by adapter (None: the base) and sample id."""
    found: dict[str | None, dict[str, Asked]] = {}
    for request in requests:
        by_id = found.setdefault(request.adapter, {})
        by_id[request.sample_id] = (*by_id.get(request.sample_id, ()), request)
    return found


def score_system(
    store: Store,
    task: Task,
    samples: Sequence[Sample],
    requests: Sequence[Asked],
    completions: Mapping[str, Completion],
) -> list[Score | None]:
    """Score one system's answers to one task, reusing the scores that the store holds.

    Parameters
    ----------
    samples, requests
        The task's samples and the system's requests for each, in the same order.
    completions
        By request key.

    Returns
    -------
    list
        A score for each sample; None where a completion is still to come. The score of a sample
        with a failed request has the status "failed" and no values.
    """
    keys = [score_key(asked, task, s) for asked, s in zip(requests, samples, strict=True)]
    known = store.scores(keys)
    tokenize = tokenizer_of(task)
    new: dict[str, Score] = {}
    scores: list[Score | None] = []
    for key, asked, sample in zip(keys, requests, samples, strict=True):
        answers = [completions[r.key] for r in asked if r.key in completions]
        why = next((answer.error for answer in answers if answer.error is not None), None)
        if len(answers) < len(asked):
            scores.append(None)
        elif why is not None:
            scores.append(Score(asked[0].key, {}, "failed", why=why))
        else:
            if key not in known and key not in new:
                values = _values(answers, sample, task, tokenize)
                new[key] = Score(asked[0].key, values)
            scores.append(known.get(key) or new[key])
    store.add_scores(new.items())
    return scores


def _values(
    answers: Sequence[Completion], sample: Sample, task: Task, tokenize: Tokenize
) -> dict[str, float]:
    """Return what one sample's answers are worth by each of the task's metrics."""
    (answer,) = answers
    if sample.choices:
        return score_choice(answer.likelihoods, sample, task.metrics)
    return score_text(answer.text, sample.targets, task.metrics, tokenize)


def score_prediction(
    prediction: str, sample: Sample, task: Task, tokenize: Tokenize
) -> dict[str, float]:
    """Score a text that no model said; among choices it is the one chosen."""
    if sample.choices:
        return dict.fromkeys(task.metrics, float(prediction in sample.targets))
    return score_text(prediction, sample.targets, task.metrics, tokenize)


def score_key(asked: Asked, task: Task, sample: Sample) -> str:
    """Return the hash of everything that can change a score."""
    parts: list[Any] = [[r.key for r in asked], SCORER_VERSION, task.metrics, task.tokenizer]
    parts += [sample.targets, sample.choices]
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
