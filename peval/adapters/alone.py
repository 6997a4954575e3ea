"""What an adapter's config says of its tensors where no base is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peval.adapters.basemodel import Module, is_target
from peval.adapters.config import Config
from peval.adapters.entries import Entries, refuse
from peval.adapters.weights import Pair

_PROMPT = "prompt_embeddings"


def check_alone(file: Path, entries: Entries, config: Config, pairs: Sequence[Pair]) -> None:
    """Hold an adapter's tensors against its config alone, as far as that goes.

    Raises
    ------
    AdapterError
        Names the first tensor that cannot be the config's.
    """
    if config.method.needs_targets:
        for name in entries:
            if not name.startswith("base_model."):
                refuse(file, name, "is not base_model.model.<module>.<tensor>")
    for pair in pairs:
        _check_target(file, config, pair)
    if _PROMPT in entries:
        _check_prompt(file, entries, config)


def _check_target(file: Path, config: Config, pair: Pair) -> None:
    if config.names("target_modules") == "all-linear":
        return  # which those are, the base knows
    shape = (pair.b.outer, pair.a.outer)
    if not is_target(config, Module(pair.module, f"{pair.module}.weight", shape)):
        refuse(file, pair.a.tensor, f"is for {pair.module!r}, which the config does not name")


def _check_prompt(file: Path, entries: Entries, config: Config) -> None:
    """Refuse another number of vectors, or another width, than the config says."""
    shape, n_tokens = entries[_PROMPT].shape, config.n_virtual_tokens
    width = config.settings.get("token_dim")
    if config.method.peft_type == "PREFIX_TUNING":
        width = None  # keys and values of all layers
    else:
        n_tokens *= config.whole("num_transformer_submodules", 1, 1, 2)
    wanted = (n_tokens, shape[-1] if width is None else width)
    if shape != wanted:
        refuse(file, _PROMPT, f"has shape {list(shape)}, the config asks for {list(wanted)}")
