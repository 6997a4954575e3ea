"""What the rows of a store hold: nouns as JSON, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec

from peval.types import (
    Completion,
    Decoding,
    Example,
    Instruction,
    Labelling,
    Likelihood,
    Message,
    Query,
    Request,
    Sample,
    Score,
)

COMPLETIONS = msgspec.json.Decoder(Completion)
SCORES = msgspec.json.Decoder(Score)
ENCODER = json.JSONEncoder(default=asdict, separators=(",", ":"))

T = TypeVar("T")


def as_json(value: object) -> bytes:
    """Return a value, nouns within it, on one line of ASCII."""
    return ENCODER.encode(value).encode("ascii")


def sample_fields(sample: Sample) -> dict[str, object]:
    """Return a sample without its id and instruction, which stand beside it."""
    fields: dict[str, object] = {
        "input": sample.input,
        "targets": sample.targets,
        "cluster": sample.cluster,
        "category": sample.category,
        "choices": sample.choices,
        "queries": sample.queries,
    }
    if sample.problem:
        fields["problem"] = sample.problem
    if sample.labelling:
        fields["labelling"] = sample.labelling
    if sample.follow_ups:
        fields["follow_ups"] = sample.follow_ups
    return fields


def sample_of(name: str, instruction: Instruction | None, fields: dict[str, Any]) -> Sample:
    """Return the sample that `sample_fields` was given."""
    fields |= {field: tuple(fields[field]) for field in ("targets", "choices")}
    fields["queries"] = tuple(map(_query_of, fields["queries"]))
    fields["follow_ups"] = tuple(fields.get("follow_ups", ()))
    if labelling := fields.get("labelling"):
        words = tuple(labelling["words"])
        fields["labelling"] = Labelling(**{**labelling, "words": words})
    return Sample(id=name, instruction=instruction, **fields)


def instruction_of(fields: dict[str, Any]) -> Instruction:
    """Return the noun of stored fields."""
    return Instruction(fields["definition"], tuple(Example(**one) for one in fields["examples"]))


def _query_of(fields: dict[str, Any]) -> Query:
    decoding = fields["decoding"] and decoding_of(fields["decoding"])
    plain = fields["plain"] and _query_of(fields["plain"])
    turns = tuple(Message(**turn) for turn in fields["turns"])
    texts = {name: tuple(fields[name]) for name in ("continuations", "shots", "passages")}
    return Query(**{**fields, **texts, "decoding": decoding, "turns": turns, "plain": plain})


def decoding_of(fields: dict[str, Any]) -> Decoding:
    """Return the noun of stored fields."""
    return Decoding(**{**fields, "stop": tuple(fields["stop"])})


def offer_fields(request: Request) -> tuple[object, ...]:
    """Return what a request's choices are stored as; a word in front says what is special."""
    kind = "moments" if request.with_moments else "head" if request.of_head else ""
    return (kind, request.choices) if kind else request.choices


def offer_of(value: list[Any]) -> tuple[tuple[tuple[int, ...], ...], str]:
    """Return a request's choices, and the word that `offer_fields` put in front."""
    kind = value[0] if isinstance(value[0], str) else ""
    return tuple(map(tuple, value[1] if kind else value)), kind


def completion_fields(completion: Completion) -> dict[str, object]:
    """Return a completion without its key, which stands beside it."""
    return {
        "text": completion.text,
        "token_ids": completion.token_ids,
        "finish_reason": completion.finish_reason,
        "error": completion.error,
        "likelihoods": list(map(_likelihood_fields, completion.likelihoods)),
        "more": completion.more,
    }


def _likelihood_fields(one: Likelihood) -> tuple[object, ...]:
    moments = () if one.moments is None else ((one.moments.means, one.moments.deviations),)
    return (one.logprobs, one.is_greedy, *moments)


def score_fields(score: Score) -> dict[str, object]:
    """Return a score as it is stored."""
    return {
        "key": score.key,
        "values": dict(score.values),
        "status": score.status,
        "extracted": score.extracted,
        "why": score.why,
        "judged": score.judged,
    }


def decoded(lines: bytes, decoder: msgspec.json.Decoder[T]) -> list[T]:
    """Return the nouns of JSON, one a line.

    What JSON does not have but Python writes (NaN, infinities, halves of surrogates), Python reads.
    """
    try:
        return decoder.decode_lines(lines)
    except msgspec.DecodeError:
        return [msgspec.convert(json.loads(line), decoder.type) for line in lines.splitlines()]
