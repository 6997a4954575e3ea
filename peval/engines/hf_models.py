"""A base model and its adapters in transformers, each adapter on a tree of modules of its own.

PEFT rewrites the modules of a model that it is given, mixes no prompt with other methods in one
model, and writes into the base where an adapter brings biases, embeddings or PiSSA's residue. So
the base is never given to it: an adapter gets a copy of the modules that shares the base's
tensors, except those that the adapter replaces. The base stays the base bit for bit.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peval.adapters.bottleneck_config import is_bottleneck
from peval.adapters.config import read_config
from peval.adapters.xlora import PEFT_TYPE as XLORA
from peval.adapters.xlora import expert_folders
from peval.engines.hf_bottlenecks import insert
from peval.errors import EngineError
from peval.safetensors_file import read_header
from peval.types import Adapter, EngineSpec

_PREFIX = "base_model.model."
_REWRITES_THE_BASE = ("pissa", "olora")


@dataclass(frozen=True)
class Applied:
    """A model that answers; ``extra`` goes with each call.

    ``may_pad`` says that padding before a prompt changes nothing: trained vectors that stand before
    the padding would be further from the prompt than in training.
    """

    model: Any
    extra: dict[str, Any]
    may_pad: bool = True


class HfModels:
    """The base and the adapters of a spec; ``refused`` says which could not be loaded, and why.

    Adapters that hold a whole model of their own are loaded when they are asked, one at a time.
    """

    def __init__(self, spec: EngineSpec, device: str) -> None:
        self._spec = spec
        self._device = device
        base = _load(str(spec.base.path), spec.dtype, device)
        self._base = base
        self._kept: dict[str | None, Applied] = {None: Applied(base, {})}
        self._large: tuple[str, Applied] | None = None
        self._adapters = {a.name: a for a in spec.adapters if not a.is_control}
        self.is_encoder_decoder = bool(base.config.is_encoder_decoder)
        self.decoder_start: int | None = getattr(base.config, "decoder_start_token_id", None)
        self.refused: dict[str, str] = {}
        for adapter in spec.adapters:
            try:
                self.of(adapter.name)
            except Exception as error:  # peft raises anything; only this adapter fails
                self.refused[adapter.name] = " ".join(str(error).split())[:300]

    @property
    def dtype(self) -> str:
        """The name of the base's dtype."""
        return str(self._base.dtype).removeprefix("torch.")

    def of(self, name: str | None) -> Applied:
        """Return the model of an adapter, or the base's."""
        if name not in self._adapters:
            return self._kept[None]
        if name in self._kept:
            return self._kept[name]
        if self._large is not None and self._large[0] == name:
            return self._large[1]
        self._large = None  # freed before the next is made
        adapter = self._adapters[name]
        found, is_large = _apply(self._base, adapter, self._spec.dtype, self._device)
        if is_large:
            self._large = (adapter.name, found)
        else:
            self._kept[name] = found
        return found


def _load(path: str, dtype: str, device: str) -> Any:
    import transformers

    config = transformers.AutoConfig.from_pretrained(path)
    auto = (
        transformers.AutoModelForSeq2SeqLM
        if config.is_encoder_decoder
        else transformers.AutoModelForCausalLM
    )
    model: Any = auto.from_pretrained(path, dtype=dtype)
    # Fresh, or the base's own sampling defaults would leak into every answer.
    model.generation_config = transformers.GenerationConfig()
    # Frozen as PEFT freezes them: torch multiplies by weights to be trained in another way.
    return model.to(device).eval().requires_grad_(False)


def _apply(base: Any, adapter: Adapter, dtype: str, device: str) -> tuple[Applied, bool]:
    """Return an adapter on its own modules, and whether it holds a whole model's tensors."""
    import peft

    config_file = adapter.path / "adapter_config.json"
    if not config_file.exists():
        return Applied(_load(str(adapter.path), dtype, device), {}), True
    if is_bottleneck(adapter.path):
        model = _twin(base, ())
        insert(model, adapter.path)
        return Applied(model, {}), False
    config = json.loads(config_file.read_text(encoding="utf-8"))
    if config["peft_type"] == XLORA:
        return Applied(_mixture(base, adapter.path), {}), False
    model, is_large = _modules_for(base, adapter, config)
    kind = peft.PeftModelForSeq2SeqLM if base.config.is_encoder_decoder else None
    kind = kind or peft.PeftModelForCausalLM
    model = kind.from_pretrained(model, str(adapter.path)).eval()
    return _applied(model, config), is_large


def _mixture(base: Any, path: Path) -> Any:
    """Return an X-LoRA: PEFT loads its experts from where they were vetted, in their own order."""
    import peft

    model = _twin(base, ())
    model.config.use_cache = False  # a pass without experts comes before each pass with them
    config = peft.XLoraConfig.from_pretrained(str(path))
    config.adapters = {str(n): str(f) for n, f in enumerate(expert_folders(read_config(path)))}
    return peft.PeftModelForCausalLM.from_pretrained(model, str(path), config=config).eval()


def _applied(model: Any, config: dict[str, Any]) -> Applied:
    import torch

    extra = {}
    if config["peft_type"] == "MULTITASK_PROMPT_TUNING":
        n_tasks = config.get("num_tasks") or 1
        if n_tasks > 1:
            raise EngineError(f"it holds {n_tasks} tasks, of which one must be chosen")
        extra["task_ids"] = torch.tensor([0], device=model.device)
    return Applied(model, extra, may_pad=not model.active_peft_config.is_prompt_learning)


def _modules_for(base: Any, adapter: Adapter, config: dict[str, Any]) -> tuple[Any, bool]:
    """Return modules that PEFT may change, and whether none of their tensors is the base's."""
    initial = str(config.get("init_lora_weights"))
    if initial.startswith(_REWRITES_THE_BASE):
        return copy.deepcopy(base), True
    stored = read_header(adapter.path / "adapter_model.safetensors", EngineError)
    model = _twin(base, set(map(_in_the_base, stored)))
    if adapter.vocabulary_size is not None:
        model.resize_token_embeddings(adapter.vocabulary_size, mean_resizing=False)
    return model, False


def _in_the_base(tensor: str) -> str:
    """Return the name that an adapter's tensor has if it replaces one of the base's."""
    return tensor.removeprefix(_PREFIX).replace(".base_layer.", ".")


def _twin(base: Any, own: Iterable[str]) -> Any:
    """Copy a model's modules but not their tensors, save those named in ``own``."""
    from torch.nn import Parameter

    mine = set(own)
    tensors = dict(base.named_parameters(remove_duplicate=False))
    copied = {id(tensor) for name, tensor in tensors.items() if name in mine}
    memo: dict[int, Any] = {
        id(tensor): Parameter(tensor.data, requires_grad=False)
        for tensor in base.parameters()
        if id(tensor) not in copied
    }
    memo |= {id(buffer): buffer for buffer in base.buffers()}
    return copy.deepcopy(base, memo)
