"""Texts to prompts exactly as lm-evaluation-harness's transformers backend makes them.

Source: EleutherAI/lm-evaluation-harness v0.4.13, ``lm_eval/api/model.py`` (``TemplateLM``),
``lm_eval/models/huggingface.py`` (``HFLM``) and ``lm_eval/utils.py`` (rolling windows).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from peval.chat import Voice
from peval.errors import DataError, TaskError
from peval.prompts import Prompt, Tokenizer, token_ids
from peval.types import PASSAGE, Message, Query, Sample

# A continuation's last token is predicted, not read, and vLLM wants room for one token more.
SPARE_TOKENS = 2


def encode_queries(
    samples: Sequence[Sample], voice: Voice, context_tokens: int
) -> list[tuple[Prompt, ...]]:
    """Return the prompts of each sample's queries, in order.

    Parameters
    ----------
    voice
        How the system is spoken to.
    context_tokens
        What the model holds. Likelihoods behave as lm-eval does at a ``max_length`` of two tokens
        less; generation as at this length.

    Raises
    ------
    DataError
        A query has no tokens, or its answer leaves no room for a prompt.
    """
    samples = [
        dataclasses.replace(sample, queries=queries)
        for sample, queries in zip(samples, _fitted(samples, voice), strict=True)
    ]
    encoder = _Encoder.of(samples, voice, context_tokens)
    return [tuple(encoder.prompts(sample)) for sample in samples]


def _fitted(samples: Sequence[Sample], voice: Voice) -> list[tuple[Query, ...]]:
    """Return the queries with as many of their first shots as fit, as one text."""
    flat = [_for_voice(query, voice) for sample in samples for query in sample.queries]
    flat = with_passages(flat, voice.tokenizer)
    n_shots = [len(query.shots) for query in flat]
    texts = [_shown(query, n, voice) for query, n in zip(flat, n_shots, strict=True)]
    open_ones = [i for i, query in enumerate(flat) if query.max_tokens is not None and query.shots]
    while open_ones:
        counts = token_counts(voice.tokenizer, [texts[i] for i in open_ones])
        open_ones = [
            i
            for i, count in zip(open_ones, counts, strict=True)
            if count > (flat[i].max_tokens or 0) and n_shots[i] > 0
        ]
        for i in open_ones:
            n_shots[i] -= 1
            texts[i] = _shown(flat[i], n_shots[i], voice)
    rest = iter(
        dataclasses.replace(query, text=text, head="", shots=())
        for query, text in zip(flat, texts, strict=True)
    )
    return [tuple(islice(rest, len(sample.queries))) for sample in samples]


def _for_voice(query: Query, voice: Voice) -> Query:
    """Return a conversation as it is, or what stands for it where there is no template."""
    if query.role is None or voice.template is not None:
        return query
    if query.plain is None:
        raise TaskError(
            "the model has no chat template, nor has the profile a format of its own: choose a "
            "profile without chat, or put a chat_template.jinja beside the model"
        )
    return query.plain


def with_passages(queries: Sequence[Query], tokenizer: Tokenizer) -> list[Query]:
    """Put passages into their places, cut where they are too long.

    As open-instruct does it (eval/tydiqa at f745360): where the tokenizer adds a BOS, it counts,
    and a passage that was cut begins with the BOS as text.
    """
    texts = list(dict.fromkeys(text for query in queries for text in query.passages))
    ids = dict(zip(texts, token_ids(tokenizer, texts), strict=True))

    def cut(text: str, limit: int | None) -> str:
        if limit is None or len(ids[text]) <= limit:
            return text
        return tokenizer.decode(ids[text][:limit], skip_special_tokens=False)

    found = []
    for query in queries:
        text = query.text
        for passage in query.passages:
            text = text.replace(PASSAGE, cut(passage, query.max_passage_tokens), 1)
        found.append(dataclasses.replace(query, text=text, passages=()))
    return found


def _shown(query: Query, n_shots: int, voice: Voice) -> str:
    text = query.head + "".join(query.shots[:n_shots]) + query.text
    if query.role is None:
        return text
    return voice.say(query.turns, Message(query.role, text), query.cue)


def token_counts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Return how many tokens texts have, special ones not added."""
    return [len(ids) for ids in token_ids(tokenizer, texts, add_special_tokens=False)]


