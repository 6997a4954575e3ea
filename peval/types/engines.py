"""What answers requests, and what it needs to start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from peval.types.answers import Completion, Request
from peval.types.systems import Adapter, Base


@dataclass(frozen=True)
class LoraRoom:
    """What an engine keeps free for LoRAs that come while it lives."""

    n_adapters: int
    rank: int
    target_modules: tuple[str, ...]


@dataclass(frozen=True)
class EngineSpec:
    """Everything an engine needs to start. ``options`` are passed to it as they are.

    A "reference" is what the others are held against (`peval.engines.hf_reference`).
    """

    kind: Literal["vllm", "hf", "reference"]
    base: Base
    adapters: tuple[Adapter, ...]
    dtype: str
    max_model_len: int
    seed: int
    options: Mapping[str, object] = field(default_factory=dict)
    room: LoraRoom | None = None


class Engine(Protocol):
    """Answers requests in any order, as they finish."""

    def launch(self) -> None:
        """Begin to start, without waiting; `complete` starts what is not up yet."""
        ...

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion per distinct request key."""
        ...

    def close(self) -> None:
        """Free the device; safe to call twice."""
        ...
