"""Several engines as one: each request goes to the one that holds its adapter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from peval.types import Completion, Engine, EngineSpec, Request


class RoutedEngine:
    """Answers in one engine after the other; the device holds one of them at a time.

    Parameters
    ----------
    engines : sequence of (EngineSpec, Engine)
        The first also answers for the base.
    """

    def __init__(self, engines: Sequence[tuple[EngineSpec, Engine]]) -> None:
        self._engines = [engine for _, engine in engines]
        self._place: dict[str | None, int] = {
            adapter.name: number
            for number, (spec, _) in enumerate(engines)
            for adapter in spec.adapters
        }

    def launch(self) -> None:
        """Begin to start the first engine, and do not wait for it."""
        self._engines[0].launch()

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion per distinct request key, engine by engine."""
        waiting: list[list[Request]] = [[] for _ in self._engines]
        for request in requests:
            waiting[self._place.get(request.adapter, 0)].append(request)
        for engine, mine in zip(self._engines, waiting, strict=True):
            if mine:
                yield from engine.complete(mine)
            engine.close()

    def close(self) -> None:
        """Free the device; safe to call twice."""
        for engine in self._engines:
            engine.close()
