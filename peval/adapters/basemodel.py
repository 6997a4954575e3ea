"""The base model's modules, as an adapter names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from peval.adapters.config import Config
from peval.bases import encodes
from peval.strict_json import show

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

PREFIX = "base_model.model."
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight",
               "shared.weight")  # fmt: skip
_TABLES = (*_EMBEDDINGS, "relative_attention_bias.weight")
# What a model for generation puts before the names of its inner model (``base_model_prefix``).
_PREFIXES = frozenset({"model", "transformer", "gpt_neox", "backbone", "rwkv"})
# These models' linear layers store [in, out].
_TRANSPOSING = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
_TRANSPOSED = frozenset({"c_attn", "c_fc", "c_proj", "q_attn"})


@dataclass(frozen=True)
class Module:
    """A module with a weight: ``name`` as the adapter spells it, ``weight`` as the base does."""

    name: str
    weight: str
    shape: Shape
    is_embedding: bool = False
    is_transposed: bool = False

    @property
    def n_out(self) -> int:
        """The size of what the module returns."""
        return self.shape[1] if self.is_embedding or self.is_transposed else self.shape[0]

    @property
    def n_in(self) -> int:
        """The size of what the module takes; for an embedding the vocabulary."""
        return self.shape[0] if self.is_embedding or self.is_transposed else self.shape[-1]


class BaseModel:
    """Names, shapes and sizes of a base model, from its files' headers and its config."""

    def __init__(self, shapes: Shapes, config: Mapping[str, Any]) -> None:
        self.shapes = shapes
        self.config = config

    def setting(self, *names: str) -> Any:
        """Return the first of several settings that the config has, as models differ in names."""
        inner = self.config.get("text_config")
        for part in (self.config, inner if isinstance(inner, dict) else {}):
            for name in names:
                if part.get(name) is not None:
                    return part[name]
        return None

    @property
    def hidden_size(self) -> int | None:
        """The width of a token's vector."""
        return _size(self.setting("hidden_size", "n_embd", "d_model"))

    @property
    def output_size(self) -> int | None:
        """The width of what the output layer takes; OPT-350M's is narrower than its layers."""
        return _size(self.setting("word_embed_proj_dim")) or self.hidden_size

    @property
    def n_layers(self) -> int | None:
        """The number of layers; checkpoints may hold more, for multi-token prediction."""
        return _size(self.setting("num_hidden_layers", "num_layers", "n_layer", "n_layers"))

    @property
    def _deepest(self) -> int | None:
        """The layers of the deeper part, where an encoder and a decoder have their own."""
        sides = [_size(self.setting(f"{side}_layers"))
                 for side in ("num_decoder", "encoder", "decoder")]  # fmt: skip
        return max((n for n in (self.n_layers, *sides) if n), default=None)

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether the prompt is encoded and the answer decoded."""
        return encodes(self.config)

    @property
    def n_heads(self) -> int | None:
        """The number of attention heads."""
        return _size(
            self.setting("num_attention_heads", "n_head", "num_heads", "encoder_attention_heads")
        )

    @property
    def is_tied(self) -> bool:
        """Whether the output layer is the embedding itself."""
        return not any(_stem(w).rsplit(".", 1)[-1] == "lm_head" for w in self.shapes)

    @cached_property
    def embedding(self) -> str | None:
        """The weight of the input embedding, None where it cannot be told."""
        tables = [w for w in self.shapes if w.endswith(_EMBEDDINGS)]
        plain = [w for w in tables if w.endswith("shared.weight")] or tables
        return plain[0] if len(plain) == 1 else None

    def find(self, module: str) -> str | None:
        """Return the weight that a module name means: exact, or without what precedes the layers.

        Checkpoints may lack a prefix that the model in memory has (``transformer.h.0``, ``h.0``),
        never the other way round. Tied output layers have no weight of their own.
        """
        first, _, rest = module.partition(".")
        for name in (module, rest) if first in _PREFIXES and not self._has_prefix else (module,):
            if f"{name}.weight" in self.shapes:
                return f"{name}.weight"
        return self.embedding if module == "lm_head" else None

    @cached_property
    def _has_prefix(self) -> bool:
        """Whether the checkpoint's names begin as those of the model in memory do."""
        return any(weight.partition(".")[0] in _PREFIXES for weight in self.shapes)

    def owner(self, tensor: str) -> str | None:
        """Return the module that an adapter's tensor is for: the longest name the base has."""
        name = tensor.removeprefix(PREFIX)
        while "." in name:
            name = name.rsplit(".", 1)[0]
            if self.find(name):
                return name
        return None

    def prefix(self, tensors: Iterable[str]) -> str:
        """Return what the adapter's names have before the names of the checkpoint."""
        for tensor in tensors:
            module = self.owner(tensor)
            weight = self.find(module) if module else None
            if module and weight and module.endswith(_stem(weight)) and weight != self.embedding:
                return module.removesuffix(_stem(weight))
        return ""

    def modules(self, prefix: str, rows: int | None = None) -> Iterator[Module]:
        """Yield every module with a weight; ``rows`` is another size of the vocabulary.

        Layers above the model's own are left out: an engine does not load them.
        """
        transposing = self.setting("model_type") in _TRANSPOSING
        for weight, shape in self.shapes.items():
            layer = layer_of(weight)
            beyond = layer is not None and self._deepest is not None and layer >= self._deepest
            if not weight.endswith(".weight") or beyond:
                continue
            stem = _stem(weight)
            is_table = weight == self.embedding or weight.endswith(_TABLES)
            is_head = stem.rsplit(".", 1)[-1] == "lm_head"
            if rows and (weight == self.embedding or is_head) and len(shape) == 2:
                shape = (rows, shape[1])
            turned = transposing and stem.rsplit(".", 1)[-1] in _TRANSPOSED
            yield Module("lm_head" if is_head else prefix + stem, weight, shape, is_table, turned)
        if self.is_tied and self.embedding:
            shape = self.shapes[self.embedding]
            yield Module("lm_head", self.embedding, (rows or shape[0], *shape[1:]))

    def why_absent(self, module: str) -> str:
        """Say what is wrong with a module that has no weight in the base."""
        layers = {n for w in self.shapes if (n := layer_of(w)) is not None}
        layer = layer_of(module)
        if layer is not None and layers and layer > max(layers):
            return f"is for layer {layer}, the base has layers 0 to {max(layers)}"
        return f"is for module {show(module)}, which the base does not have"


