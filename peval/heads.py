"""Classification heads: whose classes are called what, and how they are asked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from peval.chat import Voice
from peval.errors import AdapterError, BaseModelError, DataError, UsageError
from peval.prompts import Prompt
from peval.scorers.labels import named
from peval.strict_json import read_object
from peval.types import Adapter, Base, Sample, Task

_UNNAMED = re.compile(r"LABEL_\d+")
_DECODERS = ("ForCausalLM", "LMHeadModel")


def asks_heads(tasks: Sequence[Task], adapters: Sequence[Adapter]) -> bool:
    """Tell whether a run asks heads; it asks nothing else then.

    Raises
    ------
    UsageError
        Some tasks or adapters have to do with heads, and others do not.
    AdapterError
        A head's classes are not a task's labels.
    """
    asked = [task for task in tasks if task.profile.asks_heads]
    having = [adapter for adapter in adapters if adapter.labels]
    if not asked and not having:
        return False
    if len(asked) < len(tasks):
        other = next(task for task in tasks if task not in asked)
        raise UsageError(
            f"{having[0].name if having else asked[0].name} is about classification heads, which "
            f"{other.name} does not ask: give --profile lowres-2024 (or lowres-2024-pattern) and "
            "tasks of sentence classification alone"
        )
    without = next((adapter for adapter in adapters if not adapter.labels), None)
    if without is not None or not having:
        who = without.name if without else "the base"
        raise UsageError(
            f"{who} has no classification head; score it in another run with a profile llmft*"
        )
    return True


def why_not_in_vllm(base: Base) -> str | None:
    """Say why vLLM's classification form does not serve heads on a base; None where it does.

    It puts a linear layer as wide as the hidden size on the last token of a decoder (vLLM 0.32 and
    0.33, ``model_executor/models/adapters.py``).
    """
    config = read_object(base.path / "config.json", BaseModelError)
    kinds = config.get("architectures") or ["a model without a name"]
    if not str(kinds[0]).endswith(_DECODERS):
        return f"vLLM's classification form is that of decoders, {base.name} is {kinds[0]}"
    width, hidden = config.get("word_embed_proj_dim"), config.get("hidden_size")
    if width not in (None, hidden):
        return f"vLLM's head reads {hidden} numbers of a token, that of {base.name} reads {width}"
    return None


def named_classes(adapter: Adapter, given: Sequence[str]) -> Adapter:
    """Return an adapter whose head's classes have names: its files', else those given.

    Raises
    ------
    AdapterError
        There are none, of another number, or in another order than its files say.
    """
    own = adapter.labels
    if not own:
        return adapter
    is_unnamed = all(map(_UNNAMED.fullmatch, own))
    if is_unnamed and not given:
        raise AdapterError(
            f"{adapter.path}: the classes of its head are {', '.join(own)}: say what they mean, "
            "in this order, with --labels"
        )
    if given and len(given) != len(own):
        raise AdapterError(
            f"{adapter.path}: its head has {len(own)} classes, --labels names {len(given)}"
        )
    if given and not is_unnamed and [_plain(g) for g in given] != [_plain(o) for o in own]:
        raise AdapterError(
            f"{adapter.path}: its config calls the classes {', '.join(own)}, --labels "
            f"{', '.join(given)}"
        )
    return dataclasses.replace(adapter, labels=tuple(given) if is_unnamed else own)


def groups(classes: Sequence[str], labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return for each of a task's labels the classes that mean it.

    Where there is only entailment and its absence, neutral and contradiction are that absence.

    Raises
    ------
    AdapterError
        A class means none of the labels, or a label has no class.
    """
    means = [named(name, labels) for name in classes]
    found = tuple(
        tuple(place for place, meant in enumerate(means) if meant == label) for label in labels
    )
    if not all(found) or sum(map(len, found)) < len(classes):
        raise AdapterError(
            f"a head of {len(classes)} classes ({', '.join(classes)}) is asked for "
            f"{len(labels)} labels ({', '.join(labels)})"
        )
    return found


def encode_for_head(
    samples: Sequence[Sample], task: Task, voice: Voice
) -> list[tuple[Prompt, ...]]:
    """Return the prompt of each sample: its text, or pair of texts, as the tokenizer joins them.

    Of a pair that is too long, the longer text loses its end first.

    Raises
    ------
    AdapterError
        The head's classes are not the task's labels.
    DataError
        A sample has nothing to ask.
    """
    choices = _choices(task, samples, voice.labels)
    whole = _encoded(samples, voice.tokenizer, None)
    cut = _encoded(samples, voice.tokenizer, task.profile.max_source_tokens)
    return [
        (Prompt(tuple(short), len(short) < len(long), choices, of_head=True),)
        for short, long in zip(cut, whole, strict=True)
    ]


def _choices(
    task: Task, samples: Sequence[Sample], classes: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    try:
        return groups(classes, samples[0].choices)
    except AdapterError as error:
        raise AdapterError(f"{task.name}: {error}") from error


def _encoded(samples: Sequence[Sample], tokenizer: Any, limit: int | None) -> list[list[int]]:
    asked = [_asked(sample) for sample in samples]
    texts = [text for text, _ in asked]
    seconds = [second for _, second in asked if second is not None]
    more = {"truncation": True, "max_length": limit} if limit else {}
    ids = tokenizer(texts, seconds or None, verbose=False, **more)["input_ids"]
    return [list(one) for one in ids]


def _asked(sample: Sample) -> tuple[str, str | None]:
    if sample.labelling is None or not sample.labelling.words:
        raise DataError(
            f"the sample {sample.id!r} has labels but nothing to ask (a key without sentences); "
            "`peval rescore --predictions` works"
        )
    return sample.labelling.text, sample.labelling.second


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
