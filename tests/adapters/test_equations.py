"""Rules that the preflight equation shares with PEFT, against PEFT itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import SPREAD

from peval.adapters.basemodel import Module, is_target
from peval.adapters.config import read_config
from peval.adapters.equations import _nearest_divisor, factorise
from peval.inspection import inspect

NAMES = [
    "model.embed_tokens", "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj",
    "model.layers.11.self_attn.q_proj", "model.layers.1.mlp.experts.0.up_proj", "lm_head",
    "model.layers.1.self_attn.qq_proj", "h.3.attn.q_proj", "q_proj",
]  # fmt: skip
TARGETS: list[dict[str, Any]] = [
    {"target_modules": ["q_proj"]},
    {"target_modules": ["q_proj", "up_proj"], "exclude_modules": ["layers.1.self_attn.q_proj"]},
    {"target_modules": r".*\.(q_proj|up_proj)"},
    {"target_modules": r"model\.layers\.[01]\..*", "exclude_modules": r".*up_proj"},
    {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1, 3]},
    {"target_modules": ["q_proj"], "layers_to_transform": 0},
    {"target_modules": ["q_proj"], "layers_to_transform": [1, 3], "layers_pattern": "layers"},
    {"target_modules": ["q_proj"], "layers_to_transform": [3], "layers_pattern": ["x", "h"]},
    {"target_modules": ["q_proj", "lm_head"], "modules_to_save": ["lm_head"]},
    {"target_modules": ["self_attn.q_proj", "embed_tokens"], "modules_to_save": ["layers.1"]},
]


@pytest.mark.parametrize("settings", TARGETS, ids=json.dumps)
def test_targets_are_those_of_peft(settings: dict[str, Any], tmp_path: Path) -> None:
    import peft
    from peft.tuners.tuners_utils import _ExcludedModule, check_target_module_exists

    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 4, **settings})
    )
    mine, theirs = read_config(tmp_path), peft.LoraConfig(r=4, **settings)
    for name in NAMES:
        found = check_target_module_exists(theirs, name)
        expected = bool(found) and not isinstance(found, _ExcludedModule)
        assert is_target(mine, Module(name, name + ".weight", (8, 8))) is expected, name


def test_factors_are_those_of_peft() -> None:
    from peft.tuners.lokr.layer import factorization

    for size in (*range(1, 130), 384, 1024, 4096, 11008, 14336):
        for factor in (-1, 1, 2, 3, 4, 5, 8, 10, 16, 64):
            assert factorise(size, factor) == factorization(size, factor), (size, factor)


def test_block_sizes_are_those_of_peft() -> None:
    from peft.tuners.oft.layer import OFTLayer

    for size in (1, 7, 12, 96, 128, 384, 1000):
        for wanted in range(1, 140):
            assert _nearest_divisor(size, wanted) == OFTLayer.adjust_oft_parameters(
                None, size, wanted  # type: ignore[arg-type]
            ), (size, wanted)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_tied", [True, False])
def test_adapters_of_an_encoder_decoder(is_tied: bool, tmp_path: Path) -> None:
    import peft
    import torch
    import transformers

    config = transformers.T5Config(
        vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, n_positions=64,
        feed_forward_proj="gated-gelu", tie_word_embeddings=is_tied,
    )  # fmt: skip
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    kind = {"task_type": "SEQ_2_SEQ_LM"}
    settings = {
        "lora": peft.LoraConfig(r=2, target_modules=["q", "v"], **kind),
        "linear": peft.LoraConfig(r=2, target_modules="all-linear", **kind),
        "head": peft.LoraConfig(r=2, target_modules=["q"], modules_to_save=["lm_head"], **kind),
        "ia3": peft.IA3Config(**kind),
        "prefix": peft.PrefixTuningConfig(num_virtual_tokens=3, **kind),
        "prompt": peft.PromptTuningConfig(num_virtual_tokens=3, **kind),
    }
    for name, each in settings.items():
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "base")
        adapted = peft.get_peft_model(model, each)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                with torch.no_grad():
                    parameter.add_(torch.randn_like(parameter) * SPREAD)
        adapted.save_pretrained(tmp_path / name)
        found = inspect(tmp_path / name, None, False)
        assert (found["route"], found["unchecked"]) == ("hf", ""), name
        assert "encoder-decoder" in found["route_why"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["Phi3", "OPT", "GPTNeoX", "Bloom", "Gemma3Text", "Qwen2Moe", "Qwen3"]
)
def test_adapters_of_other_architectures(name: str, tmp_path: Path) -> None:
    """Fused and split projections, prefixes, tied heads, experts that are fused in memory."""
    import peft
    import transformers

    config = getattr(transformers, f"{name}Config")(
        hidden_size=32, intermediate_size=48, ffn_dim=48, num_hidden_layers=2, n_layer=2,
        num_attention_heads=4, n_head=4, num_key_value_heads=2, head_dim=8, vocab_size=40,
        max_position_embeddings=64, seq_length=64, pad_token_id=0, word_embed_proj_dim=32,
        num_experts=3, moe_intermediate_size=16, shared_expert_intermediate_size=16,
    )  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    settings: dict[str, dict[str, Any]] = {
        "native-lora": {"target_modules": "all-linear"},
        "merge": {"target_modules": "all-linear", "trainable_token_indices": [1]},
    }
    for route, each in settings.items():
        model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        lora = peft.LoraConfig(r=2, task_type="CAUSAL_LM", **each)
        peft.get_peft_model(model, lora).save_pretrained(tmp_path / route)
        found = inspect(tmp_path / route, None, False)
        assert (found["route"], found["unchecked"]) == (route, "")
