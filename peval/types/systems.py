"""What is evaluated: a base model and its adapters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Base:
    """A base model on disk; ``sha256`` covers its weights, config and tokenizer files.

    An encoder-decoder reads the prompt with its encoder and writes the answer with its decoder.
    """

    name: str
    path: Path
    sha256: str
    dtype: str
    context_tokens: int
    vocabulary_size: int
    is_encoder_decoder: bool = False


NATIVE = "native-lora"
"""The route of a LoRA that vLLM applies to single requests of a batch."""

HF = "hf"
"""The route through transformers and peft."""

MERGE = "merge"
"""The route of weights that take the base's place in a live engine."""

CONTROL = "control"
"""The method of what stands for the base itself in a second engine."""


@dataclass(frozen=True)
class Adapter:
    """A vetted adapter checkpoint. ``None`` in its place means the base model itself.

    ``sha256`` covers its tensors and the part of its config that has an effect. ``rank`` is 0 for
    methods without one. ``changes_nothing`` is true when every update it holds is exactly zero, a
    head aside. ``labels`` name the classes of its classification head, in their order; without one
    there are none. ``route`` is the way in which an engine applies it. ``vocabulary_size`` is given
    where its embedding has another size than the base's; ``is_apart`` says that its weights cannot
    take the base's place in a live engine. With ``own_words`` it brings a tokenizer or end tokens
    that are not the base's, which ``sha256`` then covers too. ``n_virtual_tokens`` trained vectors
    take places of the context.
    """

    name: str
    path: Path
    sha256: str
    method: str
    rank: int
    target_modules: tuple[str, ...]
    base_name: str | None
    changes_nothing: bool
    route: str = NATIVE
    vocabulary_size: int | None = None
    is_apart: bool = False
    own_words: bool = False
    n_virtual_tokens: int = 0
    labels: tuple[str, ...] = ()

    @property
    def is_control(self) -> bool:
        """Whether this is the base once more, in the engine of the adapters held against it."""
        return self.method == CONTROL
