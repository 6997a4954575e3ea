"""A canary beside all requests: no answer leaves an engine that has begun to answer otherwise.

An engine can be spoilt for what comes after: a weight is overwritten, an adapter is applied to
others' rows. So a fixed question whose answer is known from the engine's start is asked again and
again, and a row counts only when a canary that was asked after it came back as it was. When one
does not, all that no canary vouches for is thrown away and the engine replaced; what is left is
asked by halves of the adapters, until the one that spoils the engine is alone. Its requests fail,
the others go on.

A canary sees what changes the engine for everybody. A NaN need not: it stays in single blocks of
the cache and spoils whoever gets them next. These are found row by row, by vLLM's own check of all
logits (`vllm_backend`), which ends the engine at the first; what was in flight is asked again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from peval.engines.supervisor import SupervisedEngine
from peval.engines.wire import failed
from peval.errors import EngineError
from peval.types import MERGE, Completion, Decoding, EngineSpec, Request

EVERY = 128
HELD_S = 5.0
"""Answers wait for a canary until there are so many, or the first of them has waited so long."""
CHANGED_NAT = {"float32": 0.02}
CHANGED_NAT_HALF = 0.3
"""Mean difference that is a change, by dtype; other batches alone made none on a CPU (toy)."""
_N_PROMPT, _N_TOKENS = 16, 12


class CanaryChangedError(Exception):
    """An engine answers otherwise than at its start; never leaves this module."""


@dataclass
class _Stream:
    """What was asked and not given away: ``open`` is unanswered, ``held`` waits for a canary.

    ``n_vouched`` of the held came before the canary that is out.
    """

    open: set[str] = field(default_factory=set)
    held: list[Completion] = field(default_factory=list)
    held_since_s: float = 0.0
    canary: str | None = None
    n_vouched: int = 0
    n_starts: int = 0

    def hold(self, completion: Completion) -> None:
        """Keep an answer back."""
        if not self.held:
            self.held_since_s = time.monotonic()
        self.held.append(completion)

    def wants_canary(self, every: int, is_last: bool) -> bool:
        """Whether it is time for the next one; the last one waits for all answers."""
        if self.canary is not None or not self.held:
            return False
        is_late = time.monotonic() - self.held_since_s >= HELD_S
        return len(self.held) >= every or is_late or (is_last and not self.open)

    def released(self) -> list[Completion]:
        """Return what a good canary vouches for."""
        found, self.held = self.held[: self.n_vouched], self.held[self.n_vouched :]
        self.canary, self.n_vouched, self.held_since_s = None, 0, time.monotonic()
        return found

    def follow(self, n_starts: int) -> None:
        """Let go of answers whose engine has died since: no canary will vouch for them."""
        if n_starts != self.n_starts:
            self.held, self.n_vouched, self.n_starts = [], 0, n_starts


class WatchedEngine:
    """An engine of which no answer is given away before a later canary was good.

    The base's canary watches all that shares batches with it. Weights that take the base's place
    have one of their own; between two of them the base's shows whether it is the base again.
    Classification heads have no base to be asked.

    Parameters
    ----------
    engine : SupervisedEngine
        What is watched.
    spec : EngineSpec
        What it serves.
    on_event : callable, optional
        Called with a one-line notice when nothing can be watched.
    every : int, optional
        Answers from one canary to the next, at most.

    Attributes
    ----------
    quarantined : dict
        Adapters that changed an engine's answers, with what to say of their requests.
    up_at_s : float or None
        When the engine gave its first answer, which is a canary's; by `time.monotonic`.
    """

    def __init__(
        self,
        engine: SupervisedEngine,
        spec: EngineSpec,
        on_event: Callable[[str], None] | None = None,
        every: int = EVERY,
    ) -> None:
        self._engine = engine
        self._on_event = on_event or (lambda notice: None)
        self._every = every
        self._n_canaries = 0
        self._known: dict[str | None, tuple[float, ...]] = {}
        self._take(spec)
        self.up_at_s: float | None = None

    def _take(self, spec: EngineSpec) -> None:
        self._alone = {a.name for a in spec.adapters if a.route == MERGE}
        self._n_classes = {a.name: len(a.labels) for a in spec.adapters if a.labels}
        self._changed_nat = CHANGED_NAT.get(spec.dtype, CHANGED_NAT_HALF)
        n_words, n_prompt = spec.base.vocabulary_size, min(_N_PROMPT, spec.max_model_len - 1)
        self._prompt = tuple(7919 * i % n_words for i in range(1, n_prompt + 1))
        self._choices = tuple((104729 * i % n_words,) for i in range(1, _N_TOKENS + 1))
        self.quarantined: dict[str, str] = {}

    @property
    def n_starts(self) -> int:
        """How often the engine came up."""
        return self._engine.n_starts

    @property
    def n_restarts(self) -> int:
        """How often the engine was replaced."""
        return self._engine.n_restarts

    def launch(self) -> None:
        """Begin to start, without waiting."""
        self._engine.launch()

    def adopt(self, spec: EngineSpec) -> None:
        """Answer for other adapters of the same base from now on; see `SupervisedEngine`."""
        self._engine.adopt(spec)
        self._take(spec)
        self._known = {name: known for name, known in self._known.items() if name is None}

    def close(self) -> None:
        """Free the device; safe to call twice."""
        self._engine.close()

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion per distinct request key; see `Engine`."""
        asked: dict[str, Request] = {}
        for request in requests:
            asked.setdefault(request.key, request)
        alone = [r for r in asked.values() if r.adapter in self._alone]
        shared = [r for r in asked.values() if r.adapter not in self._alone]
        names = list(dict.fromkeys(request.adapter for request in alone))
        if (shared or len(names) > 1) and not self._n_classes:
            self._learn(None)
        yield from self._settled(shared, None)
        for number, name in enumerate(names):
            if number and self._known.get(None) and self._is_changed(self._ask(None), None):
                before = names[number - 1]
                self._engine.replace(f"after {before} the base does not answer as before")
            yield from self._settled([r for r in alone if r.adapter == name], name)

    def _settled(self, requests: Sequence[Request], witness: str | None) -> Iterator[Completion]:
        """Answer every request, whatever becomes of the engine; ``witness`` has the canary."""
        left = {request.key: request for request in requests}
        try:
            for completion in self._watched(requests, witness):
                del left[completion.key]
                yield completion
        except CanaryChangedError:
            yield from self._parted(list(left.values()), witness)
        else:
            if left:  # their engine died before a canary could vouch for them
                yield from self._settled(list(left.values()), witness)

    def _parted(self, requests: Sequence[Request], witness: str | None) -> Iterator[Completion]:
        """Answer what a canary's change has left, by halves of its adapters."""
        self._engine.replace("its answers changed; looking for the adapter that did it")
        names = list(dict.fromkeys(request.adapter for request in requests))
        if len(names) == 1:
            why = f"engine_fault: the engine's answers change beside {names[0] or 'the base'}"
            if names[0] is not None:
                self.quarantined[names[0]] = why
            yield from (failed(request, why) for request in requests)
            return
        for half in (names[: len(names) // 2], names[len(names) // 2 :]):
            yield from self._settled([r for r in requests if r.adapter in half], witness)

    def _watched(self, requests: Sequence[Request], witness: str | None) -> Iterator[Completion]:
        """Yield answers that were followed by a good canary, and failures.

        Raises
        ------
        CanaryChangedError
            What was not yielded is worth nothing.
        """
        if requests:
            self._learn(witness)
        for request in requests:
            if request.adapter in self.quarantined:
                yield failed(request, self.quarantined[str(request.adapter)])
        well = [request for request in requests if request.adapter not in self.quarantined]
        stream = _Stream(n_starts=self._engine.n_starts)
        with closing(self._engine.complete(self._asked(well, stream, witness))) as answers:
            for completion in answers:
                stream.follow(self._engine.n_starts)
                if completion.key == stream.canary:
                    if self._is_changed(completion, witness):
                        raise CanaryChangedError
                    yield from stream.released()
                    continue
                stream.open.discard(completion.key)
                if completion.error is not None or not self._known.get(witness):
                    yield completion
                else:
                    stream.hold(completion)

    def _asked(
        self, requests: Sequence[Request], stream: _Stream, witness: str | None
    ) -> Iterator[Request | None]:
        """Yield requests and canaries; None while only answers can show what comes next."""
        waiting = iter(requests)
        request = next(waiting, None)
        while request or stream.open or stream.held or stream.canary:
            if stream.wants_canary(self._every, is_last=request is None):
                canary = self._canary(witness)
                stream.canary, stream.n_vouched = canary.key, len(stream.held)
                yield canary
            elif request is None:
                yield None
            else:
                stream.open.add(request.key)
                yield request
                request = next(waiting, None)

    def _learn(self, witness: str | None) -> None:
        """Learn a canary's answer while nothing else has been asked of these weights.

        Raises
        ------
        EngineError
            The base answers with numbers that are none.
        """
        if witness in self._known or witness in self.quarantined:
            return
        found = self._ask(witness)
        self.up_at_s = self.up_at_s or time.monotonic()
        if found.error is None and all(map(math.isfinite, _logprobs(found))):
            self._known[witness] = _logprobs(found)
        elif witness is not None:
            self.quarantined[witness] = found.error or "its log-probabilities are no numbers"
        elif found.error is None:
            raise EngineError("the base's log-probabilities are no numbers: check its weights")
        else:
            self._known[witness] = ()
            self._on_event(f"no canary watches the engine: {found.error}")

    def _canary(self, witness: str | None) -> Request:
        self._n_canaries += 1
        n_classes = self._n_classes.get(witness or "", 0)
        classes = tuple((number,) for number in range(n_classes))
        return Request(
            f"canary-{self._n_canaries}", "canary", "", witness, self._prompt,
            Decoding(max_tokens=0), choices=classes or self._choices, of_head=bool(classes),
        )  # fmt: skip

    def _ask(self, witness: str | None) -> Completion:
        (found,) = self._engine.complete([self._canary(witness)])
        return found

    def _is_changed(self, canary: Completion, witness: str | None) -> bool:
        """Whether a canary failed or is not what it was; a NaN is no number, so it changed."""
        now, then = _logprobs(canary), self._known[witness]
        if len(now) != len(then):
            return True
        distance = math.fsum(abs(a - b) for a, b in zip(now, then, strict=True)) / len(then)
        return not distance <= self._changed_nat


def _logprobs(canary: Completion) -> tuple[float, ...]:
    return tuple(likelihood.logprobs[0] for likelihood in canary.likelihoods)
