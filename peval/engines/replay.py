"""An engine that answers from recorded completions, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from peval.errors import EngineError
from peval.types import Completion, Request


class ReplayEngine:
    """Answers requests from completions by key."""

    def __init__(self, completions: Mapping[str, Completion]) -> None:
        self._completions = completions

    def launch(self) -> None:
        """Do nothing: there is nothing to start."""

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield the recorded completion of each distinct request key.

        Raises
        ------
        EngineError
            A request was never recorded.
        """
        seen: set[str] = set()
        for request in requests:
            if request.key in seen:
                continue
            seen.add(request.key)
            yield self._recorded(request)

    def _recorded(self, request: Request) -> Completion:
        if request.key not in self._completions:
            who = "the base" if request.adapter is None else f"adapter {request.adapter}"
            raise EngineError(
                f"no completion was recorded for task {request.task}, sample {request.sample_id}, "
                f"{who}; record the run again"
            )
        return self._completions[request.key]

    def close(self) -> None:
        """Do nothing: there is no device to free."""