def is_target(config: Config, module: Module) -> bool:
    """Say whether PEFT would put the method on a module.

    The rule is PEFT's ``check_target_module_exists`` (``src/peft/tuners/tuners_utils.py``, 0.21).
    """
    name = module.name
    excluded = config.names("exclude_modules") or ()
    if isinstance(excluded, str):
        if re.fullmatch(excluded, name):
            return False
    elif any(_ends_in(name, each) for each in excluded):
        return False
    saved = config.names("modules_to_save") or ()
    if any(re.match(rf"(^|.*\.){each}($|\..*)", name) for each in saved):
        return False
    targets = config.names("target_modules") or ()
    if targets == "all-linear":
        return len(module.shape) == 2 and not module.is_embedding and name != "lm_head"
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    if name in targets:  # a full name counts in any layer
        return True
    return any(_ends_in(name, each) for each in targets) and _is_chosen_layer(config, name)


def layer_of(name: str) -> int | None:
    """Return the first number in a dotted name."""
    parts = name.split(".")
    at = _first_number(parts)
    return None if at is None or len(parts[at]) > 9 else int(parts[at])


def _is_chosen_layer(config: Config, name: str) -> bool:
    chosen = config.settings.get("layers_to_transform")
    if chosen is None or chosen == []:
        return True
    patterns = config.names("layers_pattern") or ()
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    if patterns:
        tried = (re.match(rf"(?:^|.*?\.)(?:{each})\.(?P<at>\d+)\.", name) for each in patterns)
        found = next((match for match in tried if match), None)
    else:
        found = re.match(r".*?\.[^.]*\.(?P<at>\d+)\.", name)
    if found is None:
        return False
    return int(found["at"]) in (chosen if isinstance(chosen, list) else [chosen])


def _ends_in(name: str, ending: str) -> bool:
    return name == ending or name.endswith("." + ending)


def _stem(weight: str) -> str:
    return weight.removesuffix(".weight")


def _first_number(parts: list[str]) -> int | None:
    return next((i for i, part in enumerate(parts) if part.isdecimal()), None)


def _size(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
