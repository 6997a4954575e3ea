from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from peval.types import Completion, Request

ROOT = Path(__file__).parents[1]
TOY = ROOT / "tests" / "toy"


class ScriptedEngine:
    """For unit tests of what lies around an engine: answers with the prompt's own token ids."""

    def __init__(self, fail_keys: frozenset[str] = frozenset(), stop_after: int | None = None):
        self.fail_keys = fail_keys
        self.stop_after = stop_after
        self.asked: list[Request] = []
        self.closed = False

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        seen: set[str] = set()
        for request in requests:
            if request.key in seen:
                continue
            seen.add(request.key)
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(request)
            if request.key in self.fail_keys:
                yield Completion(request.key, "", (), "error", "engine_fault: scripted")
            else:
                yield self.answer(request)

    def answer(self, request: Request) -> Completion:
        words = ("alpha", "beta", "gamma", request.adapter or "base")
        chosen = words[sum(request.prompt_token_ids) % len(words)]
        return Completion(request.key, chosen, (1, 2), "stop")

    def close(self) -> None:
        self.closed = True
