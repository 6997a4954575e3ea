"""What lm-eval logged of an earlier evaluation (``samples_*.jsonl``), as answers to its requests.

Written for lm_eval 0.4 (github.com/EleutherAI/lm-evaluation-harness), which writes all numbers as
text and repeats a document for each filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from peval.errors import DataError
from peval.types import Completion, Drawn, Likelihood, Query, Sample


class Logged(NamedTuple):
    """One document: its target, and its responses.

    For each request ``responses`` has a list of texts, of (log-probability, is greedy), or of sums.
    """

    target: str | None
    responses: list[Any]


def is_logged(record: object) -> bool:
    """Tell whether a line is lm-eval's."""
    return isinstance(record, Mapping) and "resps" in record and "doc_id" in record


def read_logged(record: Mapping[str, Any], where: str) -> tuple[str, Logged]:
    """Return a document's number (or peval's own id, in what peval exported) and its responses.

    Raises
    ------
    DataError
        The line is malformed.
    """
    doc, responses = record.get("doc"), record["resps"]
    key = doc.get("sample_id") if isinstance(doc, Mapping) else None
    key = record["doc_id"] if key is None else key
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise DataError(f"{where}: field 'doc_id' must be a whole number")
    if not isinstance(responses, list) or not all(isinstance(r, list) and r for r in responses):
        raise DataError(f"{where}: field 'resps' must be a list of lists, as lm-eval writes it")
    target = record.get("target")
    return str(key), Logged(None if target is None else str(target), responses)


def completions(sample: Sample, keys: list[str], logged: Logged) -> list[Completion]:
    """Return the answers to a sample's requests, one for each key.

    Raises
    ------
    DataError
        It is another document, or its responses are not what the task asks for.
    """
    target, responses = logged
    if target is not None and sample.targets and target != sample.targets[0]:
        raise DataError(
            f"document {sample.id}: its target there is {target[:60]!r}, the task's is "
            f"{sample.targets[0][:60]!r}; was it logged of this task, of the same data?"
        )
    asked: tuple[Query | None, ...] = sample.queries or (None,)
    left = iter(responses)
    found = [_completion(key, query, left) for key, query in zip(keys, asked, strict=True)]
    if None in found or next(left, None) is not None:
        raise DataError(
            f"document {sample.id}: its 'resps' ({len(responses)}) do not fit what the task "
            "asks for; were they logged of this task?"
        )
    return [one for one in found if one is not None]


def _completion(key: str, query: Query | None, left: Iterator[Any]) -> Completion | None:
    """Return the answer to one query, or None where what is left does not fit."""
    n = len(query.continuations) if query is not None and query.continuations else 1
    mine = list(islice(left, n))
    if len(mine) < n:
        return None
    if query is not None and (query.continuations or query.rolling):
        likelihoods = tuple(_likelihood(one[0]) for one in mine)
        if None in likelihoods:
            return None
        known = tuple(one for one in likelihoods if one is not None)
        return Completion(key, "", (), "stop", likelihoods=known)
    if not all(isinstance(text, str) for text in mine[0]):
        return None
    first, *others = mine[0]
    more = tuple(Drawn(text, (), "stop") for text in others)
    return Completion(key, first, (), "stop", more=more)


def _likelihood(found: Any) -> Likelihood | None:
    """Read (log-probability, is greedy), or a sum alone."""
    pair = found if isinstance(found, list) else [found, False]
    try:
        total, is_greedy = pair
        return Likelihood((float(total),), str(is_greedy) == "True")
    except (TypeError, ValueError):
        return None
