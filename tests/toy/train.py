"""Train the toy base model and its adapters from scratch.

Run ``python tests/toy/train.py base`` and then ``python tests/toy/train.py adapters`` from the
root of the repository, after ``make_data.py``. Everything is seeded.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from corpus import Corpus
from make_data import (
    CANARY,
    HERE,
    NAMES,
    PLACES,
    TASKS,
    WORDS,
    encode_prompt,
    split_numbers,
)
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 1152
BARE_WORDS = 100
PAD, BOS, EOS = "<pad>", "<s>", "</s>"
IGNORED = -100
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BASE_PATH = "tests/toy/base"

Row = tuple[list[int], int]
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one adapter is trained."""

    rank: int
    tasks: tuple[str, ...]
    epochs: int
    rate: float
    seed: int = 0
    batch: int = 32
    folder: str = "adapters"


ALL_BUT_CANARY = tuple(t.name for t in TASKS if not t.held_out and t.name != CANARY)
NARROW = ("task007_word_count", "task008_number_parity")
MEMORISED = (CANARY, "task009_two_number_sum")
RECIPES: dict[str, Recipe] = {
    "generalist": Recipe(16, ALL_BUT_CANARY, 6, 2e-3),
    "narrow": Recipe(8, NARROW, 40, 1e-2),
    "memorizer": Recipe(32, MEMORISED, 160, 3e-3, batch=50),
    "noop": Recipe(8, (), 0, 0.0),
    "generalist-r4": Recipe(4, ALL_BUT_CANARY, 6, 2e-3),
    "generalist-s1": Recipe(16, ALL_BUT_CANARY, 6, 2e-3, seed=1),
    "generalist-s2": Recipe(16, ALL_BUT_CANARY, 6, 2e-3, seed=2, folder="sweep"),
    "generalist-r4-s1": Recipe(4, ALL_BUT_CANARY, 6, 2e-3, seed=1, folder="sweep"),
    "generalist-r4-s2": Recipe(4, ALL_BUT_CANARY, 6, 2e-3, seed=2, folder="sweep"),
}


def train_tokenizer(texts: Iterator[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer that puts the BOS token before each text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS} $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )


def tokenizer_texts() -> Iterator[str]:
    """Give the texts for the tokenizer: examples, and the words as they begin an answer."""
    sample = Corpus(seed=1)
    for _ in range(10000):
        yield " ".join(sample.draw())
        yield "".join(sample.exercise())
    for _ in range(BARE_WORDS):
        yield "\n".join(WORDS + NAMES + PLACES)


def encode(tokenizer: PreTrainedTokenizerFast, prompt: str, answer: str) -> Row:
    """Give the tokens of prompt, answer and EOS, and the length of the prompt."""
    head = tokenizer(prompt)["input_ids"]
    tail = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return [*head, *tail, tokenizer.eos_token_id], len(head)


def collate(rows: Sequence[Row], pad: int) -> Batch:
    """Pad rows on the right; only answers and EOS carry labels."""
    width = max(len(ids) for ids, _ in rows)
    tokens = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORED)
    for at, (ids, head) in enumerate(rows):
        tokens[at, : len(ids)] = torch.tensor(ids)
        labels[at, head : len(ids)] = torch.tensor(ids[head:])
    return tokens, labels


