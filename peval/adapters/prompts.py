"""Which tensors the methods keep that add vectors to the prompt or to the attention.

Shapes follow PEFT 0.21 (``src/peft/peft_model.py``, ``get_prompt_embedding_to_save``).
"""

from __future__ import annotations

from peval.adapters.basemodel import PREFIX, BaseModel, Module, layer_of
from peval.adapters.config import Config
from peval.adapters.equations import Tensors

_MOST_TOKENS = 1 << 20


def prompt_tensors(config: Config, base: BaseModel) -> Tensors:
    """Return the tensors of a prompt-learning method.

    Raises
    ------
    AdapterError
        The config names other sizes than the base has.
    """
    kind = config.method.peft_type
    n_tokens = config.whole("num_virtual_tokens", 0, 1, _MOST_TOKENS)
    n_models = config.whole("num_transformer_submodules", 1, 1, 2)
    width, heads, layers = base.hidden_size, base.n_heads, base.n_layers
    if not (width and heads and layers):
        config.refuse("token_dim", "the base's config.json does not say its sizes")
    if kind == "PREFIX_TUNING":
        shared = base.setting("num_key_value_heads")
        if shared:
            width, heads = (base.setting("head_dim") or width // heads) * shared, shared
    for field, size in (
        ("token_dim", width),
        ("num_layers", layers),
        ("num_attention_heads", heads),
    ):
        if config.settings.get(field) not in (None, size):
            named = config.whole(field, None, 1, 1 << 30)
            config.refuse(field, f"{named}, the base has {size}")
    if kind == "PREFIX_TUNING":
        deep = base.setting("num_decoder_layers", "decoder_layers")
        if base.is_encoder_decoder and deep not in (None, layers):
            config.refuse("num_layers", f"{layers} as in the encoder; the decoder has {deep}, and "
                          "PEFT cannot run that")  # fmt: skip
        return {"prompt_embeddings": (n_tokens, layers * 2 * width)}
    found: Tensors = {"prompt_embeddings": (n_tokens * n_models, width)}
    if kind == "MULTITASK_PROMPT_TUNING":
        n_tasks, rank = (
            config.whole("num_tasks", 1, 1, 1 << 20),
            config.whole("num_ranks", 1, 1, 1 << 16),
        )
        found["prefix_task_cols"] = (n_tasks, n_tokens * n_models, rank)
        found["prefix_task_rows"] = (n_tasks, rank, width)
    return found


def adaption_tensors(config: Config, base: BaseModel, modules: tuple[Module, ...]) -> Tensors:
    """Return the tensors of LLaMA-Adapter's prompts in the last layers' attention."""
    length = config.whole("adapter_len", 0, 1, _MOST_TOKENS)
    wanted = config.whole("adapter_layers", 0, 1, 10_000)
    target = config.settings.get("target_modules")
    width = base.hidden_size
    if not isinstance(target, str) or not width:
        config.refuse("target_modules", f"{target!r} is not the name of the attention modules")
    parents = {m.name.rsplit(".", 1)[0] for m in modules}
    found = sorted(
        {p for p in parents if p == target or p.endswith("." + target)},
        key=lambda name: layer_of(name) or 0,
    )
    if wanted > len(found):
        config.refuse("adapter_layers", f"{wanted}, the base has {len(found)} {target!r}")
    tensors: Tensors = {}
    for parent in found[-wanted:]:
        tensors[f"{PREFIX}{parent}.adaption_prompt"] = (1, length, width)
        tensors[f"{PREFIX}{parent}.adaption_gate"] = (1,)
    return tensors
