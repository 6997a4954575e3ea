"""Which way an adapter reaches an engine, and why.

The refusals of native LoRA are those of vLLM 0.32 and 0.33 (``vllm/lora/peft_helper.py`` and
``vllm/lora/lora_model.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from peval.adapters.config import Config
from peval.adapters.entries import Entries
from peval.adapters.required import Plan
from peval.adapters.rewrite import rewritten_rank
from peval.types import HF, MERGE
from peval.types import NATIVE as NATIVE

REWRITE, PROMPT = "rewrite-lora", "prompt-embeds"
_ALSO = {NATIVE: (MERGE, HF), REWRITE: (MERGE, HF), MERGE: (HF,), PROMPT: (HF,), HF: ()}
ROUTES = tuple(_ALSO)
MAX_NATIVE_RANK = 512
_PROMPTS = ("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING")
HAS_HEAD = "its head classifies sequences, in transformers or, with --engine vllm, in vLLM"
NO_ENCODERS = "vLLM serves no encoder-decoder models"
_INSIDE = {
    "PREFIX_TUNING": "its vectors go into every layer's attention, which vLLM has no place for",
    "ADAPTION_PROMPT": "its prompts are added inside the last layers' attention",
    "XLORA": "a classifier weighs its LoRAs anew at every token, from the base's own answer",
}


@dataclass(frozen=True)
class Route:
    """A route's name, and why this one."""

    name: str
    why: str


def choose(config: Config, entries: Entries, plan: Plan | None, encodes: bool) -> Route:
    """Choose the fastest route that changes nothing in what the adapter computes.

    ``encodes`` says that the base is an encoder-decoder.
    """
    kind, name = config.method.peft_type, config.method.name
    if config.has_head:
        return Route(HF, HAS_HEAD)
    if encodes:
        return Route(HF, NO_ENCODERS)
    if kind in _INSIDE:
        return Route(HF, _INSIDE[kind])
    if kind in _PROMPTS:
        return Route(PROMPT, _why_prompt(config))
    if config.settings.get("alora_invocation_tokens"):
        return Route(HF, "activated LoRA (aLoRA) begins in the middle of a prompt")
    if kind == "LORA" and config.flag("lora_bias") and plan and plan.lacks_bias:
        return Route(HF, "PEFT folds a bias in lora_B only into modules that have one")
    extras = list(_beside(config, entries, plan))
    rank = rewritten_rank(config, entries) if not extras else None
    if kind == "LORA" and not extras and not _why_not_native(config):
        return Route(NATIVE, "plain LoRA, which vLLM applies to each request of a batch")
    if rank is not None and rank <= MAX_NATIVE_RANK:
        return Route(REWRITE, f"{name} is exactly a LoRA of rank {rank}")
    reasons = [*extras, _why_not_native(config) or _why_no_rewrite(config, rank)]
    return Route(MERGE, "; ".join(reason for reason in reasons if reason))


def may_take(chosen: str, wanted: str) -> bool:
    """Say whether an adapter that takes one route by itself can take another when told to."""
    return wanted == chosen or wanted in _ALSO[chosen]


def _why_prompt(config: Config) -> str:
    n_tokens = config.settings["num_virtual_tokens"]
    why = f"{n_tokens} trained vectors stand before the prompt"
    n_tasks = config.settings.get("num_tasks") or 1
    if config.method.peft_type == "MULTITASK_PROMPT_TUNING" and n_tasks > 1:
        why += f"; it holds {n_tasks} tasks, of which one must be chosen"
    return why


def _beside(config: Config, entries: Entries, plan: Plan | None) -> Iterator[str]:
    """Yield what the adapter trains beside its method's own tensors."""
    if config.names("modules_to_save"):
        yield f"fully trained modules ({', '.join(config.names('modules_to_save') or ())})"
    if config.settings.get("trainable_token_indices"):
        yield "trained rows of the embedding"
    if (config.settings.get("bias") or "none") != "none":
        yield f"trained biases ({config.settings['bias']})"
    whole = [name for name in entries if name.endswith((".embed_tokens.weight", ".lm_head.weight"))]
    if plan and plan.rows:
        yield f"a vocabulary of another size ({plan.rows} rows)"
    elif not config.names("modules_to_save") and whole:
        yield "whole embeddings stored beside it"


def _why_not_native(config: Config) -> str:
    """Say what vLLM's LoRA lacks for this adapter; nothing if it serves it."""
    if config.method.peft_type != "LORA":
        return ""
    if config.flag("use_dora"):
        return "vLLM refuses DoRA"
    if config.flag("lora_bias"):
        return "vLLM refuses a bias in lora_B"
    initial = config.settings.get("init_lora_weights")
    if initial in ("pissa", "olora"):
        return f"{initial} changed the base weights, and vLLM refuses it"
    if config.largest_rank > MAX_NATIVE_RANK:
        return f"rank {config.largest_rank} is over vLLM's {MAX_NATIVE_RANK}"
    return ""


def _why_no_rewrite(config: Config, rank: int | None) -> str:
    name = config.method.name
    if rank is not None:
        return f"{name} would be a LoRA of rank {rank}, over vLLM's {MAX_NATIVE_RANK}"
    if config.method.peft_type == "LORA":
        return ""
    return f"{name} is no LoRA, but folds into the base weights"
