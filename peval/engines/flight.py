"""Which requests wait, which are with the worker, and which of them kill it.

A worker that dies leaves suspects: the requests it had in flight. They are asked again, at most
16 at a time; when that kills a worker too, one at a time; and the request that then kills a
worker is answered with an error. So one poisonous request costs three restarts and nothing else,
and an adapter whose requests have killed three workers is not asked again.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator

from peval.engines.process import WorkerDeathError
from peval.engines.wire import failed
from peval.types import Completion, Request

_SUSPECT_WINDOWS = (16, 1)
_MAX_POISONS_PER_ADAPTER = 3


class Flight:
    """The requests of one stream, from their source to their answers.

    A source may yield None while its next request depends on answers that are still in flight.
    """

    def __init__(self, requests: Iterable[Request | None]) -> None:
        self._source = _distinct(requests)
        self._waiting: deque[Request] = deque()
        self._suspects: set[str] = set()
        self._level = 0
        self._n_poisons: Counter[str | None] = Counter()
        self._rejected: deque[Completion] = deque()
        self.in_flight: dict[str, Request] = {}
        self.n_fruitless_deaths = 0

    def has_work(self) -> bool:
        """Whether a request is waiting or in flight."""
        return bool(self.in_flight) or self._fill()

    def _fill(self) -> bool:
        """Make sure that the next request is at hand; False at the end, or for now."""
        if not self._waiting:
            self._waiting.extend(filter(None, itertools.islice(self._source, 1)))
        return bool(self._waiting)

    def take(self, window: int) -> Iterator[Request]:
        """Move requests into flight until the window is full; suspects fly without others."""
        if self._suspects:
            window = min(window, _SUSPECT_WINDOWS[self._level - 1])
        while len(self.in_flight) < window and self._fill():
            if self._suspects and self._waiting[0].key not in self._suspects:
                return
            request = self._waiting.popleft()
            if self._n_poisons[request.adapter] >= _MAX_POISONS_PER_ADAPTER:
                self._reject(request)
            else:
                self.in_flight[request.key] = request
                yield request

    def _reject(self, request: Request) -> None:
        self._clear(request.key)
        why = f"adapter {request.adapter} has killed the engine {_MAX_POISONS_PER_ADAPTER} times"
        self._rejected.append(failed(request, f"engine_fault: {why}"))

    def pop_rejected(self) -> Iterator[Completion]:
        """Yield the answers of requests that are not worth a worker's life."""
        while self._rejected:
            yield self._rejected.popleft()

    def settle(self, completion: Completion) -> Completion:
        """Note an answer; the last suspect's clears the air."""
        if self.in_flight.pop(completion.key, None) is None:
            raise WorkerDeathError("the worker answered a request that it was not asked")
        self._clear(completion.key)
        self.n_fruitless_deaths = 0
        return completion

    def _clear(self, key: str) -> None:
        self._suspects.discard(key)
        if not self._suspects:
            self._level = 0

    def blame(self) -> Request | None:
        """Take back what was in flight when a worker died; return a proven culprit."""
        self.n_fruitless_deaths += 1
        lost = list(self.in_flight.values())
        self.in_flight.clear()
        if self._level == len(_SUSPECT_WINDOWS) and lost:
            self._clear(lost[0].key)
            if lost[0].adapter is not None:
                self._n_poisons[lost[0].adapter] += 1
            return lost[0]
        self._waiting.extendleft(reversed(lost))
        self._suspects = {request.key for request in lost}
        self._level += bool(lost)
        return None


def _distinct(requests: Iterable[Request | None]) -> Iterator[Request | None]:
    seen: set[str] = set()
    for request in requests:
        if request is None:
            yield None
        elif request.key not in seen:
            seen.add(request.key)
            yield request