@dataclass(frozen=True)
class _Encoder:
    """Token ids of every text that some query needs, tokenized in two calls."""

    ids: Mapping[tuple[str, bool], list[int]]
    prefix_id: int
    context_tokens: int
    encodes: bool

    @classmethod
    def of(cls, samples: Sequence[Sample], voice: Voice, context_tokens: int) -> _Encoder:
        tokenizer = voice.tokenizer
        prefix_id = tokenizer.bos_token_id
        prefix_id = tokenizer.eos_token_id if prefix_id is None else prefix_id
        if prefix_id is None:
            raise DataError("the tokenizer has neither a BOS nor an EOS token to begin with")
        prefix = tokenizer.decode([prefix_id], skip_special_tokens=False)
        wanted = dict.fromkeys(
            text
            for sample in samples
            for query in sample.queries
            for text in _texts(query, voice.encodes)
        )
        found: dict[tuple[str, bool], list[int]] = {}
        for is_bare in (False, True):
            mine = [text for text, bare in wanted if bare == is_bare]
            # A text that begins with the special token gets no second one.
            plain = [t for t in mine if not is_bare and not t.startswith(prefix)]
            bare = [t for t in mine if is_bare or t.startswith(prefix)]
            found |= {
                (t, is_bare): i for t, i in zip(plain, token_ids(tokenizer, plain), strict=True)
            }
            ids = token_ids(tokenizer, bare, add_special_tokens=False)
            found |= {(t, is_bare): i for t, i in zip(bare, ids, strict=True)}
        return cls(found, prefix_id, context_tokens, voice.encodes)

    def prompts(self, sample: Sample) -> Iterator[Prompt]:
        """Yield the prompts of one sample."""
        for query in sample.queries:
            if query.rolling:
                yield from self._windows(query)
            elif query.continuations:
                yield from self._choices(sample, query)
            else:
                yield self._generation(sample, query)

    def _generation(self, sample: Sample, query: Query) -> Prompt:
        assert query.decoding is not None
        room = self.context_tokens - query.decoding.max_tokens
        ids = self.ids[query.text, False]
        if room < 1 or not ids:
            why = "is empty" if not ids else f"leaves no room in {self.context_tokens} tokens"
            raise DataError(f"the sample '{sample.id}': its prompt {why}")
        return Prompt(tuple(ids[-room:]), len(ids) > room, decoding=query.decoding)

    def _choices(self, sample: Sample, query: Query) -> Iterator[Prompt]:
        """Yield one prompt for all continuations, or one for each where a cut differs."""
        pairs = [self._pair(query, continuation) for continuation in query.continuations]
        longest = self.context_tokens - SPARE_TOKENS + 1
        if any(not ids or len(ids) > longest for _, ids in pairs):
            raise DataError(
                f"the sample '{sample.id}' has a continuation that is empty or too long"
            )
        cut = [head[max(0, len(head) + len(ids) - longest) :] for head, ids in pairs]
        was_cut = any(len(short) < len(head) for short, (head, _) in zip(cut, pairs, strict=True))
        choices = [tuple(ids) for _, ids in pairs]
        if all(head == cut[0] for head in cut) and cut[0]:
            yield Prompt(tuple(cut[0]), was_cut, tuple(choices))
            return
        for head, ids in zip(cut, choices, strict=True):
            if not head:
                raise DataError(f"the sample '{sample.id}' has a continuation without a prompt")
            yield Prompt(tuple(head), was_cut, (ids,))

    def _pair(self, query: Query, continuation: str) -> tuple[list[int], list[int]]:
        """Return the tokens of a text and of its continuation."""
        text = query.text
        if query.label:
            which = 0 if query.label == "first" else -1
            return self.ids[text, False], [self.ids[continuation, True][which]]
        if text == "":
            ids = self.ids[continuation, True]
            return (ids[:1], ids[1:]) if ids[:1] == [self.prefix_id] else ([self.prefix_id], ids)
        head = self.ids[text.rstrip(), False]
        if self.encodes:
            return head, self.ids[_apart(query, continuation), True]
        return head, self.ids[text + continuation, False][len(head) :]

    def _windows(self, query: Query) -> Iterator[Prompt]:
        """Yield the windows in which every token of a document is predicted once."""
        ids, size = self.ids[query.text, False], self.context_tokens - SPARE_TOKENS
        if not ids:
            raise DataError("a document without tokens cannot be scored")
        yield Prompt((self.prefix_id,), False, (tuple(ids[:size]),))
        for start in range(size, len(ids), size):
            end = min(start + size, len(ids))
            yield Prompt(tuple(ids[end - size - 1 : start]), False, (tuple(ids[start:end]),))


def _apart(query: Query, continuation: str) -> str:
    """Return a continuation as a decoder begins it: with the spaces at the text's end."""
    return query.text[len(query.text.rstrip()) :] + continuation


def _texts(query: Query, encodes: bool) -> Iterator[tuple[str, bool]]:
    """Yield the texts whose tokens a query needs; True: without special tokens."""
    if query.label:
        yield query.text, False
    if query.continuations and (query.label or query.text == ""):
        yield from ((continuation, True) for continuation in query.continuations)
    elif query.continuations:
        yield query.text.rstrip(), False
        if encodes:
            yield from ((_apart(query, continuation), True) for continuation in query.continuations)
            return
        yield from ((query.text + continuation, False) for continuation in query.continuations)
    else:
        yield query.text, False
