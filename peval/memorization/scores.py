"""A probe's answers to item scores: numbers that any estimate can be made from without a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from peval.memorization import attacks
from peval.memorization.aggregates import NLL
from peval.memorization.exposure import exposure, extrapolated_exposure
from peval.memorization.extraction import MEASURES, extraction
from peval.memorization.prompts import prefixes_of
from peval.memorization.sets import GAPS, MEMBER, SHOT, TRAINED, set_of
from peval.memorization.space import parse_space
from peval.scorers.text import METRICS, Tokenize, score_text
from peval.types import Asked, Completion, Likelihood, Sample, Task

SCORER_VERSION = "1"
"""Part of every score's key: raise it with any change that could alter a value."""


def probe_values(
    task: Task,
    sample: Sample,
    requests: Asked,
    answers: Sequence[Completion],
    tokenize: Tokenize,
) -> Mapping[str, Any]:
    """Return what one sample's answers show, by the probe's metrics."""
    if task.settings["probe"] == "tasks":
        return _task_values(task, sample, answers, tokenize)
    if task.settings["probe"] == "extraction":
        return _extraction_values(task, requests, answers)
    if task.settings["probe"] == "membership":
        return _attack_values(task, sample, answers)
    return _exposure_values(sample, answers[0])


def _task_values(
    task: Task, sample: Sample, answers: Sequence[Completion], tokenize: Tokenize
) -> dict[str, Any]:
    """Return text scores, and the negative log-likelihood of the target with its tokens."""
    found = answers[-1].likelihoods[0]
    own: dict[str, Any] = {NLL: [-found.total, len(found.logprobs)]}
    if len(answers) > 1:
        names = [metric for metric in task.metrics if metric in METRICS]
        own |= score_text(answers[0].text, sample.targets, names, tokenize)
    gaps: dict[str, Any] = {}
    for metric in task.metrics:
        for ending, other in GAPS.items():
            value = own.get(metric.removesuffix(ending))
            if metric.endswith(ending) and value is not None:
                gaps[metric] = _side(value, set_of(sample), other)
    return own | gaps


def _side(value: Any, name: str, other: str) -> list[float] | None:
    """Return what a gap needs of a sample: its side and value; None if it is in neither set."""
    if name not in (TRAINED, other):
        return None
    return [float(name == TRAINED), *(value if isinstance(value, list) else [value])]


def _extraction_values(
    task: Task, requests: Asked, answers: Sequence[Completion]
) -> dict[str, Any]:
    """Return each measure at each prefix length; None where the record is too short."""
    values: dict[str, Any] = dict.fromkeys(task.metrics)
    pairs = zip(requests[::2], requests[1::2], answers[::2], answers[1::2], strict=False)
    for k, (_, asked, said, scored) in zip(prefixes_of(task), pairs, strict=False):
        found = extraction(said.token_ids, asked.choices[0], scored.likelihoods[0])
        values |= {f"{measure}@{k}": found[measure] for measure in MEASURES}
    return values


def _attack_values(
    task: Task, sample: Sample, answers: Sequence[Completion]
) -> dict[str, list[float] | None]:
    """Return each attack's score with whether the sample is a member; None for a shot."""
    name = set_of(sample)
    if name == SHOT:
        return dict.fromkeys(task.metrics)
    found, lowered, after = (answer.likelihoods[0] for answer in answers)
    whole = task.settings["scope"] == "document" and sample.input
    text = sample.input + sample.targets[0] if whole else sample.targets[0]
    scores = attack_scores(found, lowered, after, text)
    return {f"auroc,{attack}": [s, float(name == MEMBER)] for attack, s in scores.items()}


def attack_scores(
    found: Likelihood, lowered: Likelihood, after_others: Likelihood, text: str
) -> dict[str, float]:
    """Return the score of each attack on one text; higher speaks for membership."""
    return {
        "loss": attacks.mean_logprob(found),
        "zlib": attacks.zlib_ratio(found, text),
        "lowercase": attacks.lowercase_ratio(found, lowered),
        "min_k": attacks.min_k(found),
        "min_k_plus": attacks.min_k_plus(found),
        "recall": attacks.recall(found, after_others),
    }


def _exposure_values(sample: Sample, answer: Completion) -> dict[str, list[float]]:
    """Return exposures, each with the most that it can be."""
    secret, *others = (one.total for one in answer.likelihoods)
    n_secrets = parse_space(sample.cluster).size
    return {
        "exposure": [exposure(secret, others), math.log2(len(others) + 1)],
        "exposure_extrapolated": [
            extrapolated_exposure(secret, others, n_secrets), math.log2(n_secrets),
        ],
    }  # fmt: skip
