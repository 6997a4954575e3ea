"""How much vLLM read for each request, and how much of that its prefix cache held."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from peval.types import Completion


class Reads:
    """Counts tokens of prompts, over all of vLLM's requests that one of ours is made of."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int]] = {}

    def note(self, key: str, output: Any) -> None:
        """Count a finished request of vLLM's; embedded prompts have no tokens."""
        n_read, n_cached = self._found.get(key, (0, 0))
        n_read += len(output.prompt_token_ids or ())
        self._found[key] = n_read, n_cached + (output.num_cached_tokens or 0)

    def told(self, completion: Completion) -> Completion:
        """Return a completion with what was read for it."""
        n_read, n_cached = self._found.pop(completion.key)
        return replace(completion, n_read=n_read, n_cached=n_cached)
