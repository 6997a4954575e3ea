"""A tiny encoder-decoder with random weights, its tokenizer, and adapters on it made by PEFT."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from scripted import TOY

N_WORDS = 1152
START, EOS = 0, 2
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 4, "target_modules": ["q", "v"]}),
    "ia3": ("IA3Config", {"target_modules": ["k", "wo"], "feedforward_modules": ["wo"]}),
    "prefix": ("PrefixTuningConfig", {"num_virtual_tokens": 3}),
    "prompt": ("PromptTuningConfig", {"num_virtual_tokens": 3}),
    "all-linear": ("LoraConfig", {"r": 2, "target_modules": "all-linear", "use_dora": True}),
    "norms": ("LNTuningConfig", {"target_modules": ["layer_norm", "final_layer_norm"]}),
}
SPREAD = 0.3


def load(path: Path) -> Any:
    """Return the model in a directory, in float32."""
    import torch
    import transformers

    return transformers.AutoModelForSeq2SeqLM.from_pretrained(path, dtype=torch.float32)


def make_base(path: Path) -> Path:
    """Write a base of T5's second form (gated, with an output layer of its own).

    Its tokenizer is the toy's, and ends texts as T5's does.
    """
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.T5Config(
        d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
        vocab_size=N_WORDS, decoder_start_token_id=START, eos_token_id=EOS, pad_token_id=START,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config)
    # transformers 5 ties what it makes, but reads what is not tied.
    model.lm_head.weight = torch.nn.Parameter(torch.randn(N_WORDS, 32))
    model.save_pretrained(path)
    written = json.loads((path / "config.json").read_text()) | {"tie_word_embeddings": False}
    (path / "config.json").write_text(json.dumps(written))
    for file in (TOY / "base").glob("tokenizer*"):
        shutil.copy(file, path)
    words = json.loads((path / "tokenizer.json").read_text())
    end = next(t["content"] for t in words["added_tokens"] if t["id"] == EOS)
    words["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}},
                   {"SpecialToken": {"id": end, "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {end: {"id": end, "ids": [EOS], "tokens": [end]}},
    }  # fmt: skip
    (path / "tokenizer.json").write_text(json.dumps(words))
    return path


def make_adapters(base: Path, where: Path) -> dict[str, Path]:
    """Write one adapter of each kind, and a whole finetune called ``full``."""
    import peft
    import torch

    found = {}
    for name, (kind, arguments) in KINDS.items():
        torch.manual_seed(1)
        config = getattr(peft, kind)(task_type="SEQ_2_SEQ_LM", **arguments)
        model = peft.get_peft_model(load(base), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += torch.randn_like(parameter) * SPREAD
        model.save_pretrained(where / name)
        found[name] = where / name
    tuned = load(base)
    for parameter in tuned.parameters():
        parameter.data += torch.randn_like(parameter) * 0.05
    tuned.save_pretrained(where / "full")
    return found | {"full": where / "full"}


def alone(base: Path, adapter: Path | None) -> Any:
    """Return the base, or an adapter on it, as PEFT alone loads it."""
    import peft

    if adapter is None:
        return load(base).eval()
    if not (adapter / "adapter_config.json").exists():
        return load(adapter).eval()
    return peft.PeftModel.from_pretrained(load(base), adapter).eval()


def logprobs(model: Any, prompt: tuple[int, ...], so_far: list[int]) -> Any:
    """Return log-probabilities behind each token of an answer: (1 + n, vocabulary)."""
    import torch

    ids = torch.tensor([prompt])
    with torch.inference_mode():
        logits = model(
            input_ids=ids, attention_mask=torch.ones_like(ids),
            decoder_input_ids=torch.tensor([[START, *so_far]]),
        ).logits  # fmt: skip
    return logits[0].log_softmax(-1)


def greedy(model: Any, prompt: tuple[int, ...], n_tokens: int, ends: tuple[int, ...]) -> list[int]:
    """Return a greedy answer, one forward pass over everything for each token."""
    ids: list[int] = []
    while len(ids) < n_tokens and not (ids and ids[-1] in ends):
        ids.append(int(logprobs(model, prompt, ids)[-1].argmax()))
    return ids
