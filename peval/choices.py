"""Samples to prompts: to be answered, or with continuations whose likelihoods are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from peval.chat import Voice
from peval.errors import DataError, TaskError
from peval.heads import encode_for_head
from peval.labellings import encode_labellings
from peval.memorization.prompts import encode_probe
from peval.prompts import (
    Prompt,
    Tokenizer,
    encode_all,
    keep_end,
    longest_prompt,
    token_ids,
    write,
)
from peval.queries import SPARE_TOKENS, encode_queries
from peval.types import Message, Profile, Sample, Task


def prompts_of(
    samples: Sequence[Sample], task: Task, voice: Voice, context_tokens: int
) -> list[tuple[Prompt, ...]]:
    """Return the prompts of each sample: one to be answered, one with its choices, or several.

    A probe of memorization and another harness's queries make several; a sample that does not fit
    and is to be left out has none.

    Raises
    ------
    DataError
        A choice is empty or leaves no room for its prompt.
    TaskError
        The voice's chat template refuses to speak, or the answer leaves no room for a prompt.
    """
    if voice.labels:
        return encode_for_head(samples, task, voice)
    if task.reader == "nlu":
        return encode_labellings(samples, voice.tokenizer, context_tokens)
    if task.reader == "memorization":
        return encode_probe(samples, task, voice, context_tokens, _asked)
    if any(sample.queries for sample in samples):
        return encode_queries(samples, voice, context_tokens)
    if any(sample.choices for sample in samples):
        return [(prompt,) for prompt in encode_choices(samples, voice, context_tokens)]
    return [(prompt,) for prompt in _asked(samples, task.profile, voice, context_tokens)]


def _asked(
    samples: Sequence[Sample], profile: Profile, voice: Voice, context_tokens: int
) -> list[Prompt]:
    if voice.template is not None:
        return encode_conversations(samples, profile, voice, context_tokens)
    return encode_all(samples, profile, voice.tokenizer, context_tokens)


def encode_conversations(
    samples: Sequence[Sample], profile: Profile, voice: Voice, context_tokens: int
) -> list[Prompt]:
    """Return what a profile asks as a user's turn each; a long one is cut before it is templated.

    So the template's own text is never cut. As without one, ``tk-instruct`` keeps the beginning of
    a long text and ``plain`` its end.
    """
    tokenizer, limit = voice.tokenizer, longest_prompt(profile, context_tokens)
    room = limit - len(voice.token_ids([voice.say((), Message("user", "."))])[0])
    if room < 1:
        raise TaskError(f"the chat template alone takes more than {limit} tokens")
    texts = write(samples, profile, tokenizer, room)
    cut: set[int] = set()
    while True:
        spoken = voice.token_ids([voice.say((), Message("user", text)) for text in texts])
        excess = {i: len(ids) - limit for i, ids in enumerate(spoken) if len(ids) > limit}
        if not excess:
            return [Prompt(tuple(ids), i in cut) for i, ids in enumerate(spoken)]
        cut |= excess.keys()
        for i, n_tokens in excess.items():
            texts[i] = _shortened(texts[i], n_tokens, profile, tokenizer)


def _shortened(text: str, n_tokens: int, profile: Profile, tokenizer: Tokenizer) -> str:
    """Return a text less about so many tokens."""
    (ids,) = token_ids(tokenizer, [text], add_special_tokens=False)
    n_left = max(0, len(ids) - n_tokens)
    kept = ids[:n_left] if profile.prompt == "tk-instruct" else ids[len(ids) - n_left :]
    shorter = tokenizer.decode(kept, skip_special_tokens=True)
    return shorter if len(shorter) < len(text) else text[:-1]


def encode_choices(samples: Sequence[Sample], voice: Voice, context_tokens: int) -> list[Prompt]:
    """Return one prompt per sample with its choices' tokens, split as lm-evaluation-harness does.

    A choice's tokens are those of input and choice together, without the input's own: so the
    tokenizer may join what stands at the seam. Spaces at the input's end count as the choice's.
    An input that is too long keeps its end. In a chat format, spaces before a choice are left out
    where the template's text ends in white space. An encoder-decoder's choices have no seam: each
    is tokenized alone, with the spaces.

    References
    ----------
    .. [1] EleutherAI/lm-evaluation-harness v0.4.13, ``TemplateLM._encode_pair``.
    """
    samples = [_spoken(sample, voice) for sample in samples] if voice.template else samples
    inputs = [sample.input.rstrip() for sample in samples]
    heads = voice.token_ids(inputs)
    rest = _behind(samples, inputs, heads, voice)
    return [
        _prompt(sample, head, [next(rest) for _ in sample.choices], voice, context_tokens)
        for sample, head in zip(samples, heads, strict=True)
    ]


def _behind(
    samples: Sequence[Sample], inputs: Sequence[str], heads: Sequence[list[int]], voice: Voice
) -> Iterator[list[int]]:
    """Yield the tokens of all samples' choices."""
    if voice.encodes:
        texts = [
            sample.input[len(text) :] + choice
            for sample, text in zip(samples, inputs, strict=True)
            for choice in sample.choices
        ]
        yield from token_ids(voice.tokenizer, texts, add_special_tokens=False)
        return
    wholes = [sample.input + choice for sample in samples for choice in sample.choices]
    starts = [len(head) for s, head in zip(samples, heads, strict=True) for _ in s.choices]
    for whole, start in zip(voice.token_ids(wholes), starts, strict=True):
        yield whole[start:]


def _spoken(sample: Sample, voice: Voice) -> Sample:
    text = voice.say((), Message("user", sample.input))
    choices = sample.choices
    if text[-1:].isspace():
        choices = tuple(choice.lstrip(" ") or choice for choice in choices)
    return dataclasses.replace(sample, input=text, choices=choices)


def _prompt(
    sample: Sample, head: list[int], behind: list[list[int]], voice: Voice, context: int
) -> Prompt:
    choices = tuple(map(tuple, behind))
    room = context - SPARE_TOKENS + 1 - max(map(len, choices))
    if not all(choices):
        raise DataError(f"the sample '{sample.id}' has a choice without a token of its own")
    if room < 1 or not head:
        why = "an empty input" if not head else f"choices too long for {context} tokens"
        raise DataError(f"the sample '{sample.id}' has {why}; remove it")
    ids = keep_end(head, voice.tokenizer.bos_token_id, room)
    return Prompt(tuple(ids), len(ids) < len(head), choices)
