"""From samples to prompt token ids, as a published profile prescribes.

``tk-instruct`` is the encoding of Super-NaturalInstructions (arXiv 2204.07705) as written in
github.com/yizhongw/Tk-Instruct (7c0e400, ``src/ni_collator.py``), token for token; the study of
arXiv 2411.16775 uses the same one. ``plain`` is the input itself.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from peval.errors import DataError, TaskError
from peval.types import Decoding, Example, Profile, Sample


class Tokenizer(Protocol):
    """What is needed of a transformers tokenizer."""

    bos_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None

    def __call__(self, text: list[str], **options: Any) -> Mapping[str, Any]:
        """Return a mapping whose ``input_ids`` holds one list of ids per text."""
        ...

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> str:
        """Return a conversation as text, rendered in a sandbox."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Return the text of token ids."""
        ...


@dataclass(frozen=True)
class Prompt:
    """The token ids of one prompt; ``was_cut`` says that text was removed to make it fit.

    ``choices`` are the continuations to be scored, ``with_moments`` or without; where there are
    none, an answer is generated, by the prompt's own ``decoding`` or else the profile's.
    ``of_head`` makes them groups of a classification head's classes.

    An example that was left out for want of room is part of the ``tk-instruct`` encoding, not a
    cut.
    """

    token_ids: tuple[int, ...]
    was_cut: bool
    choices: tuple[tuple[int, ...], ...] = ()
    decoding: Decoding | None = None
    with_moments: bool = False
    of_head: bool = False


def encode(sample: Sample, profile: Profile, tokenizer: Tokenizer, context_tokens: int) -> Prompt:
    """Return the prompt of one sample; see `encode_all`."""
    return encode_all([sample], profile, tokenizer, context_tokens)[0]


def encode_all(
    samples: Sequence[Sample], profile: Profile, tokenizer: Tokenizer, context_tokens: int
) -> list[Prompt]:
    """Return one prompt per sample, with a few batched tokenizer calls for all of them.

    Parameters
    ----------
    samples
        What to ask.
    profile
        How to ask: encoding, number of examples, longest prompt.
    tokenizer
        The base model's tokenizer.
    context_tokens
        What the model holds, prompt and answer together.

    Raises
    ------
    TaskError
        The answer's ``max_tokens`` leave no room for a prompt.
    DataError
        A prompt has no tokens at all.
    """
    limit = longest_prompt(profile, context_tokens)
    texts = write(samples, profile, tokenizer, limit)
    cut = _cut_right if profile.prompt == "tk-instruct" else _keep_ends
    prompts = cut(texts, tokenizer, limit)
    for sample, prompt in zip(samples, prompts, strict=True):
        if not prompt.token_ids:
            raise DataError(f"the sample '{sample.id}' gives an empty prompt; remove it")
    return prompts


def longest_prompt(profile: Profile, context_tokens: int) -> int:
    """Return the most tokens a prompt may have beside the profile's longest answer."""
    room = context_tokens - profile.decoding.max_tokens
    limit = room if profile.max_source_tokens is None else min(profile.max_source_tokens, room)
    if limit < 1:
        raise TaskError(
            f"the profile '{profile.name}' leaves no room for a prompt: answers of "
            f"{profile.decoding.max_tokens} tokens in a context of {context_tokens}; use a model "
            "with a longer context, or shorter answers (--max-tokens, for open prompts)"
        )
    return limit


def write(
    samples: Sequence[Sample], profile: Profile, tokenizer: Tokenizer, limit: int
) -> list[str]:
    """Return the words of one prompt per sample, which may be too long yet."""
    if profile.prompt == "tk-instruct":
        return _tk_instruct(samples, profile, tokenizer, limit)
    return [sample.input for sample in samples]


