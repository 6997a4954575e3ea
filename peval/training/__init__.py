"""Scoring while training: a callback for transformers' `Trainer` and what descends from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peval.training.callback import PevalCallback as PevalCallback

__all__ = ["PevalCallback"]


def __getattr__(name: str) -> Any:
    # Lazy: the callback's base class is transformers', which takes seconds to import.
    if name == "PevalCallback":
        from peval.training.callback import PevalCallback

        return PevalCallback
    raise AttributeError(f"module 'peval.training' has no attribute {name!r}")
