"""Samples to prompts: to be answered, or with continuations whose likelihoods are compared."""

from __future__ import annotations

from collections.abc import Sequence

from peval.errors import DataError
from peval.prompts import Prompt, Tokenizer, encode_all, keep_end, token_ids
from peval.queries import SPARE_TOKENS, encode_queries
from peval.types import Profile, Sample


def prompts_of(
    samples: Sequence[Sample], profile: Profile, tokenizer: Tokenizer, context_tokens: int
) -> list[tuple[Prompt, ...]]:
    """Return the prompts of each sample: one to be answered, one with its choices, or its queries'.

    Raises
    ------
    DataError
        A choice is empty or leaves no room for its prompt.
    """
    if any(sample.queries for sample in samples):
        return encode_queries(samples, tokenizer, context_tokens)
    if not any(sample.choices for sample in samples):
        return [(prompt,) for prompt in encode_all(samples, profile, tokenizer, context_tokens)]
    return [(prompt,) for prompt in encode_choices(samples, tokenizer, context_tokens)]


def encode_choices(
    samples: Sequence[Sample], tokenizer: Tokenizer, context_tokens: int
) -> list[Prompt]:
    """Return one prompt per sample with its choices' tokens, split as lm-evaluation-harness does.

    A choice's tokens are those of input and choice together, without the input's own: so the
    tokenizer may join what stands at the seam. Spaces at the input's end count as the choice's.
    An input that is too long keeps its end.

    References
    ----------
    .. [1] EleutherAI/lm-evaluation-harness v0.4.13, ``TemplateLM._encode_pair``.
    """
    inputs = [sample.input.rstrip() for sample in samples]
    wholes = [sample.input + choice for sample in samples for choice in sample.choices]
    heads = token_ids(tokenizer, inputs)
    rest = iter(token_ids(tokenizer, wholes))
    return [
        _prompt(sample, head, [next(rest) for _ in sample.choices], tokenizer, context_tokens)
        for sample, head in zip(samples, heads, strict=True)
    ]


def _prompt(
    sample: Sample, head: list[int], wholes: list[list[int]], tokenizer: Tokenizer, context: int
) -> Prompt:
    choices = tuple(tuple(whole[len(head) :]) for whole in wholes)
    room = context - SPARE_TOKENS + 1 - max(map(len, choices))
    if not all(choices):
        raise DataError(f"the sample '{sample.id}' has a choice without a token of its own")
    if room < 1 or not head:
        why = "an empty input" if not head else f"choices too long for {context} tokens"
        raise DataError(f"the sample '{sample.id}' has {why}; remove it")
    ids = keep_end(head, tokenizer.bos_token_id, room)
    return Prompt(tuple(ids), len(ids) < len(head), choices)
