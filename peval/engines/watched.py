"""A base canary beside all requests: no answer leaves an engine that has begun to answer otherwise.

A batch can spoil what others get from the same engine, silently: a NaN stays in its cache. So the
base is asked for one likelihood whose value is known from the engine's start, before, between and
after the requests. Answers are held back until the next canary is as it was. When it is not, all
that is held back is thrown away and the engine replaced; what was lost is asked again by halves of
the adapters, until the one that spoils the engine is alone. Its requests fail, the others go on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from peval.engines.supervisor import SupervisedEngine
from peval.engines.wire import failed
from peval.types import MERGE, Completion, Decoding, EngineSpec, Request

EVERY = 128
CHANGED_NAT = {"float32": 0.02}
"""Mean difference per token by dtype; other batches alone make a hundredth of it."""
CHANGED_NAT_HALF = 0.3
_N_PROMPT, _N_TOKENS = 16, 12


class CanaryChangedError(Exception):
    """The base answers otherwise than at the engine's start; never leaves this module."""

    def __init__(self, requests: Sequence[Request]) -> None:
        super().__init__("the base's canary changed")
        self.requests = requests


class WatchedEngine:
    """An engine of which no answer is given away before a later canary was good.

    Weights that take the base's place share no batch with anything, so that their answers are not
    held back.

    Parameters
    ----------
    engine : SupervisedEngine
        What is watched.
    spec : EngineSpec
        What it serves.
    every : int, optional
        Requests from one canary to the next.

    Attributes
    ----------
    quarantined : dict
        Adapters that changed the base's answers, with what to say of their requests.
    up_at_s : float or None
        When the engine gave its first answer, which is a canary's; by `time.monotonic`.
    """

    def __init__(self, engine: SupervisedEngine, spec: EngineSpec, every: int = EVERY) -> None:
        self._engine = engine
        self._every = every
        self._alone = {a.name for a in spec.adapters if a.route == MERGE}
        self._changed_nat = CHANGED_NAT.get(spec.dtype, CHANGED_NAT_HALF)
        n_words = spec.base.vocabulary_size
        self._prompt = tuple(7919 * i % n_words for i in range(1, _N_PROMPT + 1))
        self._choice: tuple[int, ...] = ()
        self._known: tuple[float, ...] = ()
        self._n_canaries = 0
        self.quarantined: dict[str, str] = {}
        self.up_at_s: float | None = None

    @property
    def n_restarts(self) -> int:
        """How often the engine was replaced."""
        return self._engine.n_restarts

    def launch(self) -> None:
        """Begin to start, without waiting."""
        self._engine.launch()

    def close(self) -> None:
        """Free the device; safe to call twice."""
        self._engine.close()

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion per distinct request key; see `Engine`."""
        asked = {request.key: request for request in requests}
        shared = {key: r for key, r in asked.items() if r.adapter not in self._alone}
        while shared:
            try:
                for completion in self._watched(list(shared.values())):
                    del shared[completion.key]
                    yield completion
            except CanaryChangedError as changed:
                for completion in self._parted(changed.requests):
                    del shared[completion.key]
                    yield completion
        yield from self._engine.complete(r for r in asked.values() if r.adapter in self._alone)

    def _watched(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield answers that were followed by a good canary.

        Raises
        ------
        CanaryChangedError
            With the requests that were asked since the last good one.
        """
        well = [r for r in requests if r.adapter not in self.quarantined]
        for request in requests:
            if request.adapter in self.quarantined:
                yield failed(request, self.quarantined[str(request.adapter)])
        self._learn()
        since: dict[str, Request] = {}
        held: list[Completion] = []
        with closing(self._engine.complete(self._with_canaries(well, since))) as answers:
            for completion in answers:
                if completion.key in since:
                    held.append(completion)
                elif self._is_changed(completion):
                    raise CanaryChangedError(list(since.values()))
                else:
                    yield from _released(held, since)
        if held and self._is_changed(self._ask(self._canary())):
            raise CanaryChangedError(list(since.values()))
        yield from _released(held, since)

    def _with_canaries(
        self, requests: Sequence[Request], since: dict[str, Request]
    ) -> Iterator[Request]:
        """Yield requests, noted in ``since``, and a canary every so many of them."""
        for n, request in enumerate(requests, start=1):
            since[request.key] = request
            yield request
            if n % self._every == 0 and self._known:
                yield self._canary()

    def _parted(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Answer what a canary's change has spoilt, by halves of its adapters."""
        self._engine.replace("the base's answers changed; looking for the adapter that did it")
        names = list(dict.fromkeys(request.adapter for request in requests))
        if len(names) == 1:
            why = f"engine_fault: the base's answers change beside {names[0] or 'the base itself'}"
            if names[0] is not None:
                self.quarantined[names[0]] = why
            yield from (failed(request, why) for request in requests)
            return
        for half in (names[: len(names) // 2], names[len(names) // 2 :]):
            mine = [request for request in requests if request.adapter in half]
            left = {request.key: request for request in mine}
            try:
                for completion in self._watched(mine):
                    del left[completion.key]
                    yield completion
            except CanaryChangedError:
                yield from self._parted(list(left.values()))

    def _learn(self) -> None:
        """Learn what the base says while nothing else has been asked; unknown where it cannot."""
        if self._known:
            return
        first = Request("canary", "canary", "first", None, self._prompt, Decoding(_N_TOKENS))
        self._choice = self._ask(first).token_ids
        self.up_at_s = time.monotonic()
        if self._choice:
            found = self._ask(self._canary())
            self._known = found.likelihoods[0].logprobs if found.likelihoods else ()

    def _canary(self) -> Request:
        self._n_canaries += 1
        key = f"canary-{self._n_canaries}"
        decoding = Decoding(max_tokens=0)
        return Request(
            key, "canary", key, None, self._prompt, decoding, choices=(self._choice,)
        )  # fmt: skip

    def _ask(self, request: Request) -> Completion:
        (found,) = self._engine.complete([request])
        return found

    def _is_changed(self, canary: Completion) -> bool:
        """Whether a canary failed or is not what it was; a NaN is no number, so it changed."""
        if not self._known:
            return False
        if not canary.likelihoods:
            return True
        pairs = zip(canary.likelihoods[0].logprobs, self._known, strict=True)
        distance = math.fsum(abs(now - then) for now, then in pairs) / len(self._known)
        return not distance <= self._changed_nat


def _released(held: list[Completion], since: dict[str, Request]) -> Iterator[Completion]:
    """Yield what was held back, which is then nobody's suspect any more."""
    while held:
        completion = held.pop(0)
        del since[completion.key]
        yield completion
