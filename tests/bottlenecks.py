"""Bottleneck adapters as the ``adapters`` library saves them, with the logits that it gives them.

The checkpoints and logits in ``golden/bottlenecks`` were made by this file in an environment of its
own, as the library needs another transformers than peval:

    pip install adapters==1.3.0 transformers==4.57.6 torch
    cd tests/golden/bottlenecks && python ../../bottlenecks.py

All weights are drawn by name, so that the bases need not be kept.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden" / "bottlenecks"
PROMPT, ANSWER = (5, 9, 17, 3, 22), (0, 8, 31)
N_RECORDED = 2  # the last tokens whose logits are kept
N_WORDS = 40
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "houlsby": ("tiny-llama", "DoubleSeqBnConfig", {"reduction_factor": 4}),
    "pfeiffer": ("tiny-llama", "SeqBnConfig", {"reduction_factor": 4}),
    "plus": (
        "tiny-llama", "AdapterPlusConfig", {"reduction_factor": 4, "stochastic_depth": 0.0},
    ),
    "layers": (
        "tiny-llama",
        "DoubleSeqBnConfig",
        {"reduction_factor": {"1": 8, "default": 4}, "ln_before": True, "ln_after": True,
         "scaling": "learned", "leave_out": [0], "non_linearity": "gelu"},
    ),
    "twice": (
        "tiny-llama",
        "BnConfig",
        {"mh_adapter": False, "output_adapter": True, "reduction_factor": 4, "scaling": 0.5,
         "non_linearity": "leakyrelu", "original_ln_before": True, "residual_before_ln": False,
         "ln_after": True, "adapter_residual_before_ln": True},
    ),
    "toy": ("../../toy/base", "DoubleSeqBnConfig", {"reduction_factor": 128}),
    "t5-houlsby": ("tiny-t5", "DoubleSeqBnConfig", {"reduction_factor": 4, "cross_adapter": True}),
    "t5-pfeiffer": ("tiny-t5", "SeqBnConfig", {"reduction_factor": 4, "leave_out": [1, 2]}),
}  # fmt: skip


def make_base(name: str, path: Path) -> Path:
    """Write one of the two bases, with an output layer of its own."""
    import torch
    import transformers

    common: dict[str, Any] = {"vocab_size": N_WORDS, "tie_word_embeddings": False}
    if name == "tiny-llama":
        config = transformers.LlamaConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64, **common,
        )  # fmt: skip
        model: Any = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.T5Config(
            d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, decoder_start_token_id=0,
            feed_forward_proj="gated-gelu", **common,
        )  # fmt: skip
        model = transformers.T5ForConditionalGeneration(config)
    # transformers 5 makes T5 with a tied output layer, but reads it with one of its own.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    draw(model, "")
    model.save_pretrained(path)
    written = json.loads((path / "config.json").read_text()) | {"tie_word_embeddings": False}
    (path / "config.json").write_text(json.dumps(written))
    return path


def draw(model: Any, mark: str) -> None:
    """Set all parameters whose names hold a mark to numbers that depend on their names alone."""
    import numpy as np
    import torch

    for name, tensor in model.named_parameters():
        if mark in name:
            numbers = np.random.RandomState(zlib.crc32(name.encode())).normal(size=tensor.shape)
            with torch.no_grad():
                tensor.copy_(torch.tensor(numbers * 0.3) + ("norm" in name))


def logits(model: Any) -> list[list[float]]:
    """Return the first logits behind the last tokens of an answer, in float32."""
    import torch

    with torch.inference_mode():
        if model.config.is_encoder_decoder:
            out = model(
                input_ids=torch.tensor([PROMPT]), decoder_input_ids=torch.tensor([ANSWER])
            )  # fmt: skip
        else:
            out = model(input_ids=torch.tensor([PROMPT + ANSWER]))
    rows = out.logits[0, -N_RECORDED:, :N_WORDS].double().tolist()
    return [[round(logit, 7) for logit in row] for row in rows]


def main() -> None:
    """Make every checkpoint in the current directory, beside the logits of all."""
    import adapters  # type: ignore[import-not-found]
    import torch
    import transformers

    found = {}
    for kind, (base, config, arguments) in KINDS.items():
        if base.startswith("tiny"):
            make_base(base, Path(base))
        auto = "AutoModelForSeq2SeqLM" if base == "tiny-t5" else "AutoModelForCausalLM"
        model = getattr(transformers, auto).from_pretrained(base, dtype=torch.float32).eval()
        found.setdefault(base, logits(model))
        adapters.init(model)
        model.add_adapter(kind, config=getattr(adapters, config)(**arguments))
        model.set_active_adapters(kind)
        draw(model, f"adapters.{kind}.")
        has_head = kind == "t5-pfeiffer"  # the library trains an untied output layer beside it
        if has_head:
            draw(model, "lm_head")
            model.lm_head.weight.data *= -1
        # A norm before the bottleneck has two names, which safetensors does not take.
        safe = kind != "layers"
        model.save_adapter(kind, kind, with_head=has_head, use_safetensors=safe)
        found[kind] = logits(model)
    Path("logits.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
