"""A process that folds adapters into their base with PEFT and writes whole checkpoints.

It reads a `Fold` per line and answers each with a line: where the checkpoint lies, or why there
is none. A process apart: PEFT's memory is given back, and vLLM works on meanwhile.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fold:
    """What to fold and where to; ``rows`` is the size of a vocabulary that is not the base's.

    ``n_classes`` of a head stand in the place of the output layer; 0 where there is none.
    """

    base: str
    adapter: str
    dtype: str
    rows: int | None
    n_classes: int
    out: str


def main() -> None:
    """Answer until the input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # libraries print
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        asked = Fold(**json.loads(line))
        why = None
        try:
            fold(asked)
        except Exception as error:  # peft raises anything; only this adapter fails
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        answers.write(json.dumps({"out": asked.out, "why": why}) + "\n")
        answers.flush()


def fold(asked: Fold) -> None:
    """Write the base with an adapter folded in, in one dtype throughout."""
    import torch
    from peft import PeftModel

    dtype = getattr(torch, asked.dtype)
    model = _base(asked, dtype)
    if asked.rows is not None:
        model.resize_token_embeddings(asked.rows, mean_resizing=False)
    is_tied = _untie(model)
    merged = PeftModel.from_pretrained(model, asked.adapter).merge_and_unload()
    merged = merged.to(dtype)  # some methods leave what they touched in float32
    if is_tied:
        _tie_if_equal(merged)
    merged.save_pretrained(asked.out)


def _base(asked: Fold, dtype: Any) -> Any:
    import transformers

    auto: Any = transformers.AutoModelForCausalLM
    if not asked.n_classes:
        return auto.from_pretrained(asked.base, dtype=dtype)
    auto = transformers.AutoModelForSequenceClassification
    return auto.from_pretrained(asked.base, dtype=dtype, num_labels=asked.n_classes)


def _untie(model: Any) -> bool:
    """Give a tied output layer its own copy: an update of the embedding must not reach it."""
    import torch

    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is not table.weight:
        return False
    head.weight = torch.nn.Parameter(table.weight.detach().clone())
    return True


def _tie_if_equal(model: Any) -> None:
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    model.config.tie_word_embeddings = head.weight.equal(table.weight)
    if model.config.tie_word_embeddings:
        head.weight = table.weight
