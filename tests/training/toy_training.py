"""A real LoRA training of the toy base."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from scripted import TOY
from torch.utils.data import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

TASK = "task007_word_count"


class Rows(Dataset[dict[str, Any]]):
    """Instances of one toy task as token ids; the loss is on all of them."""

    def __init__(self, n: int) -> None:
        tokenizer = AutoTokenizer.from_pretrained(TOY / "base")
        (path,) = (TOY / "data").rglob(f"{TASK}.json")
        rows = json.loads(path.read_text())["Instances"][:n]
        texts = [f"{row['input']} {row['output'][0]}{tokenizer.eos_token}" for row in rows]
        self.rows = [tokenizer(text).input_ids[-32:] for text in texts]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        ids = torch.tensor(self.rows[i] + [0] * (32 - len(self.rows[i])))
        return {"input_ids": ids, "labels": ids.masked_fill(ids == 0, -100)}


def lora(rank: int = 8) -> Any:
    torch.manual_seed(0)
    base = str(TOY / "base")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=rank, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def arguments(out: Path, **more: Any) -> TrainingArguments:
    settings: dict[str, Any] = {
        "output_dir": str(out), "max_steps": 40, "per_device_train_batch_size": 8,
        "learning_rate": 5e-3, "save_strategy": "steps", "save_steps": 10, "logging_steps": 10,
        "report_to": [], "use_cpu": True, "disable_tqdm": True, "seed": 0,
        "dataloader_pin_memory": False,
    }  # fmt: skip
    return TrainingArguments(**settings | more)


def trainer(out: Path, **more: Any) -> Trainer:
    rows = Rows(64)
    return Trainer(lora(), arguments(out, **more), train_dataset=rows, eval_dataset=rows)


class Slow(TrainerCallback):
    """Stands for a model that takes its time; an action may happen after some step."""

    def __init__(self, step_s: Callable[[], float], actions: dict[int, Any] | None = None) -> None:
        self.step_s, self.actions = step_s, actions or {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        time.sleep(self.step_s())
        if state.global_step in self.actions:
            self.actions[state.global_step]()


def n_descendants(pid: int | None) -> int:
    """Count the living processes that this one started, and theirs."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(1 + n_descendants(int(child)) for child in children)
