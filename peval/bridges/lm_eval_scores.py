"""Answers to lm-evaluation-harness tasks, scored by lm-eval's own code."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain
from typing import Any

from peval.bridges.lm_eval_samples import built_instances, harness_task, metric_name
from peval.corpus import Aggregate
from peval.types import Completion, Sample, Task

Value = float | list[Any]


def values(
    task: Task, samples: Sequence[Sample], answers: Sequence[Sequence[Completion]]
) -> list[dict[str, Value]]:
    """Return what lm-eval makes of each sample's answers, by metric.

    Parameters
    ----------
    samples, answers
        Samples with the completions of all their parts, in the same order; filters see these
        samples and no others.

    Returns
    -------
    list of dict
        A number, or where lm-eval scores only all documents together, what that needs.
    """
    harness = harness_task(task)
    by_doc: dict[int, list[Any]] = {}
    for instance in built_instances(task):
        by_doc.setdefault(instance.doc_id, []).append(instance)
    asked = [
        _answered(by_doc[int(sample.id)], sample, mine)
        for sample, mine in zip(samples, answers, strict=True)
    ]
    everything = list(chain.from_iterable(asked))
    for ensemble in harness._filters:
        ensemble.apply(everything)
    return [_scored(harness, instances) for instances in asked]


def aggregations(task: Task) -> dict[str, Aggregate]:
    """Return, by metric, lm-eval's way from documents' values to one number."""
    harness = harness_task(task)
    filters = [one.name for one in harness._filters]
    return {
        metric_name(metric, name): Aggregate(function, metric.endswith("perplexity"))
        for metric, function in harness.aggregation().items()
        for name in filters
    }


def _answered(instances: Sequence[Any], sample: Sample, answers: Sequence[Completion]) -> list[Any]:
    """Return copies of a document's requests that hold the answers."""
    responses = _responses(sample, answers)
    found = []
    for instance, response in zip(instances, responses, strict=True):
        twin = copy.copy(instance)
        twin.resps, twin.filtered_resps = [response] * (instance.repeats or 1), {}
        found.append(twin)
    return found


def _responses(sample: Sample, answers: Sequence[Completion]) -> list[Any]:
    """Return what lm-eval expects of a model: texts, (log-probability, is greedy) or a sum."""
    if sample.queries[0].rolling:
        return [sum(one.total for answer in answers for one in answer.likelihoods)]
    if not sample.queries[0].continuations:
        return [answer.text for answer in answers]
    found = chain.from_iterable(answer.likelihoods for answer in answers)
    return [(one.total, one.is_greedy) for one in found]


def _scored(harness: Any, instances: Sequence[Any]) -> dict[str, Value]:
    """Return one document's values under every filter."""
    found: dict[str, Value] = {}
    for name in instances[0].filtered_resps:
        results = [instance.filtered_resps[name] for instance in instances]
        for metric, value in harness.process_results(instances[0].doc, results).items():
            found[metric_name(metric, name)] = _plain(value)
    return found


def _plain(value: Any) -> Value:
    if isinstance(value, (list, tuple)):
        return [_plain(one) if not isinstance(one, str) else one for one in value]
    return float(value)
