"""Bottleneck adapters of the ``adapters`` library in transformers, by hooks on sublayers.

Source of the arithmetic: adapter-hub/adapters 1.3.0, ``methods/modeling.py`` (`Bottleneck` says it
in one line). The library itself needs another transformers than this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peval.adapters.bottleneck_config import Bottleneck, read_bottleneck_config
from peval.adapters.bottlenecks import HEAD_TENSOR, places, prefix_of
from peval.adapters.weights import BOTTLENECKS_FILE, HEAD_FILE
from peval.errors import EngineError

_EPSILON = 1e-5  # that of torch's LayerNorm


def insert(model: Any, path: Path) -> None:
    """Put an adapter into a model whose modules are its own; its tensors may be the base's.

    Raises
    ------
    EngineError
        Its output layer cannot take the place of the base's.
    """
    from safetensors.torch import load_file

    config = read_bottleneck_config(path)
    given = load_file(path / BOTTLENECKS_FILE)
    tensors = {k: t.to(model.device, model.dtype) for k, t in given.items()}
    prefix = prefix_of(given)
    layers = model if model.config.is_encoder_decoder else model.get_decoder()
    sizes = model.config
    n_decoder_layers = getattr(sizes, "num_decoder_layers", None) or sizes.num_hidden_layers
    for place in places(config, sizes.num_hidden_layers, n_decoder_layers):
        stem = f"{prefix}{place.owner}.adapters.{config.name}."
        mine = {k.removeprefix(stem): t for k, t in tensors.items() if k.startswith(stem)}
        inserted = _Inserted(config.how, mine)
        layers.get_submodule(place.norm).register_forward_pre_hook(inserted.see)
        layers.get_submodule(place.sublayer).register_forward_hook(inserted.change)
    if (path / HEAD_FILE).exists():
        _put_head(model, load_file(path / HEAD_FILE)[HEAD_TENSOR])


def _put_head(model: Any, weight: Any) -> None:
    import torch

    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    weight = weight.to(model.device, model.dtype)
    if head.weight is not table.weight:
        head.weight = torch.nn.Parameter(weight, requires_grad=False)
    elif not torch.equal(weight, table.weight):
        raise EngineError(f"{HEAD_FILE} is not the base's output layer, which is its embedding")


class _Inserted:
    """One bottleneck: remembers the residual, then changes what the sublayer returns."""

    def __init__(self, how: Bottleneck, tensors: Mapping[str, Any]) -> None:
        from transformers.activations import get_activation

        self._how = how
        self._tensors = tensors
        self._residual: Any = None
        # The only activation that the library takes from torch.
        name = how.activation
        self._act = _leaky_relu if name == "leakyrelu" else get_activation(name)

    def see(self, module: Any, args: tuple[Any, ...]) -> None:
        """Remember the residual that goes into the sublayer's norm."""
        self._residual = args[0]

    def change(self, module: Any, args: tuple[Any, ...], output: Any) -> Any:
        """Return what the sublayer returns, with its states changed."""
        if isinstance(output, tuple):
            return (self._changed(output[0]), *output[1:])
        return self._changed(output)

    def _changed(self, own: Any) -> Any:
        how = self._how
        seen = own + self._residual if how.sees_residual else own
        kept = seen if how.keeps_residual else own
        down = self._normed(seen, "adapter_norm_before") if how.ln_before else seen
        down = self._act(
            self._linear(down, "adapter_down.1" if how.ln_before else "adapter_down.0")
        )
        scaling = self._tensors["scaling"] if isinstance(how.scaling, str) else how.scaling
        up = self._linear(down, "adapter_up") * scaling
        if not how.ln_after:
            return up + kept
        if how.norms_sum:
            return self._normed(up + kept, "adapter_norm_after")
        return self._normed(up, "adapter_norm_after") + kept

    def _linear(self, states: Any, name: str) -> Any:
        from torch.nn.functional import linear

        return linear(states, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])

    def _normed(self, states: Any, name: str) -> Any:
        from torch.nn.functional import layer_norm

        weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        return layer_norm(states, weight.shape, weight, bias, _EPSILON)


def _leaky_relu(states: Any) -> Any:
    from torch.nn.functional import leaky_relu

    return leaky_relu(states)
