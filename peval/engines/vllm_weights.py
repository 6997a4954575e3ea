"""Whole checkpoints that take the base's place in a live vLLM, one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peval.engines.merger import Merger
from peval.errors import EngineError

_SHARED = ("tie_word_embeddings", "vocab_size")


class LiveWeights:
    """What an engine's weights are now: the base's (None) or an adapter's.

    Parameters
    ----------
    engine
        A vLLM ``LLMEngine``; it must be idle whenever its weights change.
    first : Path
        Where the weights lie that it started with: the base's, or those of ``current``.
    merger : Merger
        Makes the adapters' checkpoints.
    """

    def __init__(
        self, engine: Any, first: Path, merger: Merger, current: str | None = None
    ) -> None:
        self._engine = engine
        self._base = first
        self._config = _config(first)
        self._merger = merger
        self.current = current

    def turn_to(self, name: str | None, wait_s: float) -> bool:
        """Load an adapter's weights or the base's; False if they are not ready yet.

        Raises
        ------
        EngineError
            There are no such weights, or they do not fit this engine.
        """
        if name == self.current:
            return True
        path = self._base if name is None else self._merger.checkpoint(name, wait_s)
        if path is None:
            return False
        self._check(path)
        self._engine.collective_rpc("reload_weights", kwargs={"weights_path": str(path)})
        if not self._engine.reset_prefix_cache():
            raise RuntimeError("the prefix cache of other weights is still in use")
        if self.current is not None:
            self._merger.discard(self.current)
        self.current = name
        return True

    def _check(self, path: Path) -> None:
        mine, first = _config(path), self._config
        for field in _SHARED:
            if mine.get(field) != first.get(field):
                raise EngineError(
                    f"its checkpoint has {field} {mine.get(field)}, the engine {first.get(field)}; "
                    "--route NAME=hf"
                )


def wait_for(merger: Merger, name: str, tick: Callable[[], None]) -> Path:
    """Return an adapter's checkpoint, telling the parent meanwhile that work goes on."""
    while (path := merger.checkpoint(name, 0.5)) is None:
        tick()
    return path


def _config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found
