"""Small checkpoints of every kind that PEFT can save, made by PEFT itself when a test asks.

Each kind is a config for `peft.get_peft_model` on a tiny base; the trained parameters are filled
with random numbers, so that no adapter is a no-op. Run it to write all of them:

    python tests/checkpoints.py DIRECTORY
"""

from __future__ import annotations

import shutil
import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

TOY_BASE = Path(__file__).parent / "toy" / "base"
SPREAD = 0.05  # of the random numbers that stand for training


@dataclass(frozen=True)
class Kind:
    """How to make one kind of checkpoint: a PEFT config class and its arguments."""

    config: str
    arguments: dict[str, Any] = field(default_factory=dict)
    base: str = "toy"
    resize: int | None = None
    initial: str = ""


def _kind(config: str, **arguments: Any) -> Kind:
    return Kind(config, {"task_type": "CAUSAL_LM"} | arguments)


def _on(kind: Kind, base: str = "toy", resize: int | None = None) -> Kind:
    return replace(kind, base=base, resize=resize)


ATTENTION = ["q_proj", "v_proj"]
LORA = {"r": 4, "target_modules": ATTENTION}

KINDS: dict[str, Kind] = {
    "lora": _kind("LoraConfig", **LORA, lora_alpha=8),
    "lora-all-linear": _kind("LoraConfig", r=2, target_modules="all-linear"),
    "rslora": _kind("LoraConfig", **LORA, use_rslora=True),
    "lora-patterns": _kind(
        "LoraConfig",
        r=4,
        target_modules=r".*\.(q_proj|down_proj)",
        rank_pattern={"layers.1.self_attn.q_proj": 2, "down_proj": 3},
        alpha_pattern={"down_proj": 5.5},
    ),
    "lora-embedding": _kind("LoraConfig", r=4, target_modules=["embed_tokens", "q_proj"]),
    "lora-some-layers": _kind("LoraConfig", **LORA, layers_to_transform=[0, 2]),
    "lora-exclude": _kind("LoraConfig", **LORA, exclude_modules=["layers.0.self_attn.q_proj"]),
    "dora": _kind("LoraConfig", **LORA, use_dora=True),
    "dora-embedding": _kind("LoraConfig", r=4, target_modules=["embed_tokens"], use_dora=True),
    "lora-bias": _on(_kind("LoraConfig", **LORA, bias="lora_only"), "biased"),
    "lora-bias-all": _on(_kind("LoraConfig", **LORA, bias="all"), "biased"),
    "lora-b-bias": _on(_kind("LoraConfig", **LORA, lora_bias=True), "biased"),
    "lora-b-bias-alone": _kind("LoraConfig", **LORA, lora_bias=True),
    "pissa": _kind("LoraConfig", **LORA, init_lora_weights="pissa"),
    "olora": _kind("LoraConfig", **LORA, init_lora_weights="olora"),
    "pissa-initial": replace(
        _kind("LoraConfig", **LORA, init_lora_weights="pissa"), initial="pissa_init"
    ),
    "olora-initial": replace(
        _kind("LoraConfig", **LORA, init_lora_weights="olora", use_rslora=True),
        initial="olora_init",
    ),
    "pissa-random": _kind("LoraConfig", **LORA, init_lora_weights="pissa_niter_4"),
    "trainable-tokens-lora": _kind("LoraConfig", **LORA, trainable_token_indices=[1, 5, 9]),
    "modules-to-save": _kind("LoraConfig", **LORA, modules_to_save=["embed_tokens"]),
    "modules-to-save-norm": _kind("LoraConfig", **LORA, modules_to_save=["norm"]),
    "modules-to-save-head": _on(_kind("LoraConfig", **LORA, modules_to_save=["lm_head"]), "biased"),
    "lora-resized": _on(_kind("LoraConfig", **LORA), resize=1160),
    "target-parameters": _kind(
        "LoraConfig", r=2, target_modules=[], target_parameters=["mlp.gate_proj.weight"]
    ),
    "lora-conv1d": _on(
        _kind("LoraConfig", r=2, target_modules=["c_attn"], fan_in_fan_out=True), "gpt2"
    ),
    "alora": _kind("LoraConfig", **LORA, alora_invocation_tokens=[5, 6]),
    "adalora": _kind(
        "AdaLoraConfig", init_r=4, target_r=2, total_step=10, target_modules=ATTENTION
    ),
    "loha": _kind("LoHaConfig", r=3, target_modules=ATTENTION),
    "loha-patterns": _kind(
        "LoHaConfig",
        r=3,
        target_modules=ATTENTION,
        rank_pattern={"v_proj": 2},
        use_effective_conv2d=True,
    ),
    "lokr": _kind("LoKrConfig", r=3, target_modules=ATTENTION),
    "lokr-both": _kind(
        "LoKrConfig", r=3, target_modules=["down_proj"], decompose_both=True, decompose_factor=8
    ),
    "lokr-full": _kind("LoKrConfig", r=64, target_modules=["q_proj"], decompose_factor=4),
    "ia3": _kind(
        "IA3Config", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
    "vera": _kind("VeraConfig", r=8, target_modules=ATTENTION),
    "vera-unsaved": _kind(
        "VeraConfig", r=8, target_modules=["q_proj", "down_proj"], save_projection=False
    ),
    "oft": _kind("OFTConfig", oft_block_size=32, target_modules=ATTENTION),
    "oft-r": _kind("OFTConfig", r=4, oft_block_size=0, target_modules=["down_proj"]),
    "oft-shared": _kind("OFTConfig", oft_block_size=32, block_share=True, target_modules=ATTENTION),
    "boft": _kind(
        "BOFTConfig", boft_block_size=8, boft_n_butterfly_factor=2, target_modules=ATTENTION
    ),
    "boft-n": _kind("BOFTConfig", boft_block_size=0, boft_block_num=8, target_modules=ATTENTION),
    "hra": _kind("HRAConfig", r=4, target_modules=ATTENTION),
    "fourierft": _kind(
        "FourierFTConfig",
        n_frequency=20,
        target_modules=ATTENTION,
        n_frequency_pattern={"v_proj": 7},
    ),
    "miss": _kind("MissConfig", r=4, target_modules=ATTENTION),
    "miss-down": _kind("MissConfig", r=10, target_modules=["down_proj", "q_proj"]),
    "miss-mini": _kind("MissConfig", r=8, mini_r=4, init_weights="mini", target_modules=ATTENTION),
    "miss-bat": _kind("MissConfig", r=8, init_weights="bat", target_modules=ATTENTION),
    "ln-tuning": _kind("LNTuningConfig"),
    "trainable-tokens": _kind("TrainableTokensConfig", token_indices=[1, 3]),
    "prompt-tuning": _kind("PromptTuningConfig", num_virtual_tokens=4),
    "prompt-tuning-text": _kind(
        "PromptTuningConfig",
        num_virtual_tokens=4,
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text="Answer:",
        tokenizer_name_or_path=str(TOY_BASE),
    ),
    "p-tuning": _kind("PromptEncoderConfig", num_virtual_tokens=4, encoder_hidden_size=16),
    "p-tuning-lstm": _kind(
        "PromptEncoderConfig",
        num_virtual_tokens=4,
        encoder_hidden_size=16,
        encoder_reparameterization_type="LSTM",
    ),
    "prefix-tuning": _kind("PrefixTuningConfig", num_virtual_tokens=4),
    "prefix-tuning-projection": _kind(
        "PrefixTuningConfig", num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=16
    ),
    "prefix-shared-heads": _on(_kind("PrefixTuningConfig", num_virtual_tokens=4), "biased"),
    "multitask-prompt": _kind(
        "MultitaskPromptTuningConfig", num_virtual_tokens=4, num_tasks=2, num_ranks=1
    ),
    "multitask-one": _kind(
        "MultitaskPromptTuningConfig", num_virtual_tokens=4, num_tasks=1, num_ranks=1
    ),
    "adaption-prompt": _kind("AdaptionPromptConfig", adapter_len=3, adapter_layers=2),
    "cpt": _kind(
        "CPTConfig", cpt_token_ids=[1, 2, 3], cpt_mask=[1, 1, 1], cpt_tokens_type_mask=[1, 2, 3]
    ),
    "randlora": _kind("RandLoraConfig", r=8, target_modules=ATTENTION),
    "c3a": _kind("C3AConfig", block_size=32, target_modules=ATTENTION),
    "shira": _kind("ShiraConfig", r=2, target_modules=ATTENTION),
    "road": _kind("RoadConfig", target_modules=ATTENTION, group_size=32),
    "waveft": _kind("WaveFTConfig", n_frequency=20, target_modules=ATTENTION),
    "delora": _kind("DeloraConfig", r=4, target_modules=ATTENTION),
    "gralora": _kind("GraloraConfig", r=4, gralora_k=2, target_modules=ATTENTION),
    "vblora": _kind(
        "VBLoRAConfig", r=2, num_vectors=16, vector_length=32, topk=2, target_modules=ATTENTION
    ),
    "vblora-topk": _kind(
        "VBLoRAConfig",
        r=2,
        num_vectors=16,
        vector_length=32,
        topk=2,
        save_only_topk_weights=True,
        target_modules=ATTENTION,
    ),
    "hira": _kind("HiraConfig", r=4, target_modules=ATTENTION),
    "psoft": _kind("PsoftConfig", r=4, target_modules=ATTENTION),
    "poly": _kind("PolyConfig", r=4, target_modules=ATTENTION, n_tasks=2),
}


def base_of(name: str, directory: Path) -> Path:
    """Return a base by its short name, made where it is not the toy's."""
    if name == "toy":
        return TOY_BASE
    path = directory / f"base-{name}"
    if not path.exists():
        _make_base(name, path)
    return path


def _make_base(name: str, path: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    if name == "biased":  # of sizes that vLLM serves
        config = transformers.Qwen2Config(
            hidden_size=64,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            tie_word_embeddings=False,
            vocab_size=1024,
            max_position_embeddings=256,
            dtype="float32",
        )
    else:
        config = transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=32, vocab_size=40, dtype="float32"
        )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(path)
    (path / "tokenizer.json").write_text("{}")


def make(name: str, path: Path, bases: Path, is_trained: bool = True) -> Path:
    """Make the checkpoint of a kind, and its base in ``bases`` where it is not the toy's."""
    import peft
    import torch
    import transformers

    kind = KINDS[name]
    if (path / "adapter_config.json").exists():
        return path
    torch.manual_seed(1)
    base = base_of(kind.base, bases)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if kind.resize:
        model.resize_token_embeddings(kind.resize, mean_resizing=False)
    adapted = peft.get_peft_model(model, getattr(peft, kind.config)(**kind.arguments))
    if kind.initial:
        adapted.save_pretrained(path / kind.initial)
    for parameter in adapted.parameters():
        if parameter.requires_grad and is_trained:
            with torch.no_grad():
                parameter.add_(torch.randn_like(parameter) * SPREAD)
    adapted.save_pretrained(path)
    return path


def mixture(path: Path, bases: Path, **settings: Any) -> Path:
    """Make an X-LoRA of two experts that lie in it.

    Its classifier is saved whole, as PEFT did up to 0.18; 0.21 drops what is called like an expert.
    """
    import peft
    import torch
    import transformers
    from safetensors.torch import save_file

    experts = {str(n): str(make(k, path / k, bases)) for n, k in enumerate(("lora", "rslora"))}
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(TOY_BASE, dtype=torch.float32)
    model.config.use_cache = False
    given = {"task_type": "CAUSAL_LM", "hidden_size": 128, "xlora_depth": 2, "xlora_size": 16}
    config = peft.XLoraConfig(**given | settings, adapters=experts)
    torch.manual_seed(3)
    mixed = peft.get_peft_model(model, config)
    weights = {k: v for k, v in mixed.state_dict().items() if "xlora_classifier" in k}
    for weight in weights.values():  # so that the experts' shares differ between tokens
        weight.add_(torch.randn_like(weight) * 0.5)
    config.save_pretrained(path)
    save_file(weights, path / "adapter_model.safetensors", {"format": "pt"})
    return path


def finetune(base: Path, path: Path, which: str) -> Path:
    """Make a whole checkpoint in which the tensors whose names hold ``which`` were trained."""
    import torch
    import transformers

    torch.manual_seed(2)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if which in name:
                parameter.add_(torch.randn_like(parameter) * SPREAD)
    model.save_pretrained(path)
    return path


def merged_weights(adapter: Path | None, base: Path) -> dict[str, Any]:
    """Return the base's weights in float32, with an adapter merged into them by PEFT."""
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def overflowing(place: Path, factor: float) -> Path:
    """Return a LoRA whose weights are finite and whose activations are not."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(TOY_BASE.parent / "adapters" / "narrow", place)
    tensors = load_file(place / "adapter_model.safetensors")
    save_file(
        {name: t.float().sign() * factor for name, t in tensors.items()},
        place / "adapter_model.safetensors",
        {"format": "pt"},
    )
    return place


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for label in KINDS:
        make(label, out / label, out)
