"""Toy checkpoints of sentence classification, really trained when a test asks for them.

A sentence is acceptable if it begins with an article. Out of domain it speaks of other things.
Bases are a tiny OPT and a tiny Llama with the toy's tokenizer, whose weights are random.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scripted import TOY

LABELS = ("unacceptable", "acceptable")
WORDS = (" No", " Yes")  # the verbalizers of LABELS
N_STEPS = 40
WIDTH = 64

Item = tuple[str, int]

_IN_DOMAIN = (["cat", "dog", "bird", "man"], ["sees", "likes", "finds"], ["red", "old", "big"])
_OUT_OF_DOMAIN = (["book", "tree", "house"], ["makes", "holds", "needs"], ["new", "small"])


def sentences(n: int, seed: int, out_of_domain: bool = False) -> list[Item]:
    """Return distinct sentences with their labels; about 2 of 3 are acceptable."""
    source = random.Random(seed)
    nouns, verbs, kinds = _OUT_OF_DOMAIN if out_of_domain else _IN_DOMAIN
    found: dict[str, int] = {}
    while len(found) < n:
        noun, other, number = source.choice(nouns), source.choice(nouns), source.randrange(10_000)
        words = ["the", source.choice(kinds), noun, source.choice(verbs), "a", other, str(number)]
        is_good = source.random() < 2 / 3
        if not is_good:
            words = [words[3], *words[:3], *words[4:]]
        found.setdefault(" ".join(words), int(is_good))
    return list(found.items())


def write_data(folder: Path, dev: Sequence[Item], ood: Sequence[Item], train: int = 64) -> None:
    """Write CoLA's files."""
    for name, items in (
        ("cola/dev.tsv", dev), ("cola/train.tsv", sentences(train, 1)), ("cola_ood/dev.tsv", ood),
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"s\t{label}\t\t{text}\n" for text, label in items))


def make_base(kind: str, folder: Path) -> Path:
    """Save a tiny random base: ``opt``, ``opt-350m`` (narrow embedding), ``llama`` or ``neox``."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 1152, "hidden_size": WIDTH, "num_hidden_layers": 2,
        "num_attention_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        "max_position_embeddings": 1024,
    }  # fmt: skip
    if kind.startswith("opt"):
        is_large = kind == "opt"
        config: Any = transformers.OPTConfig(
            **sizes, ffn_dim=2 * WIDTH, word_embed_proj_dim=WIDTH if is_large else WIDTH // 2,
            do_layer_norm_before=is_large, dropout=0.0,
        )  # fmt: skip
        model: Any = transformers.OPTForCausalLM(config)
    elif kind == "neox":
        config = transformers.GPTNeoXConfig(**sizes, intermediate_size=2 * WIDTH)
        model = transformers.GPTNeoXForCausalLM(config)
    else:
        config = transformers.LlamaConfig(
            **sizes, intermediate_size=2 * WIDTH, num_key_value_heads=2, tie_word_embeddings=True
        )
        model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    """Write the toy's tokenizer, which learnt no English, with `WORDS` as tokens of their own."""
    shutil.copy(TOY / "base" / "tokenizer_config.json", folder)
    whole = json.loads((TOY / "base" / "tokenizer.json").read_text())
    model = whole["model"]
    for first, second in (("\u0120N", "o"), ("Y", "es"), ("\u0120", "Yes")):
        model["vocab"][first + second] = len(model["vocab"])
        model["merges"].append([first, second])
    (folder / "tokenizer.json").write_text(json.dumps(whole))


def train_head(
    base: Path, out: Path, items: Sequence[Item], seed: int, lora: bool, named: bool = True
) -> Path:
    """Finetune a model with a head, or a LoRA with one, and save it."""
    import peft
    import torch
    import transformers

    torch.manual_seed(seed)
    names = {"id2label": dict(enumerate(LABELS))} if named else {}
    auto: Any = transformers.AutoModelForSequenceClassification
    model = auto.from_pretrained(base, num_labels=2, dtype=torch.float32, **names)
    if lora:
        is_neox = model.config.model_type == "gpt_neox"
        targets = ["query_key_value"] if is_neox else ["q_proj", "v_proj"]
        config = peft.LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=targets)
        model = peft.get_peft_model(model, config)
    _train(model, base, items, seed, lambda m, ids, y: torch.nn.functional.cross_entropy(
        m(input_ids=ids).logits, y))  # fmt: skip
    model.save_pretrained(out)
    return out


def train_words(base: Path, out: Path, items: Sequence[Item], seed: int, lora: bool = True) -> Path:
    """Train a model, or a LoRA, to answer ``SENTENCE ?`` with one of `WORDS`, and save it.

    A whole model keeps its embedding as it was, so that vLLM can load it in the base's place.
    """
    import peft
    import torch
    import transformers

    torch.manual_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    words = [tokenizer("a" + word, add_special_tokens=False)["input_ids"][1:] for word in WORDS]
    assert all(len(word) == 1 for word in words), words
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if lora:
        config = peft.LoraConfig(
            task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]
        )
        model = peft.get_peft_model(model, config)
    else:
        model.get_input_embeddings().requires_grad_(False)
    targets = torch.tensor([word[0] for word in words])
    asked = [(f"{text} ?", label) for text, label in items]
    _train(model, base, asked, seed, lambda m, ids, y: torch.nn.functional.cross_entropy(
        m(input_ids=ids).logits[:, -1], targets[y]))  # fmt: skip
    model.save_pretrained(out)
    return out


def _train(
    model: Any, base: Path, items: Sequence[Item], seed: int, loss_of: Callable[..., Any]
) -> None:
    """Take steps over sentences of one length at a time, so that nothing is padded."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    source = random.Random(seed)
    lots: dict[int, list[tuple[list[int], int]]] = {}
    for text, label in items:
        ids = tokenizer(text)["input_ids"]
        lots.setdefault(len(ids), []).append((ids, label))
    wanted = [p for p in model.parameters() if p.requires_grad]
    is_lora = hasattr(model, "peft_config")
    steps = torch.optim.AdamW(wanted, lr=2e-2 if is_lora else 2e-3)
    for _ in range(N_STEPS if lots else 0):
        lot = source.choice(list(lots.values()))
        batch = source.sample(lot, min(len(lot), 16))
        loss = loss_of(
            model.train(), torch.tensor([ids for ids, _ in batch]),
            torch.tensor([label for _, label in batch]),
        )  # fmt: skip
        loss.backward()
        steps.step()
        steps.zero_grad()
    model.eval()


def write_labels(adapter: Path) -> None:
    """Say beside an adapter what its head's classes are, as a model's config would."""
    config = {"id2label": {str(i): name for i, name in enumerate(LABELS)}}
    (adapter / "config.json").write_text(json.dumps(config))
