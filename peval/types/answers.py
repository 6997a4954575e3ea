"""From a question put to a system to what its answer is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from peval.types.samples import Sample
from peval.types.tasks import Decoding


@dataclass(frozen=True, slots=True)
class Request:
    """One question put to one adapter (None: the base): to generate, or to score ``choices``.

    ``key`` is a hash of everything that can change the answer, so equal keys may share one
    completion. ``choices`` are the token ids of continuations whose likelihoods are asked for,
    ``with_moments`` where their `Moments` are too; without any, an answer is generated. A sample
    may need several requests: ``part`` counts them. ``prompt_was_cut`` says that a length limit
    removed text.

    ``of_head`` asks a classification head: each of the choices is then a group of its classes,
    which is as likely as the likeliest of them.
    """

    key: str
    task: str
    sample_id: str
    adapter: str | None
    prompt_token_ids: tuple[int, ...]
    decoding: Decoding
    prompt_was_cut: bool = False
    choices: tuple[tuple[int, ...], ...] = ()
    part: int = 0
    with_moments: bool = False
    of_head: bool = False


class Posed(NamedTuple):
    """What scoring needs of a `Request`: not its prompt; ``n`` answers were asked for."""

    key: str
    sample_id: str
    prompt_was_cut: bool
    choices: tuple[tuple[int, ...], ...] = ()
    part: int = 0
    n: int = 1


Asked = tuple[Posed, ...]
"""What one system was asked of one sample, part by part."""


class Moments(NamedTuple):
    """What log-probabilities to expect where a token stands, whichever token it is.

    ``means`` and ``deviations`` hold, for each position, mean and standard deviation of the
    log-probability of a token that the model itself draws from its whole vocabulary.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]


class Likelihood(NamedTuple):
    """How likely a continuation is after its prompt.

    ``logprobs`` holds the natural logarithm of each token's probability; ``is_greedy`` says that
    each was the likeliest token, so that greedy decoding would have written it. ``moments`` are
    there where the request asked for them.
    """

    logprobs: tuple[float, ...]
    is_greedy: bool
    moments: Moments | None = None

    @property
    def total(self) -> float:
        """Return the log-probability of the whole continuation."""
        return math.fsum(self.logprobs)


class Drawn(NamedTuple):
    """One of several texts that were drawn for one prompt, and what ended it."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Completion:
    """An engine's answer to one request key: a text, or one likelihood per choice.

    ``finish_reason`` is "stop", "length" or "error"; ``error`` then says why, and the request
    counts as failed, never as wrong. Where several texts were asked for, ``more`` holds all but
    the first; an error in any of them fails the request.

    ``n_read`` are the tokens of prompts that the engine was given for it, and ``n_cached`` those of
    them that it had read for another request before; both are 0 where an engine does not say.
    """

    key: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: Literal["stop", "length", "error"]
    error: str | None = None
    likelihoods: tuple[Likelihood, ...] = ()
    more: tuple[Drawn, ...] = ()
    n_read: int = field(default=0, compare=False)
    n_cached: int = field(default=0, compare=False)

    @property
    def drawn(self) -> tuple[Drawn, ...]:
        """Return all texts that were drawn, in order; none where the request failed."""
        if self.finish_reason == "error":
            return ()
        return (Drawn(self.text, self.token_ids, self.finish_reason), *self.more)

    @property
    def was_truncated(self) -> bool:
        """Tell whether any of the texts ran into the token limit."""
        if self.finish_reason == "length" or not self.more:
            return self.finish_reason == "length"
        return any(one.finish_reason == "length" for one in self.more)


Said = tuple[Completion | None, ...]
"""What one system answered to what it was `Asked` of one sample; None: not yet."""


@dataclass(frozen=True)
class Answered:
    """Some samples with what one system was asked of each of them and what it said."""

    samples: Sequence[Sample]
    asked: Sequence[Asked]
    said: Sequence[Said]


class Judged(NamedTuple):
    """What became of one drawn program: ``outcome`` is "passed" or the kind of its failure.

    ``program`` is what was found in the text and run; None where it holds no code.
    """

    outcome: str
    program: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """What one sample's answers are worth, by metric: a number, or what its aggregate needs.

    ``status`` is "ok"; "unparsed" (no answer found in the text: counts as 0, tallied apart); or
    "failed" (the engine's fault, or the sandbox's: no values, never averaged).

    ``judged`` says of each drawn program how it fared.
    """

    key: str
    values: Mapping[str, Any]
    status: Literal["ok", "unparsed", "failed"] = "ok"
    extracted: str | None = None
    why: str | None = None
    judged: tuple[Judged, ...] = ()
