"""What vLLM itself says to a checkpoint as it lies there: the checks of its LoRA loader, by name.

Source: vllm-project/vllm v0.32.0, ``vllm/lora/peft_helper.py`` and ``vllm/lora/utils.py``
(``parse_fine_tuned_lora_name``, ``is_base_embedding_weights``).
"""

from __future__ import annotations

from collections.abc import Iterator

from peval.adapters.config import Config
from peval.adapters.entries import Entries
from peval.strict_json import show

_NEEDED = ("r", "lora_alpha", "target_modules")
_REFUSED = {
    "use_dora": "DoRA", "lora_bias": "a bias in lora_B",
    "alora_invocation_tokens": "activated LoRA",
    "layer_replication": "layer_replication", "use_bdlora": "BD-LoRA", "use_qalora": "QALoRA",
}  # fmt: skip
_PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
_LARGEST_RANK = 512
_EMBEDDINGS = (".embed_tokens.base_layer.weight", ".lm_head.base_layer.weight")


def vllm_says(config: Config, entries: Entries) -> str:
    """Return whether vLLM 0.32 would load a checkpoint as a LoRA, and what it would leave out."""
    if missing := [field for field in _NEEDED if field not in config.settings]:
        return f"refuses it: no {', '.join(missing)} in its config"
    if reasons := list(_reasons(config)):
        return f"refuses it: {'; '.join(reasons)}"
    if strange := [name for name in entries if not _is_known(name)]:
        return f"refuses it: the tensor {show(strange[0])}"
    if config.method.peft_type != "LORA":
        return f"takes it for a plain LoRA, though it is {config.method.name}"
    if dropped := [name for name in entries if name.endswith(_EMBEDDINGS)]:
        return f"takes it, but leaves out {show(dropped[0])} without a word"
    return "takes it"


def _reasons(config: Config) -> Iterator[str]:
    settings = config.settings
    saved = [m for m in settings.get("modules_to_save") or () if m not in ("classifier", "score")]
    if saved:
        yield f"modules_to_save ({', '.join(saved)})"
    yield from (why for field, why in _REFUSED.items() if settings.get(field))
    start = settings.get("init_lora_weights")
    if isinstance(start, str) and start.lower() not in _PLAIN_STARTS:
        yield f"init_lora_weights {start}"
    if config.largest_rank > _LARGEST_RANK:
        yield f"rank {config.largest_rank} over its {_LARGEST_RANK}"
    if (bias := settings.get("bias") or "none") != "none":
        yield f"trained biases ({bias})"


def _is_known(tensor: str) -> bool:
    parts = tensor.split(".")
    if tensor.endswith(_EMBEDDINGS):
        return True
    is_lora = parts[-1] == "weight" and parts[-2] in ("lora_A", "lora_B")
    return is_lora or parts[-1] in ("lora_embedding_A", "lora_embedding_B")
