"""The prompts of the memorization probes: tokens as they stood in training, cut where needed.

A prompted record is its prompt's tokens, as the profile makes them, and then its target's own
tokens. A whole text is its tokens, of which the first is predicted by nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from peval.chat import Voice
from peval.errors import DataError
from peval.memorization.sets import SHOT, set_of
from peval.prompts import Prompt, Tokenizer, token_ids
from peval.types import Decoding, Profile, Sample, Task

SPARE_TOKENS = 1  # vLLM generates a token behind what it scores
_SHOTS_SHARE = 0.5

Prompts = tuple[Prompt, ...]
Ask = Callable[[Sequence[Sample], Profile, Voice, int], list[Prompt]]


@dataclass(frozen=True)
class _Text:
    """A record's tokens: what comes before, and what is to be predicted."""

    head: tuple[int, ...]
    tail: tuple[int, ...]
    was_cut: bool

    def likelihood(self, with_moments: bool = False) -> Prompt:
        return Prompt(self.head, self.was_cut, (self.tail,), with_moments=with_moments)


def encode_probe(
    samples: Sequence[Sample], task: Task, voice: Voice, context_tokens: int, ask: Ask
) -> list[Prompts]:
    """Return the prompts of each sample of a probe.

    ``tasks``: an answer (where there is a prompt) and the target's likelihood. ``extraction``: for
    each prefix that the record is longer than, an answer and the suffix's likelihood; a record
    that is too short for all has its whole likelihood instead. ``membership``: the likelihood
    with moments, that of the lower-cased text, and that after other texts. ``exposure``: the
    likelihoods of the secret and of the others in its space.

    Parameters
    ----------
    ask
        Makes what a profile asks of samples, in a voice: `peval.choices` has it.

    Raises
    ------
    DataError
        A record has nothing that could be predicted.
    """
    maker = _Maker(task, voice, context_tokens, ask)
    probes: dict[str, Callable[[Sequence[Sample]], Iterator[Prompts]]] = {
        "tasks": maker.tasks,
        "extraction": maker.extraction,
        "membership": maker.membership,
        "exposure": maker.exposure,
    }
    return list(probes[str(task.settings["probe"])](samples))


