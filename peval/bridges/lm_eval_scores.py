"""Answers to lm-evaluation-harness tasks, scored by lm-eval's own code."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from peval.bridges.lm_eval_samples import built_instances, harness_task, metric_name
from peval.bridges.lm_eval_tasks import UNSANDBOXED
from peval.corpus import Aggregate
from peval.types import Completion, Sample, Score, Task

Value = float | list[Any]


def values(
    task: Task, samples: Sequence[Sample], answers: Sequence[Sequence[Completion]]
) -> list[dict[str, Value] | Score]:
    """Return what lm-eval makes of each sample's answers, by metric.

    Parameters
    ----------
    samples, answers
        Samples with the completions of all their parts, in the same order; filters see these
        samples and no others.

    Returns
    -------
    list of dict or Score
        A number, or where lm-eval scores only all documents together, what that needs. A score
        says "unparsed" where no filter of the task's found an answer.
    """
    harness = harness_task(task)
    if task.settings.get(UNSANDBOXED):  # a person's consent, which the metric asks for in its way
        os.environ.setdefault("HF_ALLOW_CODE_EVAL", "1")
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
    fallbacks = [_fallbacks(ensemble) for ensemble in harness._filters]
    return [
        Score(mine[0].key, found, "unparsed", why="no answer found in the text")
        if _is_unparsed(instances, fallbacks)
        else found
        for mine, instances, found in (
            (mine, instances, _scored(harness, instances))
            for mine, instances in zip(answers, asked, strict=True)
        )
    ]


def _fallbacks(ensemble: Any) -> set[str]:
    """Return what a filter's steps put in the place of an answer that they do not find."""
    steps = [step() for step in ensemble.filters]
    found = [getattr(step, "fallback", None) for step in steps]
    return {one for one in found if isinstance(one, str) and one}


def _is_unparsed(instances: Sequence[Any], fallbacks: Sequence[set[str]]) -> bool:
    """Tell whether every filter's result for a document is what stands for none."""
    if not all(fallbacks) or not fallbacks:
        return False
    results = [list(instance.filtered_resps.values()) for instance in instances]
    return all(
        isinstance(one, str) and one in fallback
        for row in results
        for one, fallback in zip(row, fallbacks, strict=True)
    )


def aggregations(task: Task) -> dict[str, Aggregate]:
    """Return, by metric, lm-eval's way from documents' values to one number."""
    harness = harness_task(task)
    filters = [one.name for one in harness._filters]
    return {
        metric_name(metric, name): Aggregate(_quiet(function), metric.endswith("perplexity"))
        for metric, function in harness.aggregation().items()
        for name in filters
    }


def _quiet(compute: Callable[[Any], Any]) -> Callable[[list[Any]], float]:
    """Return a way to compute without warnings: the jackknife meets parts of one label only."""

    def computed(items: list[Any]) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(compute(items))

    return computed


def _answered(instances: Sequence[Any], sample: Sample, answers: Sequence[Completion]) -> list[Any]:
    """Return copies of a document's requests that hold the answers."""
    responses = _responses(sample, answers)
    found = []
    for instance, response in zip(instances, responses, strict=True):
        twin = copy.copy(instance)
        said = response if isinstance(response, list) else [response]
        repeats = instance.repeats or 1
        twin.resps, twin.filtered_resps = said if len(said) == repeats else said * repeats, {}
        found.append(twin)
    return found


def _responses(sample: Sample, answers: Sequence[Completion]) -> list[Any]:
    """Return what lm-eval expects: lists of texts, (log-probability, is greedy) or a sum."""
    if sample.queries[0].rolling:
        return [sum(one.total for answer in answers for one in answer.likelihoods)]
    if not sample.queries[0].continuations:
        return [[one.text for one in answer.drawn] for answer in answers]
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
