"""One system's answers to one task as columns of Arrow, a row for each text that was drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from peval.scorers.choice import likeliest
from peval.types import Answered, Completion, Drawn, Posed, Sample, Score

OF_SAMPLES = ("sample_id", "category", "cluster", "input", "targets")  # in `of_samples`

Found = Sequence[Completion | None]


def of_answers() -> list[tuple[str, Any]]:
    """Return the names and types of the columns that tell of answers."""
    import pyarrow as pa

    return [
        ("text", pa.string()), ("finish_reason", pa.string()), ("n_tokens", pa.int32()),
        ("error", pa.string()), ("prompt_was_cut", pa.bool_()), ("part", pa.int32()),
        ("draw", pa.int32()), ("status", pa.string()),
        ("chosen", pa.string()),  # the likeliest choice
        ("outcome", pa.string()), ("program", pa.string()),  # of coding tasks
        ("logprobs", pa.list_(pa.float64())),  # the sum over each choice's tokens
    ]  # fmt: skip


def metrics_of(table: Any) -> list[str]:
    """Return the metrics that a table of `table_of` has columns for."""
    known = {"sample", "key", "later", *(name for name, _ in of_answers())}
    return [name for name in table.column_names if name not in known]


def of_samples(samples: Sequence[Sample]) -> Any:
    """Return a task's samples as columns."""
    import pyarrow as pa

    text = pa.string()
    return pa.table({
        "sample_id": pa.array([s.id for s in samples], text),
        "category": pa.array([s.category for s in samples], text),
        "cluster": pa.array([s.cluster for s in samples], text),
        "input": pa.array([s.input for s in samples], text),
        "targets": pa.array([s.targets for s in samples], pa.list_(text)),
    })  # fmt: skip


def table_of(answered: Answered, scores: Sequence[Score | None]) -> Any:
    """Return one system's answers as columns, those of metrics last.

    ``sample`` is the sample's number among these, ``later`` a later turn's question.
    """
    import pyarrow as pa

    posed = list(chain.from_iterable(answered.asked))
    found = list(chain.from_iterable(answered.said))
    sample = np.repeat(np.arange(len(scores)), list(map(len, answered.asked)))
    request = np.repeat(np.arange(len(found)), list(map(_n_draws, found)))
    columns = {"sample": sample[request]} | _of_draws(found)
    asked_of = [answered.samples[i] for i in sample.tolist()]
    columns |= _chosen_rows(_of_requests(asked_of, posed, found), request)
    of_scores = {"status": pa.array([s.status if s else None for s in scores], pa.string())}
    if any(s and s.judged for s in scores):
        columns |= _of_programs([scores[i] for i in sample[request]], columns["draw"].to_pylist())
    values = [s.values if s else {} for s in scores]
    for metric in sorted(set(chain.from_iterable(values))):
        of_scores[metric] = _metric([of.get(metric) for of in values])
    columns |= _chosen_rows(of_scores, sample[request])
    return pa.table(columns)


def _chosen_rows(columns: Mapping[str, Any], rows: Any) -> dict[str, Any]:
    if all(np.array_equal(rows, np.arange(len(column))) for column in columns.values()):
        return dict(columns)  # a copy of a million rows takes its time
    return {name: column.take(rows) for name, column in columns.items()}


def _n_draws(answer: Completion | None) -> int:
    return 1 if answer is None or answer.error is not None else 1 + len(answer.more)


def _of_draws(found: Found) -> dict[str, Any]:
    """Return what was drawn; nulls for a request without an answer."""
    import pyarrow as pa

    drawn: list[Completion | Drawn | None] = list(found)
    draws = [0] * len(drawn)
    if any(answer and answer.more for answer in found):
        drawn, draws = [], []
        for answer in found:
            drawn += [answer, *(answer.more if answer and answer.error is None else ())]
            draws += range(_n_draws(answer))
    return {
        "text": pa.array([one.text if one else None for one in drawn], pa.string()),
        "finish_reason": pa.array([o.finish_reason if o else None for o in drawn], pa.string()),
        "n_tokens": pa.array([len(o.token_ids) if o else None for o in drawn], pa.int32()),
        "draw": pa.array(draws, pa.int32()),
    }


def _of_requests(samples: Sequence[Sample], posed: Sequence[Posed], found: Found) -> dict[str, Any]:
    """Return what was asked, each request beside its sample, and what came of it as a whole."""
    import pyarrow as pa

    text = pa.string()
    beside = list(zip(posed, samples, found, strict=True))
    return {
        "key": pa.array([one.key for one in posed], text),
        "error": pa.array([answer and answer.error for answer in found], text),
        "prompt_was_cut": pa.array([one.prompt_was_cut for one in posed], pa.bool_()),
        "part": pa.array([one.part for one in posed], pa.int32()),
        "chosen": pa.array([_chosen(*it) for it in beside], text),
        "logprobs": pa.array(
            [answer and [one.total for one in answer.likelihoods] for answer in found],
            pa.list_(pa.float64()),
        ),
        "later": pa.array([_later(s, p.part) if p.part else None for p, s, _ in beside], text),
    }


def _of_programs(scores: Sequence[Score | None], draws: Sequence[int]) -> dict[str, Any]:
    """Return what became of each program, row by row."""
    import pyarrow as pa

    judged = [s.judged[i] if s and s.judged else None for s, i in zip(scores, draws, strict=True)]
    return {
        "outcome": pa.array([one and one.outcome for one in judged], pa.string()),
        "program": pa.array([one and one.program for one in judged], pa.string()),
    }


def _metric(values: list[Any]) -> Any:
    """Return a metric's values: numbers, or as JSON where it needs more of an item than one."""
    import pyarrow as pa

    if any(isinstance(value, list) for value in values):
        return pa.array([None if v is None else json.dumps(v) for v in values], pa.string())
    return pa.array(values, pa.float64())


def _later(sample: Sample, part: int) -> str | None:
    """Return what a later turn asked; None where the sample's input was."""
    _, turn = sample.draw_and_turn(part)
    return sample.follow_ups[turn - 1] if turn and sample.follow_ups else None


def _chosen(posed: Posed, sample: Sample, answer: Completion | None) -> str | None:
    """Return the continuation that is likeliest after the prompt, where several were asked for."""
    if answer is None or len(answer.likelihoods) < 2:
        return None
    query = sample.queries[posed.part] if posed.part < len(sample.queries) else None
    choices = query.continuations if query else sample.choices
    if len(choices) != len(answer.likelihoods):
        return None
    return choices[likeliest(answer.likelihoods)]
