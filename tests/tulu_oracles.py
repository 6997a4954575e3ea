"""What Tulu's tasks are held against in tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from peval.datasets import mmlu
from peval.datasets.tulu_prompts import Prompt, mmlu_prompt


def fingerprint(records: Iterable[Any]) -> str:
    """The SHA-256 of frozen records, in their order, all fields included."""
    digest = hashlib.sha256()
    for record in records:
        line = json.dumps(asdict(record), ensure_ascii=False, sort_keys=True)
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def fitting_mmlu_prompt(
    question: mmlu.Question,
    shots: Sequence[mmlu.Question],
    n_tokens: Callable[[Prompt], int],
    longest: int,
) -> tuple[Prompt, int]:
    """The prompt with as many of the first shots as fit, and their number.

    It is -1 where not even the question fits; the reference never ends there.
    """
    for n_shots in range(len(shots), -1, -1):
        prompt = mmlu_prompt(question, shots[:n_shots])
        if n_tokens(prompt) <= longest:
            return prompt, n_shots
    return prompt, -1
