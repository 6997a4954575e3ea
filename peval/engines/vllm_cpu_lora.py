"""LoRA on the CPU, adapter by adapter. Imported by vLLM, in the worker only.

vLLM 0.32's own kernels copy an adapter's matrices once per token, which is slow, and give a base
model's tokens (index -1) the adapter in the last slot, which is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

Group = tuple[int, Tensor]


def install() -> None:
    """Make vLLM's CPU platform use these kernels, in this process."""
    from vllm.platforms.cpu import CpuPlatform

    name = f"{GroupedLora.__module__}.{GroupedLora.__qualname__}"
    CpuPlatform.get_punica_wrapper = classmethod(lambda cls: name)


class GroupedLora(PunicaWrapperCPU):  # type: ignore[misc]
    """vLLM's LoRA kernels with the tokens of a batch grouped by adapter.

    Products are summed in float32; results between and after the two factors are rounded to the
    model's dtype, as vLLM's GPU kernels do.
    """

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Take in a batch: which token and which sampled position belongs to which adapter."""
        super().update_metadata(*args, **kwargs)
        self._token_groups = groups(self.token_lora_indices)
        self._sampler_groups = groups(self.sampler_indices)

    def add_lora_linear(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: Sequence[Tensor],
        lora_b_stacked: Sequence[Tensor],
        scale: float,
        output_slices: Sequence[int],
        **kwargs: Any,
    ) -> None:
        """Add each slice's ``x @ a @ b * scale`` to ``y``, in place."""
        x, y = x.view(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        for slot, rows in self._token_groups:
            mine = x[rows].float()
            parts = [
                expand(shrink(mine, a[slot], scale), b[slot], y.dtype)
                for a, b in zip(lora_a_stacked, lora_b_stacked, strict=True)
            ]
            y[rows, : sum(output_slices)] += torch.cat(parts, dim=1)

    def add_lora_embedding(
        self, y: Tensor, x: Tensor, lora_b_stacked: Tensor, add_inputs: bool = True, **kwargs: Any
    ) -> None:
        """Add ``x @ b`` to ``y``, in place; ``x`` holds rows of the adapters' embeddings."""
        for slot, rows in self._token_groups:
            y[rows] += expand(x[rows].float(), lora_b_stacked[slot], y.dtype)

    def add_lora_logits(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: Tensor,
        lora_b_stacked: Tensor,
        scale: float,
        **kwargs: Any,
    ) -> None:
        """Add ``x @ a @ b * scale`` to the logits ``y``, in place."""
        x, y = x.view(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        for slot, rows in self._sampler_groups:
            hidden = shrink(x[rows].float(), lora_a_stacked[slot], scale)
            found = expand(hidden, lora_b_stacked[slot], y.dtype)
            n_logits = min(found.shape[1], y.shape[1])  # the two may be padded differently
            y[rows, :n_logits] += found[:, :n_logits]


def groups(slots: Tensor) -> list[Group]:
    """Return each slot in use with the rows that use it; the base model's rows are in none."""
    return [(int(slot), (slots == slot).nonzero()[:, 0]) for slot in slots.unique() if slot >= 0]


def shrink(x: Tensor, a: Tensor, scale: float) -> Tensor:
    """Return ``x @ a.T * scale`` in float32; ``a`` has shape (1, rank, n_inputs)."""
    return (x @ a[0].float().T) * scale


def expand(hidden: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``hidden @ b.T`` rounded to a dtype; ``b`` has shape (1, n_outputs, rank)."""
    return (hidden.to(dtype).float() @ b[0].float().T).to(dtype)
