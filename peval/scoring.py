"""Completions to scores. A score has its own key, so a changed scorer never asks a model again."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from peval import hub
from peval.bridges import lm_eval_scores
from peval.bridges.lm_eval_tasks import harness_version
from peval.coding import Sandbox, is_code, score_version
from peval.corpus import Aggregate
from peval.errors import DataError, PevalError, TaskError
from peval.memorization.aggregates import aggregates as probe_aggregates
from peval.memorization.scores import SCORER_VERSION as PROBE_VERSION
from peval.memorization.scores import probe_values
from peval.metrics import describes
from peval.scorers import extraction, ifeval, labels, open_text, squad
from peval.scorers.choice import score_choice
from peval.scorers.extraction import RULES, score_answer
from peval.scorers.text import (
    SCORER_VERSION,
    Tokenize,
    default_tokenize,
    score_text,
    subword_tokenize,
)
from peval.stats import amount_interval
from peval.store import Store
from peval.types import Answered, Asked, Completion, Said, Sample, Score, Task

SQUAD = "squad"
"""The rule of tasks that are scored by words in common."""

IFEVAL = "ifeval"
"""The rule of tasks whose instructions are checked."""

_GPT2 = "openai-community/gpt2"

PROGRAMS_PER_BATCH = 512


def score_system(
    store: Store,
    task: Task,
    answered: Answered,
    ends: Sequence[str],
    sandbox: Sandbox | None = None,
) -> list[Score | None]:
    """Score one system's answers to a task's samples, reusing the scores that the store holds.

    A program's score costs most and is stored by itself; others are stored together, as a row for
    each would take longer to look up than its score takes to compute.

    Parameters
    ----------
    ends
        `key_ends` of the samples.
    sandbox
        Runs the programs of coding tasks; without it only those count that were run before.

    Returns
    -------
    list
        A score for each sample; None where an answer is still to come. The score of a sample
        with a failed request has the status "failed" and no values.
    """
    rows = list(zip(answered.samples, answered.asked, answered.said, strict=True))
    ready = [i for i, row in enumerate(rows) if _is_ready(*row)]
    lots = [(score_key([(rows[i][1], ends[i]) for i in lot]), lot) for lot in _lots(task, ready)]
    stored = store.scores(key for key, _ in lots)
    fresh = {key: lot for key, lot in lots if key not in stored}
    for batch in _batches(task, fresh) if sandbox or not is_code(task) else ():
        some = iter(_scored(task, [rows[i] for _, lot in batch for i in lot], sandbox))
        new = {key: list(islice(some, len(lot))) for key, lot in batch}
        store.add_scores(
            (key, scores)
            for key, scores in new.items()
            if all(score.status != "failed" for score in scores)
        )
        stored |= new
    found: dict[int, Score] = {}
    for key, lot in lots:
        found |= zip(lot, stored.get(key, ()), strict=key in stored)
    return [found[i] if i in found else _unscored(*row) for i, row in enumerate(rows)]


Row = tuple[Sample, Asked, Said]


def _is_ready(sample: Sample, asked: Asked, said: Said) -> bool:
    """Tell whether all of a sample's answers are there and none failed."""
    if len(said) != _n_parts(asked, sample):
        return False
    return all(one is not None and one.error is None for one in said)


def _lots(task: Task, ready: Sequence[int]) -> list[Sequence[int]]:
    """Return which samples' scores are stored together."""
    if is_code(task):
        return [(i,) for i in ready]
    return [ready] if ready else []


