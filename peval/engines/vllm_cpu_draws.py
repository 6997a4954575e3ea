"""Draws on the CPU when a long prompt is read in pieces. Imported in the worker only.

vLLM 0.32 samples a token after every piece of a prompt and throws it away, then turns the request's
generator back by one draw. It does so by the offset that only generators on a GPU have: on a CPU
the engine dies of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from vllm.v1.worker.cpu_model_runner import CPUModelRunner


def install() -> None:
    """Let tokens that will be thrown away be drawn without the generators of their requests."""
    if not hasattr(CPUModelRunner._sample, "__wrapped__"):
        CPUModelRunner._sample = _without_thrown_away(CPUModelRunner._sample)
        CPUModelRunner._bookkeeping_sync = _with_all(CPUModelRunner._bookkeeping_sync)


def _without_thrown_away(sample: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(sample)
    def wrapped(self: Any, *args: Any) -> Any:
        n = self.input_batch.num_reqs
        rows = map(int, np.flatnonzero(self.discard_request_mask.np[:n]))
        generators = self.input_batch.generators
        self.peval_unused = {row: generators.pop(row) for row in rows if row in generators}
        return sample(self, *args)

    return wrapped


def _with_all(bookkeeping: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(bookkeeping)
    def wrapped(self: Any, *args: Any) -> Any:
        found = bookkeeping(self, *args)
        self.input_batch.generators.update(self.peval_unused)
        return found

    return wrapped
