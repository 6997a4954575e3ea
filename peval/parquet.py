"""Every answer as one row of a Parquet file, for people who use pandas."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from peval.errors import RunError
from peval.scorers.choice import likeliest
from peval.types import Completion, Request, Sample, Score

ROWS_PER_GROUP = 10_000

Row = tuple[Request, Score | None]


def write_parquet(
    path: Path,
    rows: Sequence[Row],
    samples: Mapping[str, Mapping[str, Sample]],
    completions: Mapping[str, Completion],
) -> None:
    """Write one row per answer with a column per metric; the whole file or none of it.

    Where a request drew several answers, ``draw`` counts them, and each has the request's score.

    Parameters
    ----------
    rows
        Requests with their scores; a request without a score or an answer has nulls.
    samples
        By task and id.
    completions
        By request key.

    Raises
    ------
    RunError
        If the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = [score.values for _, score in rows if score]
    metrics = sorted({metric for values in found for metric in values})
    compound = {m for values in found for m, value in values.items() if isinstance(value, list)}
    schema = _schema(metrics, compound)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for group in _grouped(rows):
                table = [
                    row
                    for request, score in group
                    for row in _rows(request, samples, completions.get(request.key), score)
                ]
                writer.write_table(pa.Table.from_pylist(table, schema=schema))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{path}: cannot be written ({reason}); what was computed is kept, "
            "the same command goes on"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _grouped(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rest = iter(rows)
    while group := list(islice(rest, ROWS_PER_GROUP)):
        yield group


def _schema(metrics: Sequence[str], compound: set[str]) -> Any:
    """Return the columns; compound metrics, which only all items have, are JSON of their parts."""
    import pyarrow as pa

    texts = ("task", "sample_id", "adapter", "key", "category", "cluster", "input")
    fields = [(name, pa.string()) for name in texts]
    fields += [("targets", pa.list_(pa.string())), ("text", pa.string())]
    fields += [("finish_reason", pa.string()), ("n_tokens", pa.int32()), ("error", pa.string())]
    fields += [("prompt_was_cut", pa.bool_()), ("part", pa.int32()), ("draw", pa.int32())]
    fields += [("status", pa.string()), ("chosen", pa.string())]  # the likeliest choice
    fields += [("outcome", pa.string()), ("program", pa.string())]  # of coding tasks
    fields += [("logprobs", pa.list_(pa.float64()))]  # the sum over each choice's tokens
    kinds = {metric: pa.string() if metric in compound else pa.float64() for metric in metrics}
    return pa.schema(fields + list(kinds.items()))


def _rows(
    request: Request,
    samples: Mapping[str, Mapping[str, Sample]],
    completion: Completion | None,
    score: Score | None,
) -> Iterator[dict[str, object]]:
    """Yield a row for each answer, or one without an answer."""
    sample = samples[request.task][request.sample_id]
    shared = {
        "task": request.task,
        "sample_id": request.sample_id,
        "adapter": request.adapter,
        "key": request.key,
        "category": sample.category,
        "cluster": sample.cluster,
        "input": _question(sample, request.part),
        "targets": list(sample.targets),
        "error": completion and completion.error,
        "prompt_was_cut": request.prompt_was_cut,
        "part": request.part,
        "status": score and score.status,
        "chosen": _chosen(request, sample, completion),
        "logprobs": completion and [one.total for one in completion.likelihoods],
        **{m: _cell(value) for m, value in (score.values if score else {}).items()},
    }
    judged = score.judged if score else ()
    for number, (text, n_tokens, reason) in enumerate(_drawn(completion)):
        answer = {"draw": number, "text": text, "n_tokens": n_tokens, "finish_reason": reason}
        if judged:
            answer |= {"outcome": judged[number].outcome, "program": judged[number].program}
        yield shared | answer


def _question(sample: Sample, part: int) -> str:
    """Return what was asked: the input, or a later turn."""
    _, turn = sample.draw_and_turn(part)
    return sample.follow_ups[turn - 1] if turn and sample.follow_ups else sample.input


def _drawn(completion: Completion | None) -> list[tuple[str | None, int | None, str | None]]:
    if completion is None:
        return [(None, None, None)]
    if completion.error is not None:
        return [(completion.text, len(completion.token_ids), completion.finish_reason)]
    return [(one.text, len(one.token_ids), one.finish_reason) for one in completion.drawn]


def _chosen(request: Request, sample: Sample, completion: Completion | None) -> str | None:
    """Return the continuation that is likeliest after the prompt, where several were asked for."""
    query = sample.queries[request.part] if request.part < len(sample.queries) else None
    choices = query.continuations if query else sample.choices
    if completion is None or len(choices) < 2 or len(choices) != len(completion.likelihoods):
        return None
    return choices[likeliest(completion.likelihoods)]


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, list) else value
