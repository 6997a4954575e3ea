"""Trained prompts in vLLM: their vectors, then the embeddings of the prompt's own tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from peval.adapters import base_model
from peval.adapters.checkpoint import Checkpoint, read_checkpoint
from peval.adapters.routes import PROMPT
from peval.bases import weight_files, weight_shapes
from peval.errors import EngineError
from peval.types import Adapter, Base, EngineSpec


class TrainedPrompts:
    """The vectors of prompt-learning adapters; ``refused`` says why some have none."""

    def __init__(self, base: Base, dtype: str, adapters: Sequence[Adapter]) -> None:
        self.refused: dict[str, str] = {}
        self._vectors: dict[str, Any] = {}
        if not adapters:
            return
        import torch

        self._table = _embedding(base).to(getattr(torch, dtype))
        for adapter in adapters:
            try:
                found = _vectors(read_checkpoint(adapter.path, None, None))
            except EngineError as error:
                self.refused[adapter.name] = str(error)
            else:
                self._vectors[adapter.name] = found.to(self._table.dtype)

    @classmethod
    def of(cls, spec: EngineSpec) -> Self:
        """Return those of an engine's adapters whose route it is."""
        mine = [adapter for adapter in spec.adapters if adapter.route == PROMPT]
        return cls(spec.base, spec.dtype, mine)

    def arguments(self, spec: EngineSpec) -> dict[str, object]:
        """Return what vLLM must be told: prompts are embeddings, and longer by the vectors."""
        if not self._vectors:
            return {}
        longest = spec.max_model_len + max(map(len, self._vectors.values()))
        return {
            "enable_prompt_embeds": True,
            "max_model_len": min(longest, spec.base.context_tokens),
        }

    def __contains__(self, adapter: str | None) -> bool:
        return adapter in self._vectors

    def embedded(self, adapter: str, ids: tuple[int, ...]) -> Any:
        """Return a whole prompt as embeddings, of shape (vectors + tokens, hidden size)."""
        import torch

        return torch.cat([self._vectors[adapter], self._table[list(ids)]])


def _vectors(found: Checkpoint) -> Any:
    """Return the vectors in float32, as PEFT computes them (``peft_model.py``, ``get_prompt``)."""
    from safetensors.torch import load_file

    tensors = load_file(found.file)
    vectors = tensors["prompt_embeddings"].float()
    if "prefix_task_cols" not in tensors:
        return vectors
    cols, rows = tensors["prefix_task_cols"].float(), tensors["prefix_task_rows"].float()
    if len(cols) != 1:
        raise EngineError(f"it holds the prompts of {len(cols)} tasks; save one of them alone")
    return vectors * (cols[0] @ rows[0])


def _embedding(base: Base) -> Any:
    from safetensors import safe_open

    name = base_model(base, weight_shapes(base)).embedding
    for file in weight_files(base.path):
        with safe_open(Path(file), "pt") as weights:
            if name in weights.keys():  # noqa: SIM118
                return weights.get_tensor(name)
    raise EngineError(f"{base.path}: no embedding found, which trained prompts need")
