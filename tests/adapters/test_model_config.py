"""One model's config as transformers 4.57 and 5.19 write it: the settings that differed."""

from __future__ import annotations

from typing import Any

import pytest

from peval.adapters.model_config import meaning

SIZES = {"hidden_size": 4096, "num_attention_heads": 32}
LLAMA3 = {
    "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192, "rope_type": "llama3",
}  # fmt: skip
# As AutoConfig.from_pretrained(old).save_pretrained(new) left them.
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gemma2": (
        {"rope_theta": 10000.0},
        {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
         "tie_word_embeddings": True},
    ),
    "gpt2": ({}, {"add_cross_attention": False, "tie_word_embeddings": True}),
    "llama": (
        {"rope_theta": 500000.0, "rope_scaling": LLAMA3, "tie_word_embeddings": False},
        {"rope_parameters": LLAMA3 | {"rope_theta": 500000.0}, "tie_word_embeddings": False},
    ),
    "mistral": (
        {"rope_theta": 10000.0, "head_dim": None, **SIZES},
        {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "head_dim": 128,
         **SIZES},
    ),
    "gpt_neox": (
        {"rotary_pct": 0.25, "rotary_emb_base": 10000},
        {"rope_parameters": {"partial_rotary_factor": 0.25, "rope_theta": 10000,
                             "rope_type": "default"}, "is_decoder": False},
    ),
    "phi": (
        {"rope_theta": 10000.0, "rope_scaling": None, "partial_rotary_factor": 0.5},
        {"rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 10000.0,
                             "rope_type": "default"}, "partial_rotary_factor": 0.5},
    ),
    "t5": (
        {"tie_word_embeddings": False},
        {"tie_word_embeddings": True, "scale_decoder_outputs": False, "is_decoder": False},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAIRS)
def test_two_versions_say_the_same(kind: str) -> None:
    old, new = ({"model_type": kind} | config for config in PAIRS[kind])
    assert meaning(old) == meaning(new)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"rope_theta": 10000.0}),
        ("llama", {"rope_scaling": LLAMA3 | {"factor": 4.0}}),
        ("llama", {"rope_scaling": None}),
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"num_attention_heads": 16}),
        ("mistral", {"head_dim": 64}),
        ("gpt_neox", {"rotary_pct": 0.5}),
        ("t5", {"tie_word_embeddings": True}),
    ],
)
def test_what_differs_still_does(kind: str, changes: dict[str, Any]) -> None:
    old = {"model_type": kind} | PAIRS[kind][0]
    assert meaning(old) != meaning(old | changes)


def test_the_older_spelling_of_rotation_wins_as_in_transformers() -> None:
    new = {"model_type": "llama", "rope_parameters": {"rope_theta": 10000.0}}
    scaled = new | {"rope_scaling": {"type": "linear", "factor": 2.0}}
    assert meaning(scaled) != meaning(new)
