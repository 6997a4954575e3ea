"""Train a LoRA adapter of the toy base with transformers' Trainer, and keep its checkpoints.

Run ``OMP_NUM_THREADS=1 python tests/toy/train_series.py`` from the root of the repository. What a
checkpoint holds for going on with the training (optimizer, scheduler, random state) is left out.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from make_data import HERE
from peft import LoraConfig, get_peft_model
from train import ALL_BUT_CANARY, collate, tidy_adapter, train_rows
from transformers import AutoTokenizer, LlamaForCausalLM, Trainer, TrainingArguments

RANK = 2
SAVE_EVERY, STEPS = 80, 400
KEPT = ("adapter_config.json", "adapter_model.safetensors", "trainer_state.json")


def main() -> None:
    """Train, and put the checkpoints into ``series/``."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(HERE / "base")
    base = LlamaForCausalLM.from_pretrained(HERE / "base", dtype=torch.float32)
    config = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=4 * RANK,
                        target_modules=["q_proj", "v_proj", "up_proj", "down_proj"])  # fmt: skip
    rows = train_rows(tokenizer, HERE / "data", ALL_BUT_CANARY)

    def batch_of(rows: list[Any]) -> dict[str, torch.Tensor]:
        tokens, labels = collate(rows, tokenizer.pad_token_id)
        return {"input_ids": tokens, "labels": labels}

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out, max_steps=STEPS, save_steps=SAVE_EVERY, logging_steps=SAVE_EVERY,
            per_device_train_batch_size=32, learning_rate=2e-3, lr_scheduler_type="cosine",
            warmup_steps=10, seed=0, report_to=[], use_cpu=True, disable_tqdm=True,
            dataloader_pin_memory=False, remove_unused_columns=False,
        )  # fmt: skip
        trainer = Trainer(get_peft_model(base, config), arguments, train_dataset=rows,
                          data_collator=batch_of)  # fmt: skip
        trainer.train()
        for folder in sorted(Path(out).glob("checkpoint-*")):
            kept = HERE / "series" / folder.name
            kept.mkdir(parents=True, exist_ok=True)
            for name in KEPT:
                shutil.copyfile(folder / name, kept / name)
            tidy_adapter(kept)


if __name__ == "__main__":
    main()
