"""Adapters that vLLM applies as LoRA: as they are, or written again as one."""

from __future__ import annotations

import dataclasses
from typing import Any

from peval.adapters import load_adapter, open_adapter
from peval.adapters.checkpoint import Checkpoint
from peval.adapters.rewrite import rewrite
from peval.adapters.routes import NATIVE, REWRITE
from peval.bases import weight_shapes
from peval.engines.scratch import Scratch
from peval.errors import AdapterError
from peval.types import Adapter, EngineSpec

_ROOM = 8  # a rewrite is in float32, and products of factors have more rows


class Loras:
    """The LoRAs of an engine by adapter name; ``refused`` says why others are none."""

    def __init__(self, spec: EngineSpec, scratch: Scratch) -> None:
        self.adapters: list[Adapter] = []
        self.refused: dict[str, str] = {}
        self._requests: dict[str, Any] = {}
        for adapter in spec.adapters:
            if adapter.route == NATIVE:
                self.adapters.append(adapter)
            elif adapter.route == REWRITE:
                self._rewrite(spec, adapter, scratch)

    def _rewrite(self, spec: EngineSpec, adapter: Adapter, scratch: Scratch) -> None:
        base, shapes = spec.base, weight_shapes(spec.base)
        n_bytes = _ROOM * sum(file.stat().st_size for file in adapter.path.glob("*.safetensors"))
        out = scratch.place(n_bytes) / f"lora-{adapter.sha256}"
        try:
            found = open_adapter(adapter.path, base, shapes, allow_base_mismatch=True)
            assert isinstance(found, Checkpoint)
            assert found.plan is not None
            if not out.exists():
                rewrite(found.config, found.file, found.plan, out)
            lora = load_adapter(out, adapter.name, base, shapes, allow_base_mismatch=True)
        except AdapterError as error:
            self.refused[adapter.name] = str(error)
        else:
            self.adapters.append(dataclasses.replace(lora, sha256=f"{REWRITE}-{adapter.sha256}"))

    def load(self, engine: Any, numbers: dict[str, int]) -> None:
        """Load every adapter now: one that fails inside a batch takes the engine with it.

        ``numbers`` holds those of all weights that the engine has seen, by content, and grows.
        """
        from vllm.lora.request import LoRARequest

        for adapter in self.adapters:
            # vLLM knows loaded weights by number, its prefix cache by name: both stand for content.
            number = numbers.setdefault(adapter.sha256, len(numbers) + 1)
            lora = LoRARequest(adapter.sha256, number, str(adapter.path))
            try:
                engine.add_lora(lora)
            except Exception as error:  # vLLM raises bare Exception here; only this adapter fails
                self.refused[adapter.name] = " ".join(str(error).split())[:300]
            else:
                self._requests[adapter.name] = lora

    def request_of(self, adapter: str | None) -> Any:
        """Return vLLM's request for an adapter; None where it is no LoRA."""
        return self._requests.get(adapter) if adapter else None
