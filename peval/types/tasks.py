"""Evaluations as data: what is asked, in which way, and how answers are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Decoding:
    """How an answer is generated. A temperature of 0 is greedy.

    ``stop`` strings end an answer and are left out of it. ``top_p`` keeps the likeliest tokens
    that together have this probability, ``top_k`` so many of the likeliest (0: all). ``n`` answers
    are drawn independently.
    """

    max_tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    top_p: float = 1.0
    n: int = 1
    top_k: int = 0


@dataclass(frozen=True)
class Chat:
    """Asking in conversations, which the chat template of a model turns into text.

    The template is the adapter's, else the base's, else the profile's ``own`` (a file of
    ``tasks/chat``); a model without any is asked in plain text. ``template`` names one of several
    that a model may have. ``multiturn`` makes each of lm-eval's examples a turn.
    """

    own: str | None = None
    template: str | None = None
    system: str | None = None
    multiturn: bool = True


@dataclass(frozen=True)
class Profile:
    """A published way of asking: prompt, lengths, decoding, instances per task.

    ``max_source_tokens`` is the longest prompt in tokens; None means what the model's context
    leaves beside the answer. ``instances_per_task`` of None means all. With ``chat``, prompts are
    conversations.
    """

    name: str
    prompt: Literal[
        "tk-instruct", "plain", "tulu1", "tulu2", "codex", "evalplus",
        "verbalizers", "minimal", "gpt-3", "eval-harness", "head", "head-pattern", "fastchat",
    ]  # fmt: skip
    n_positive_examples: int
    max_source_tokens: int | None
    instances_per_task: int | None
    decoding: Decoding
    chat: Chat | None = None

    @property
    def asks_heads(self) -> bool:
        """Whether it is classification heads that are asked."""
        return self.prompt in ("head", "head-pattern")


@dataclass(frozen=True)
class Task:
    """One evaluation: which data, which way of asking, which metrics (the first is the headline).

    ``source`` is a file path where the reader needs one (``jsonl``), or the name that another
    harness knows; ``settings`` are for the reader. ``rule`` says how an answer is found in a longer
    text (`peval.scorers.extraction`). ``margin`` is the largest loss against the base that does
    not matter. Data, never code.
    """

    name: str
    version: int
    description: str
    reader: Literal[
        "superni", "jsonl", "lm-eval", "mmlu", "gsm8k", "bbh", "tydiqa", "memorization", "code",
        "nlu", "prompts", "judge",
    ]  # fmt: skip
    split: str
    profile: Profile
    metrics: tuple[str, ...]
    tokenizer: Literal["default", "xlingual"] = "default"
    source: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    rule: str | None = None
    margin: float = 0.02