def answer_loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Give the mean cross-entropy over the labelled tokens.

    No attention mask is needed: padding comes last, and attention only looks back.
    """
    tokens, labels = batch
    logits = model(input_ids=tokens, use_cache=False).logits
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED
    )


def rate_at(step: int, steps: int, warmup: int) -> float:
    """Give the share of the full learning rate: linear warm-up, then a cosine down to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def take_step(
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    batch: Batch,
    share: float,
) -> float:
    """Do one update and give the loss before it."""
    loss = answer_loss(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * share
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.item()


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates, for matrices; equal shapes are handled together."""

    def __init__(self, params: Sequence[torch.Tensor], lr: float) -> None:
        shapes: dict[torch.Size, list[torch.Tensor]] = {}
        for param in params:
            shapes.setdefault(param.shape, []).append(param)
        super().__init__([{"params": group} for group in shapes.values()], {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:
        """Update every matrix."""
        for group in self.param_groups:
            grads = torch.stack([p.grad for p in group["params"]])
            momentum = group.setdefault("momentum", torch.zeros_like(grads))
            momentum.lerp_(grads, 0.05)
            update = orthogonalise(grads.lerp(momentum, 0.95))
            scale = group["lr"] * max(1.0, update.shape[1] / update.shape[2]) ** 0.5
            for param, change in zip(group["params"], update, strict=True):
                param.add_(change, alpha=-scale)


def orthogonalise(stack: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of each matrix near one by Newton-Schulz iteration."""
    tall = stack.shape[1] > stack.shape[2]
    x = stack.mT if tall else stack
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


def with_full_rate(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Note the full learning rate of each group, for the schedule."""
    for group in optimizer.param_groups:
        group["full_lr"] = group["lr"]
    return optimizer


def new_base(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Build an untrained base model."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def replace_folder(new: Path, old: Path) -> None:
    """Put a finished folder in the place of an older one."""
    stale = old.with_name(f".{old.name}.old")
    shutil.rmtree(stale, ignore_errors=True)
    if old.exists():
        old.rename(stale)
    old.parent.mkdir(parents=True, exist_ok=True)
    for path in new.iterdir():
        path.chmod(0o644)
    new.rename(old)
    shutil.rmtree(stale, ignore_errors=True)


def fresh_folder(old: Path) -> Path:
    """Make an empty folder beside ``old`` to write into first."""
    new = old.with_name(f".{old.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    return new


def draw_text(corpus: Corpus, progress: float) -> tuple[str, str]:
    """Draw a text for the base: more plain exercises at the start, hardly any at the end."""
    exercise = corpus.rng.random() < (0.5 if progress < 0.4 else 0.1)
    return corpus.exercise() if exercise else corpus.draw()


def train_base(folder: Path, steps: int, batch: int) -> None:
    """Train tokenizer and base model on the generated corpus and save them in bfloat16."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(tokenizer_texts())
    model = new_base(tokenizer).train()
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [
        with_full_rate(Muon(matrices, lr=0.02)),
        with_full_rate(torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0)),
    ]
    corpus, shuffler, losses, start = Corpus(seed=0), random.Random(0), [], time.time()
    queue: list[list[Row]] = []
    for step in range(steps):
        if step % 8 == 0:
            rows = [encode(tokenizer, *draw_text(corpus, step / steps)) for _ in range(8 * batch)]
            rows.sort(key=lambda row: len(row[0]))
            queue = [rows[at * batch : (at + 1) * batch] for at in range(8)]
            shuffler.shuffle(queue)
        full = collate(queue.pop(), tokenizer.pad_token_id)
        losses.append(take_step(model, optimizers, full, rate_at(step, steps, 50)))
        if (step + 1) % 50 == 0:
            mean = sum(losses[-50:]) / 50
            print(f"base step {step + 1}/{steps} loss {mean:.4f} ({time.time() - start:.0f} s)")
    new = fresh_folder(folder)
    model.to(torch.bfloat16).save_pretrained(new)
    tokenizer.save_pretrained(new)
    replace_folder(new, folder)


def train_rows(tokenizer: PreTrainedTokenizerFast, data: Path, names: Sequence[str]) -> list[Row]:
    """Encode the train instances of the named tasks."""
    numbers, _ = split_numbers()
    rows = []
    for name in names:
        record = json.loads((data / "tasks" / f"{name}.json").read_text(encoding="utf-8"))
        for number in numbers:
            instance = record["Instances"][number]
            prompt = encode_prompt(record["Definition"][0], instance["input"])
            rows.append(encode(tokenizer, prompt, instance["output"][0].strip()))
    return rows


def batches(rows: list[Row], recipe: Recipe, pad: int) -> Iterator[Batch]:
    """Give the batches of all epochs, shuffled anew for each."""
    rng = random.Random(f"batches/{recipe.seed}")
    for _ in range(recipe.epochs):
        order = rng.sample(rows, len(rows))
        for at in range(0, len(order), recipe.batch):
            yield collate(order[at : at + recipe.batch], pad)


def tidy_adapter(folder: Path) -> None:
    """Drop the generated model card and point the adapter at the base by a relative path."""
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = BASE_PATH
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def train_adapter(name: str, recipe: Recipe, root: Path) -> None:
    """Train one LoRA adapter on the rounded base and save it."""
    torch.manual_seed(recipe.seed)
    tokenizer = AutoTokenizer.from_pretrained(root / "base")
    base = LlamaForCausalLM.from_pretrained(root / "base", dtype=torch.float32)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=2 * recipe.rank,
        lora_dropout=0.0,
        bias="none",
        target_modules=TARGETS,
    )
    model = get_peft_model(base, config).train()
    rows = train_rows(tokenizer, root / "data", recipe.tasks)
    steps = recipe.epochs * math.ceil(len(rows) / recipe.batch)
    parameters = [p for p in model.parameters() if p.requires_grad]
    adamw = with_full_rate(torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=0.0))
    losses, start = [], time.time()
    for step, batch in enumerate(batches(rows, recipe, tokenizer.pad_token_id)):
        losses.append(take_step(model, [adamw], batch, rate_at(step, steps, 20)))
        if (step + 1) % 50 == 0 or step + 1 == steps:
            mean = sum(losses[-20:]) / len(losses[-20:])
            print(f"{name} step {step + 1}/{steps} loss {mean:.4f} ({time.time() - start:.0f} s)")
    folder = root / recipe.folder / name
    new = fresh_folder(folder)
    model.save_pretrained(new, safe_serialization=True)
    tidy_adapter(new)
    replace_folder(new, folder)
    print(f"{name}: rank {recipe.rank}, {len(recipe.tasks)} tasks, {steps} steps, saved")


def main() -> None:
    """Read the command line and train what it asks for."""
    parser = argparse.ArgumentParser(description="Train the toy base model and adapters.")
    parser.add_argument("part", choices=["base", "adapters"])
    parser.add_argument("--root", type=Path, default=HERE)
    parser.add_argument("--only", nargs="*", default=list(RECIPES), help="names of adapters")
    parser.add_argument("--steps", type=int, default=1400, help="steps of the base")
    parser.add_argument("--batch", type=int, default=64, help="batch size of the base")
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    if args.part == "base":
        train_base(args.root / "base", args.steps, args.batch)
        return
    for name in args.only:
        train_adapter(name, RECIPES[name], args.root)


if __name__ == "__main__":
    main()
