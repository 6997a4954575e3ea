"""An encoder-decoder on transformers and peft: prompts are encoded, answers are decoded."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from scripted import TOY

from peval.engines.hf_backend import HfBackend
from peval.types import Adapter, Base, Completion, Decoding, EngineSpec, Request

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("one_thread"),
]
CHOICES = ((7, 8, 9), (11,), (12, 3))
N_TOKENS = 5
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 4, "target_modules": ["q", "v"]}),
    "ia3": ("IA3Config", {"target_modules": ["k", "wo"], "feedforward_modules": ["wo"]}),
    "prefix": ("PrefixTuningConfig", {"num_virtual_tokens": 3}),
    "prompt": ("PromptTuningConfig", {"num_virtual_tokens": 3}),
}


def seq2seq(path: Path) -> Any:
    import torch
    import transformers

    return transformers.AutoModelForSeq2SeqLM.from_pretrained(path, dtype=torch.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tiny T5 with random weights, adapters on it and a finetune of it."""
    import peft
    import torch
    import transformers

    where = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    config = transformers.T5Config(
        d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=60,
        decoder_start_token_id=0, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    )  # fmt: skip
    transformers.T5ForConditionalGeneration(config).save_pretrained(where / "base")
    for file in (TOY / "base").glob("tokenizer*"):
        shutil.copy(file, where / "base")
    for name, (kind, arguments) in CONFIGS.items():
        model = peft.get_peft_model(
            seq2seq(where / "base"), getattr(peft, kind)(task_type="SEQ_2_SEQ_LM", **arguments)
        )
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += torch.randn_like(parameter) * 0.3
        model.save_pretrained(where / name)
    tuned = seq2seq(where / "base")
    for parameter in tuned.parameters():
        parameter.data += torch.randn_like(parameter) * 0.05
    tuned.save_pretrained(where / "full")
    return where


NAMES = (None, *CONFIGS, "full")


def answers(place: Path) -> dict[str, Completion]:
    base = Base("t5", place / "base", "", "float32", 512, 60)
    adapters = tuple(
        Adapter(name, place / name, "", name, 0, (), None, changes_nothing=False, route="hf")
        for name in NAMES
        if name
    )
    backend = HfBackend(EngineSpec("hf", base, adapters, "float32", 64, 0), lambda: None)
    assert backend.ready["refused"] == {}
    backend._decoders[None].eos = ()
    for number, prompt in enumerate(prompts()):
        for name in NAMES:
            rest = ("t", str(number), name, prompt)
            backend.submit(Request(f"{name}/write/{number}", *rest, Decoding(N_TOKENS)))
            choose = Request(f"{name}/choose/{number}", *rest, Decoding(0), choices=CHOICES)
            backend.submit(choose)
    done = {}
    while backend.has_work():
        done |= {one.key: one for one in backend.step()}
    return done


def prompts() -> list[tuple[int, ...]]:
    rng = random.Random(5)
    return [tuple(rng.choices(range(2, 59), k=n)) for n in (4, 11, 7)]


def alone(name: str | None, place: Path) -> Any:
    import peft

    if name in (None, "full"):
        return seq2seq(place / (name or "base")).eval()
    return peft.PeftModel.from_pretrained(seq2seq(place / "base"), place / str(name)).eval()


def decoded(model: Any, prompt: tuple[int, ...], so_far: list[int]) -> Any:
    import torch

    ids = torch.tensor([prompt])
    with torch.inference_mode():
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            decoder_input_ids=torch.tensor([[0, *so_far]]),
        ).logits
    return logits[0].log_softmax(-1)


def test_an_encoder_decoder_answers_as_if_it_were_alone(place: Path) -> None:
    found = answers(place)
    for name in NAMES:
        model = alone(name, place)
        for number, prompt in enumerate(prompts()):
            ids: list[int] = []
            for _ in range(N_TOKENS):
                ids.append(int(decoded(model, prompt, ids)[-1].argmax()))
            assert list(found[f"{name}/write/{number}"].token_ids) == ids, (name, number)
            likelihoods = found[f"{name}/choose/{number}"].likelihoods
            for choice, one in zip(CHOICES, likelihoods, strict=True):
                rows = decoded(model, prompt, list(choice[:-1]))
                expected = [float(r[t]) for r, t in zip(rows, choice, strict=True)]
                assert one.logprobs == pytest.approx(expected, abs=2e-5), (name, number)
    differ = {n for n in NAMES if found[f"{n}/choose/0"].likelihoods
              != found["None/choose/0"].likelihoods}  # fmt: skip
    assert differ == set(NAMES) - {None}
