"""Prompts whose answer is one of a few labels, each in a word."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from peval.errors import DataError
from peval.prompts import Prompt, Tokenizer, token_ids
from peval.types import Labelling, Sample

Choices = tuple[tuple[int, ...], ...]

_LEAD = "a"  # a text for a word to stand behind: its tokens then are those it has in a sentence


def encode_labellings(
    samples: Sequence[Sample], tokenizer: Tokenizer, context_tokens: int
) -> list[tuple[Prompt, ...]]:
    """Return the prompt of each sample, or none where it is too long and is to be left out.

    Parameters
    ----------
    context_tokens
        What the model holds, the longest word to be scored included.

    Raises
    ------
    DataError
        A word is more than one token for this tokenizer, or a sample has nothing to ask.
    """
    asked = [_asked(sample) for sample in samples]
    ids = token_ids(tokenizer, [one.text for one in asked])

    @cache
    def offer(words: tuple[str, ...], as_sequence: bool) -> Choices:
        return _words(words, tokenizer, as_sequence)

    return [
        _prompts(one, found, offer(one.words, one.as_sequence), context_tokens)
        for one, found in zip(asked, ids, strict=True)
    ]


def _asked(sample: Sample) -> Labelling:
    if sample.labelling is None or not sample.labelling.words:
        raise DataError(
            f"the sample {sample.id!r} has labels but nothing to ask (a key without sentences, or "
            "labels for which the profile has no words); `peval rescore --predictions` works"
        )
    return sample.labelling


def _prompts(
    asked: Labelling, ids: Sequence[int], choices: Choices, context_tokens: int
) -> tuple[Prompt, ...]:
    room = context_tokens - max(map(len, choices))
    limit = room if asked.max_tokens is None else min(asked.max_tokens, room)
    # The study keeps a prompt that leaves at least one place of the context free.
    if asked.too_long == "leave-out" and len(ids) >= limit:
        return ()
    return (Prompt(tuple(ids[:limit]), len(ids) > limit, choices),)


def _words(words: Sequence[str], tokenizer: Tokenizer, as_sequence: bool) -> Choices:
    """Return the tokens of each word as it stands behind another."""
    (lead,) = token_ids(tokenizer, [_LEAD], add_special_tokens=False)
    texts = [_LEAD + word for word in words]
    found = [ids[len(lead) :] for ids in token_ids(tokenizer, texts, add_special_tokens=False)]
    for word, ids in zip(words, found, strict=True):
        if len(ids) != 1 and not as_sequence:
            raise DataError(
                f"the verbalizer {word!r} is {len(ids)} tokens for this model's tokenizer, not "
                "one; --sequence-likelihood compares the likelihoods of whole words"
            )
    return tuple(map(tuple, found))
