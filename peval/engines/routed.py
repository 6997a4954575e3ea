"""Several engines as one: each request goes to the one that holds its adapter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from peval.engines.wire import failed
from peval.errors import EngineError
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

    @property
    def up_at_s(self) -> float | None:
        """When the first of them gave its first answer; None where that is not known."""
        return getattr(self._engines[0], "up_at_s", None)

    @property
    def n_restarts(self) -> int:
        """How often engines were replaced."""
        return sum(int(getattr(engine, "n_restarts", 0)) for engine in self._engines)

    def launch(self) -> None:
        """Begin to start the first engine, and do not wait for it."""
        self._engines[0].launch()

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion per distinct request key, engine by engine.

        Where an engine other than the first, which also answers for the base, cannot work, its
        requests fail and the others go on.

        Raises
        ------
        EngineError
            The first engine cannot work, or none that was asked can.
        """
        waiting: list[list[Request]] = [[] for _ in self._engines]
        for request in requests:
            waiting[self._place.get(request.adapter, 0)].append(request)
        n_answered = 0
        for number, (engine, mine) in enumerate(zip(self._engines, waiting, strict=True)):
            left = {request.key: request for request in mine}
            try:
                for completion in engine.complete(mine) if mine else ():
                    left.pop(completion.key, None)
                    n_answered += 1
                    yield completion
            except EngineError as error:
                if number == 0 or not n_answered:
                    raise
                yield from (failed(request, str(error)) for request in left.values())
            engine.close()

    def close(self) -> None:
        """Free the device; safe to call twice."""
        for engine in self._engines:
            engine.close()