@dataclass(frozen=True)
class _Maker:
    task: Task
    voice: Voice
    context_tokens: int
    ask: Ask

    @property
    def tokenizer(self) -> Tokenizer:
        return self.voice.tokenizer

    def _heads(self, samples: Sequence[Sample]) -> list[Prompt]:
        return self.ask(samples, self.task.profile, self.voice, self.context_tokens)

    @property
    def _room(self) -> int:
        return self.context_tokens - SPARE_TOKENS

    def tasks(self, samples: Sequence[Sample]) -> Iterator[Prompts]:
        prompted = bool(self.task.settings["prompted"])
        for text in self._texts(samples, "target" if prompted else "document"):
            answer = (Prompt(text.head, text.was_cut),) if prompted else ()
            yield (*answer, text.likelihood())

    def extraction(self, samples: Sequence[Sample]) -> Iterator[Prompts]:
        for text in self._texts(samples, str(self.task.settings["scope"])):
            yield tuple(self._suffixes(text)) or (text.likelihood(),)

    def _suffixes(self, text: _Text) -> Iterator[Prompt]:
        size = int(str(self.task.settings["suffix_tokens"]))
        for k, suffix in suffixes(text.tail, prefixes_of(self.task), size):
            prefix = text.head + text.tail[:k]
            yield Prompt(prefix, text.was_cut, decoding=Decoding(max_tokens=len(suffix)))
            yield Prompt(prefix, text.was_cut, (suffix,))

    def membership(self, samples: Sequence[Sample]) -> Iterator[Prompts]:
        scope = str(self.task.settings["scope"])
        texts = self._texts(samples, scope)
        lowered = self._texts([_lowered(sample, scope) for sample in samples], scope)
        pairs = zip(texts, samples, strict=True)
        shots = self._shots([text for text, sample in pairs if set_of(sample) == SHOT])
        for text, low in zip(texts, lowered, strict=True):
            # With the same tokens it is the same request, and is asked once.
            same = (text.head, text.tail) == (low.head, low.tail)
            yield text.likelihood(True), low.likelihood(same), self._after(shots, text).likelihood()

    def _shots(self, texts: Sequence[_Text]) -> tuple[int, ...]:
        """Return the tokens of as many texts as leave half of the context."""
        found: tuple[int, ...] = ()
        for text in texts:
            more = (*found, *self._without_bos(text.head, bool(found)), *text.tail)
            if len(more) > _SHOTS_SHARE * self._room:
                break
            found = more
        return found

    def _after(self, shots: tuple[int, ...], text: _Text) -> _Text:
        return self._fitted(shots + self._without_bos(text.head, bool(shots)), text.tail)

    def _without_bos(self, ids: tuple[int, ...], strip: bool) -> tuple[int, ...]:
        return ids[1:] if strip and ids[:1] == (self.tokenizer.bos_token_id,) else ids

    def exposure(self, samples: Sequence[Sample]) -> Iterator[Prompts]:
        for sample in samples:
            options = [dataclasses.replace(sample, targets=(c,)) for c in sample.choices]
            if sample.input:
                (prompt,) = self._heads([sample])
                wholes = [(*prompt.token_ids, *ids) for ids in self._targets(options)]
            else:
                wholes = [tuple(i) for i in token_ids(self.tokenizer, list(sample.choices))]
            n = _n_common(wholes)
            choices = tuple(whole[n:] for whole in wholes)
            if n == 0 or not all(choices) or max(map(len, wholes)) > self._room:
                raise DataError(
                    f"the canary '{sample.id}' leaves no secret to predict in "
                    f"{self.context_tokens} tokens; give it a text before the secret"
                )
            yield (Prompt(wholes[0][:n], False, choices),)

    def _texts(self, samples: Sequence[Sample], scope: str) -> list[_Text]:
        """Return the tokens of each sample, cut at the context's end."""
        if not self.task.settings["prompted"]:
            wholes = token_ids(self.tokenizer, [sample.targets[0] for sample in samples])
            found = [self._fitted(tuple(ids[:1]), tuple(ids[1:])) for ids in wholes]
        else:
            prompts = self._heads(samples)
            found = [
                self._fitted(prompt.token_ids, tuple(ids), prompt.was_cut)
                for prompt, ids in zip(prompts, self._targets(samples), strict=True)
            ]
            if scope == "document":
                found = [
                    _Text(text.head[:1], text.head[1:] + text.tail, text.was_cut) for text in found
                ]
        for text, sample in zip(found, samples, strict=True):
            if not text.tail:
                raise DataError(f"the record '{sample.id}' is one token: nothing can be predicted")
        return found

    def _targets(self, samples: Sequence[Sample]) -> list[list[int]]:
        targets = [sample.targets[0] for sample in samples]
        return token_ids(self.tokenizer, targets, add_special_tokens=False)

    def _fitted(self, head: tuple[int, ...], tail: tuple[int, ...], was_cut: bool = False) -> _Text:
        room = self._room - len(head)
        return _Text(head, tail[:room], was_cut or len(tail) > room)


def prefixes_of(task: Task) -> list[int]:
    """Return the prefix lengths of an extraction probe, ascending."""
    found: list[int] = task.settings["prefix_tokens"]  # type: ignore[assignment]
    return found


def suffixes(
    tail: tuple[int, ...], prefixes: Sequence[int], size: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield each prefix length that leaves something, with the tokens that come next."""
    for k in prefixes:
        if k < len(tail):
            yield k, tail[k : k + size]


def _lowered(sample: Sample, scope: str) -> Sample:
    """Return a sample with what is scored in lower case."""
    lowered = dataclasses.replace(sample, targets=(sample.targets[0].lower(),))
    if scope == "target" or not sample.input:
        return lowered
    return dataclasses.replace(lowered, input=sample.input.lower())


def _n_common(wholes: Sequence[tuple[int, ...]]) -> int:
    """Return how many tokens all begin with."""
    shortest = min(map(len, wholes))
    differs = (n for n in range(shortest) if len({whole[n] for whole in wholes}) > 1)
    return next(differs, shortest)
