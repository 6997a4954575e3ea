"""What transformers and PEFT say of an adapter, twice: as an engine rounds, and in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from peval.engines.hf_backend import HfBackend
from peval.engines.hf_models import HfModels
from peval.types import Completion, EngineSpec, Request

EXACT = "float32"


class ReferenceBackend(HfBackend):
    """Transformers with the likelihoods of each choice in the spec's dtype, then all in float32.

    The option ``threads`` is for a processor on which something else starts meanwhile: two
    processes that both want all cores take many times as long.
    """

    def __init__(self, spec: EngineSpec, tick: Callable[[], None]) -> None:
        threads = spec.options.get("threads")
        if threads is not None:
            import torch

            torch.set_num_threads(int(str(threads)))
        super().__init__(replace(spec, options={}), tick)
        is_exact = self._models.dtype == EXACT
        exact = replace(spec, dtype=EXACT, options={})
        self._exact = self._models if is_exact else HfModels(exact, self._device)

    def _scored(self, request: Request) -> Completion:
        """Return the likelihoods of a request's choices, in both dtypes."""
        found = super()._scored(request)
        if self._exact is self._models:
            return replace(found, likelihoods=2 * found.likelihoods)
        exact = self._likelihoods(self._exact, request)
        return replace(found, likelihoods=found.likelihoods + exact.likelihoods)
