"""What one process spent on a run: seconds, engine starts, tokens."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from peval.types import Completion, Request


@dataclass(frozen=True)
class Sitting:
    """One process's share of a run. Tokens are those of prompts asked and of answers written.

    Where an engine says so, ``n_read`` are those it was given, a prompt's once for each choice that
    is read apart, and ``n_cached`` those of them that it had read before.

    ``wall_s`` runs from the first request to the last answer, ``starting_s`` of it until the
    engine's first answer.
    """

    wall_s: float
    starting_s: float
    n_engine_starts: int
    n_answered: int
    n_prompt_tokens: int
    n_tokens: int
    n_read: int = 0
    n_cached: int = 0


class Meter:
    """Counts answers as they come."""

    def __init__(self) -> None:
        self._prompts: dict[str, int] = {}
        self._opened_s = time.monotonic()
        self._first_s: float | None = None
        self.n_answered = self._n_prompt_tokens = self._n_tokens = 0
        self._n_read = self._n_cached = 0

    @property
    def was_needed(self) -> bool:
        """Tell whether anything was asked."""
        return bool(self._prompts)

    def ask(self, requests: Iterable[Request]) -> None:
        """Learn what is asked."""
        self._prompts |= {r.key: len(r.prompt_token_ids) for r in requests}

    def count(self, completion: Completion) -> None:
        """Count one answer."""
        if self._first_s is None:
            self._first_s = time.monotonic()
        self.n_answered += 1
        self._n_prompt_tokens += self._prompts.get(completion.key, 0)
        self._n_tokens += sum(len(one.token_ids) for one in completion.drawn)
        self._n_read += completion.n_read
        self._n_cached += completion.n_cached

    def sitting(self, n_engine_starts: int, up_at_s: float | None = None) -> Sitting:
        """Return what was spent until now; ``up_at_s`` is when the engine began to answer."""
        now_s = time.monotonic()
        first_s = min(self._first_s or now_s, up_at_s or now_s)
        return Sitting(
            wall_s=round(now_s - self._opened_s, 3),
            starting_s=round(max(0.0, first_s - self._opened_s), 3),
            n_engine_starts=n_engine_starts,
            n_answered=self.n_answered,
            n_prompt_tokens=self._n_prompt_tokens,
            n_tokens=self._n_tokens,
            n_read=self._n_read,
            n_cached=self._n_cached,
        )