def _tk_instruct(
    samples: Sequence[Sample], profile: Profile, tokenizer: Tokenizer, limit: int
) -> list[str]:
    """Return Tk-Instruct prompts: definition, the examples that fit, the input."""
    heads = [_definition(sample) for sample in samples]
    offered = [_examples(sample, profile.n_positive_examples) for sample in samples]
    tails = [_question(sample) for sample in samples]
    shown: list[list[str]] = [[] for _ in samples]
    growing = list(range(len(samples)))
    for number in range(profile.n_positive_examples):
        trials = {i: offered[i][number] for i in growing if number < len(offered[i])}
        # Tk-Instruct counts with a space between the examples it holds already, yet writes none.
        texts = [heads[i] + " ".join(shown[i]) + trial + tails[i] for i, trial in trials.items()]
        counts = [len(ids) for ids in token_ids(tokenizer, texts)]
        growing = [i for i, count in zip(trials, counts, strict=True) if count <= limit]
        for i in growing:
            shown[i].append(trials[i])
    parts = zip(heads, shown, tails, strict=True)
    return [head + "".join(examples) + tail for head, examples, tail in parts]


def _cut_right(texts: Sequence[str], tokenizer: Tokenizer, limit: int) -> list[Prompt]:
    """Cut long texts by decoding their first tokens and reading the result anew.

    The detour can change the ids near the cut; the tokenizer truncates what it made longer.
    """
    encoded = token_ids(tokenizer, texts)
    long = [i for i, ids in enumerate(encoded) if len(ids) > limit]
    rest = [tokenizer.decode(encoded[i][:limit], skip_special_tokens=True) for i in long]
    again = token_ids(tokenizer, rest, truncation=True, max_length=limit)
    for i, ids in zip(long, again, strict=True):
        encoded[i] = ids
    cut = set(long)
    return [Prompt(tuple(ids), i in cut) for i, ids in enumerate(encoded)]


def _keep_ends(texts: Sequence[str], tokenizer: Tokenizer, limit: int) -> list[Prompt]:
    """Return texts as they are; a long one keeps its end, where the question usually stands."""
    encoded = token_ids(tokenizer, texts)
    return [
        Prompt(tuple(keep_end(ids, tokenizer.bos_token_id, limit)), len(ids) > limit)
        for ids in encoded
    ]


def keep_end(ids: list[int], bos: int | None, limit: int) -> list[int]:
    """Return the last ``limit`` ids; a BOS in front stays there and takes one place."""
    if len(ids) <= limit:
        return ids
    front = ids[:1] if ids[0] == bos and limit > 1 else []
    return front + ids[len(ids) - limit + len(front) :]


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], **options: Any) -> list[list[int]]:
    """Tokenize in one call; ``verbose=False`` silences the warning about long texts."""
    if not texts:
        return []
    encoded: list[list[int]] = tokenizer(
        list(texts), verbose=False, return_attention_mask=False, **options
    )["input_ids"]
    return encoded


def _definition(sample: Sample) -> str:
    """Return the first block, or nothing for a sample without an instruction."""
    if sample.instruction is None:
        return ""
    return _closed(f"Definition: {sample.instruction.definition.strip()}") + "\n\n"


def _examples(sample: Sample, n_examples: int) -> list[str]:
    """Return a sample's first examples as blocks."""
    given = sample.instruction.examples if sample.instruction else ()
    return [_example(number, one) for number, one in enumerate(given[:n_examples], start=1)]


def _example(number: int, example: Example) -> str:
    """Return one example's block; the spaces before its lines are Tk-Instruct's."""
    asked = _closed(f"Input: {example.input.strip()}")
    answered = _closed(f" Output: {example.output.strip()}")
    return f" Positive Example {number} -\n{asked}\n{answered}\n\n"


def _question(sample: Sample) -> str:
    """Return the last block, which the answer continues."""
    asked = _closed(f"Input: {sample.input.strip()}")
    return f"Now complete the following example -\n{asked}\nOutput: "


def _closed(text: str) -> str:
    """Add a full stop unless the text ends in ASCII punctuation."""
    return text if text[-1] in string.punctuation else text + "."
