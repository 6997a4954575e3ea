"""What a model's config.json means, whichever version of transformers wrote it.

Version 5 moved what is known of rotary positions into ``rope_parameters``, writes defaults that
version 4 left out, and says of every T5 that it is tied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Settings that say how a model was saved or is driven, not what its weights mean.
_FREE = frozenset({
    "_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "vocab_size",
    "bos_token_id", "eos_token_id", "pad_token_id", "architectures", "unsloth_version",
    "unsloth_fixed", "initializer_range", "attention_dropout", "id2label", "label2id",
    "num_labels", "problem_type",
})  # fmt: skip
_ROPE = ("rope_theta", "rotary_emb_base", "rope_scaling", "rotary_pct")
_USUAL_THETA = 10000.0
_T5S = ("t5", "mt5", "umt5")


def meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that say what a model's weights compute, in one form."""
    found = {key: value for key, value in config.items() if key not in _FREE}
    if config.get("model_type") in _T5S:
        tied = found.pop("tie_word_embeddings", None)  # the tensors tell
        found.setdefault("scale_decoder_outputs", tied is not False)
    else:
        found.setdefault("tie_word_embeddings", True)
    found["rope_parameters"] = _rope(found)
    for key in _ROPE:
        found.pop(key, None)
    if found.get("head_dim") == _usual_head(found):
        found.pop("head_dim", None)
    return {key: value for key, value in found.items() if value not in (None, False, [], {})}


def _rope(found: Mapping[str, Any]) -> Any:
    """Return how positions are rotated, as version 5 writes it."""
    given = found.get("rope_parameters")
    if given and not isinstance(given, dict):
        return given  # not one set of parameters: compared as it stands
    scaling = found.get("rope_scaling") or given or {}  # where both stand, version 5 takes this
    if not isinstance(scaling, dict) or any(isinstance(v, dict) for v in scaling.values()):
        return scaling
    theta = found.get("rope_theta") or found.get("rotary_emb_base") or _USUAL_THETA
    made = {"rope_type": scaling.get("type", "default"), "rope_theta": theta} | scaling
    made.pop("type", None)
    partial = found.get("partial_rotary_factor") or found.get("rotary_pct")
    return made | ({"partial_rotary_factor": partial} if partial else {})


def _usual_head(found: Mapping[str, Any]) -> int | None:
    hidden, heads = found.get("hidden_size"), found.get("num_attention_heads")
    return hidden // heads if isinstance(hidden, int) and isinstance(heads, int) and heads else None