def _batches(
    task: Task, lots: Mapping[str, Sequence[int]]
) -> Iterator[list[tuple[str, Sequence[int]]]]:
    """Yield what is to be scored at once, some hundred programs of coding tasks."""
    rest = iter(lots.items())
    while batch := list(islice(rest, max(1, PROGRAMS_PER_BATCH // task.profile.decoding.n))):
        yield batch


def _scored(task: Task, rows: Sequence[Row], sandbox: Sandbox | None) -> list[Score]:
    samples = [sample for sample, _, _ in rows]
    answers = [[one for one in said if one is not None] for _, _, said in rows]
    if sandbox is not None and is_code(task):
        return sandbox.scores(task, [(s, one) for s, (one,) in zip(samples, answers, strict=True)])
    asked = [asked for _, asked, _ in rows]
    found = zip(asked, _values(task, samples, asked, answers), strict=True)
    return [_named(requests[0].key, values) for requests, values in found]


def _named(name: str, found: Score | Mapping[str, Any]) -> Score:
    return found if isinstance(found, Score) else Score(name, found)


def _n_parts(asked: Asked, sample: Sample) -> int:
    """Return how many answers a sample has in the end: later turns are asked one by one."""
    if not sample.follow_ups:
        return len(asked)
    return 1 + len(sample.follow_ups) * asked[0].n


def _unscored(sample: Sample, asked: Asked, said: Said) -> Score | None:
    """Return a failed score where a part failed, or None where one is still to come."""
    answers = [answer for answer in said if answer is not None]
    errors = [answer.error for answer in answers if answer.error is not None]
    # What follows an answer that failed is never asked.
    n_parts = len(asked) if errors else _n_parts(asked, sample)
    if len(answers) < n_parts:
        return None
    why = next(iter(errors), "its programs were not run")
    return Score(asked[0].key, {}, "failed", why=why)


def _values(
    task: Task,
    samples: Sequence[Sample],
    requests: Sequence[Asked],
    answers: Sequence[Sequence[Completion]],
) -> Sequence[Mapping[str, Any] | Score]:
    """Return what each sample's answers are worth by each of the task's metrics."""
    if task.reader == "lm-eval":
        return lm_eval_scores.values(task, samples, answers)
    tokenize = tokenizer_of(task)
    if task.reader == "memorization":
        return [
            probe_values(task, sample, asked, mine, tokenize)
            for sample, asked, mine in zip(samples, requests, answers, strict=True)
        ]
    if is_open(task) or task.rule == IFEVAL:
        return [_open_values(task, s, mine) for s, mine in zip(samples, answers, strict=True)]
    return [_value(task, s, one, tokenize) for s, (one,) in zip(samples, answers, strict=True)]


def _value(
    task: Task, sample: Sample, answer: Completion, tokenize: Tokenize
) -> Mapping[str, Any] | Score:
    if task.reader == "nlu":
        return _label_values(task, sample, answer)
    if task.rule is not None:
        return _by_rule(task, answer.key, answer.text, sample)
    if sample.choices and answer.likelihoods:
        return score_choice(answer.likelihoods, sample, task.metrics)
    if sample.choices:  # somebody's prediction, which names the one chosen
        is_right = answer.text.strip() in [target.strip() for target in sample.targets]
        return dict.fromkeys(task.metrics, float(is_right))
    return score_text(answer.text, sample.targets, task.metrics, tokenize)


def is_open(task: Task) -> bool:
    """Tell whether a task's answers can be described without a judge, but not scored."""
    return describes(task.metrics[0])


def _open_values(task: Task, sample: Sample, answers: Sequence[Completion]) -> Mapping[str, Any]:
    """Return what is to be said of a sample's answers; in IFEval, what the first one follows."""
    described = [metric for metric in task.metrics if metric in open_text.METRICS]
    values: dict[str, Any] = dict(open_text.score_open(answers, described))
    if task.rule == IFEVAL:
        values |= ifeval.score_ifeval(answers[0].text, sample)
    return {metric: values[metric] for metric in task.metrics}


def _label_values(task: Task, sample: Sample, answer: Completion) -> Mapping[str, Any]:
    if answer.likelihoods:
        values = labels.score_label(answer.likelihoods, sample)
    elif task.settings.get("counts"):
        values = labels.score_counted(answer.text)
    else:  # somebody's prediction
        values = labels.score_chosen(labels.named(answer.text.strip(), sample.choices), sample)
    return {metric: values[metric] for metric in task.metrics}


def aggregates(task: Task) -> Mapping[str, Aggregate]:
    """Return, for metrics that are not plain means of items in [0, 1], how they are computed."""
    if task.reader == "memorization":
        return probe_aggregates(task)
    if task.reader == "nlu":
        return {name: Aggregate(compute) for name, compute in labels.OVER_ALL.items()}
    if task.reader == "judge":
        return {"rating": Aggregate(statistics.fmean, other_scale=True)}
    if task.reader == "lm-eval":
        return lm_eval_scores.aggregations(task)
    found = {m: Aggregate(f, interval=amount_interval) for m, f in open_text.LENGTHS.items()}
    if task.rule == IFEVAL:
        found |= {m: Aggregate(f, of_shares=True) for m, f in ifeval.OVER_ALL.items()}
    return {m: how for m, how in found.items() if m in task.metrics}


def _by_rule(task: Task, key: str, text: str, sample: Sample) -> Score:
    if task.rule == SQUAD:
        return squad.score_squad(key, text, sample.targets)
    return score_answer(key, text, sample.targets, rule_of(task))


def rule_of(task: Task) -> extraction.Rule:
    """Return how a task's answers are found in longer texts; some differ by profile.

    Raises
    ------
    TaskError
        There is no such rule.
    """
    name = str(task.rule).format(profile=task.profile.prompt)
    if name not in RULES:
        raise TaskError(f"{task.name}: no rule {name!r}; known: {', '.join(RULES)}")
    return RULES[name]


def score_prediction(
    prediction: str, sample: Sample, task: Task, tokenize: Tokenize
) -> dict[str, Any]:
    """Score a text that no model said; among choices it is the one chosen."""
    if task.rule is not None:
        return dict(_by_rule(task, sample.id, prediction, sample).values)
    if task.reader == "nlu":
        values = labels.score_chosen(prediction, sample)
        return {metric: values[metric] for metric in task.metrics}
    if sample.choices:
        return dict.fromkeys(task.metrics, float(prediction in sample.targets))
    return score_text(prediction, sample.targets, task.metrics, tokenize)


def score_key(lot: Iterable[tuple[Asked, str]]) -> str:
    """Return the hash of everything that can change scores stored together.

    Each is given as its requests and what `key_ends` says of its sample.
    """
    texts = []
    for asked, end in lot:
        keys = '", "'.join([one.key for one in asked])
        texts.append(f'[["{keys}"], {end}')
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def key_ends(task: Task, samples: Sequence[Sample]) -> list[str]:
    """Return for each sample what its score's key ends in, whoever answered."""
    return [_key_end(task, sample) for sample in samples]


def _key_end(task: Task, sample: Sample) -> str:
    parts: list[Any] = [SCORER_VERSION, task.metrics, task.tokenizer]
    parts += [sample.targets, sample.choices]
    if task.reader == "lm-eval":
        parts += [harness_version(), task.settings.get("config_sha256")]
    if task.reader == "memorization":
        parts += [sample.id, sample.cluster, dict(task.settings), PROBE_VERSION]
    if is_code(task):
        parts += [score_version(task), sample.problem]
    if task.reader == "nlu":
        parts.append(labels.SCORER_VERSION)
    if is_open(task) or task.rule == IFEVAL:
        parts.append(open_text.SCORER_VERSION)
    if task.rule == IFEVAL:
        parts += [sample.input, sample.problem, ifeval.version()]
    elif task.rule is not None:
        version = squad.SCORER_VERSION if task.rule == SQUAD else extraction.SCORER_VERSION
        parts.append([task.rule, task.profile.prompt, version])
    return json.dumps(parts)[1:]


def tokenizer_of(task: Task) -> Tokenize:
    """Return how ROUGE splits this task's texts.

    Raises
    ------
    DataError
        If the task needs GPT-2's tokenizer and it is neither cached nor reachable, or IFEval's
        checkers and they are not installed.
    """
    if task.rule == IFEVAL:
        ifeval.checkers()
    if task.tokenizer == "default":
        return default_tokenize
    try:
        path = hub.download(_GPT2, ["*.json", "merges.txt"])
    except PevalError as fault:
        raise DataError(
            f"{task.name} is scored on the tokens of {_GPT2}: {fault}; download that tokenizer "
            "once, or choose another task"
        ) from fault
    from transformers import AutoTokenizer  # seconds, for nothing where the files are missing

    return subword_tokenize(AutoTokenizer.from_pretrained(path))
