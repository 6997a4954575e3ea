"""A task of lm-evaluation-harness as peval's task and samples: the very texts that it sends."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from peval.bridges.lm_eval_tasks import FEWSHOT_SEED, PREFIX, load
from peval.errors import TaskError
from peval.types import Chat, Dataset, Decoding, Message, Query, Sample, Task

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of a function that a config holds, new in each process
_TALK = "\0conversation "
DEFAULT_MAX_TOKENS = 256  # as in lm-eval's own backends


def expand(task: Task) -> list[Task]:
    """Return one task per leaf of a name of lm-eval's, with the metrics that each has."""
    name = str(task.source)
    return [
        dataclasses.replace(
            task,
            name=f"{PREFIX}{leaf}",
            source=name,
            split=leaf,
            description=f"lm-evaluation-harness task {leaf}",
            version=_version(harness),
            metrics=metrics_of(harness),
            settings={**task.settings, "config_sha256": config_sha256(harness)},
        )
        for leaf, harness in load(name, task.settings).items()
    ]


def metrics_of(harness: Any) -> tuple[str, ...]:
    """Return a task's metrics as lm-eval names them; without the filter where it does nothing."""
    filters = [one.name for one in getattr(harness, "_filters", [])] or ["none"]
    return tuple(metric_name(m, f) for f in filters for m in harness.aggregation())


def config_sha256(harness: Any) -> str:
    """Return the start of a hash of a task's own settings: a filter changes scores, no prompt."""
    config = harness.dump_config()
    config.get("metadata", {}).pop("config_source", None)  # where the file lies changes nothing
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(_ADDRESS.sub("", text).encode()).hexdigest()[:12]


def metric_name(metric: str, filter_name: str) -> str:
    """Return a metric's name with its filter."""
    return metric if filter_name == "none" else f"{metric},{filter_name}"


def harness_task(task: Task) -> Any:
    """Return lm-eval's own object of a task."""
    return load(str(task.source), task.settings)[task.split]


def read(task: Task) -> Dataset:
    """Return a task's documents as samples, with the texts that lm-eval would send."""
    harness = harness_task(task)
    documents = dict(harness.doc_iterator(limit=task.profile.instances_per_task))
    asked = _by_document(built_instances(task))
    plain = _by_document(_instances(task, None)) if task.profile.chat else {}
    samples = [
        _sample(harness, documents[number], number, mine, plain.get(number, []))
        for number, mine in asked.items()
    ]
    return Dataset(samples=tuple(samples), files=())


def built_instances(task: Task) -> list[Any]:
    """Return lm-eval's requests of a task in its order; documents follow one another."""
    return _instances(task, task.profile.chat)


def _instances(task: Task, chat: Chat | None) -> list[Any]:
    system = task.settings.get("system_instruction")
    limit = task.profile.instances_per_task
    return list(_built(harness_task(task), limit, chat, str(system) if system else None))


@cache
def _built(harness: Any, limit: int | None, chat: Chat | None, system: str | None) -> Any:
    """Build a task's requests once, from the seed on; conversations stay in turns."""
    harness.set_fewshot_seed(seed=FEWSHOT_SEED)
    with contextlib.redirect_stderr(io.StringIO()):  # lm-eval's progress bar
        harness.build_all_requests(
            limit=limit, rank=0, world_size=1, system_instruction=system,
            apply_chat_template=chat is not None,
            fewshot_as_multiturn=chat is not None and chat.multiturn,
            chat_template=_held if chat is not None else None,
        )  # fmt: skip
    return tuple(harness.instances)


def _held(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    """Stand in for a model's chat template: keep the turns, so that each model's can be applied."""
    return f"{_TALK}{json.dumps(messages)}"


def _by_document(instances: Sequence[Any]) -> dict[int, list[Any]]:
    return {n: list(mine) for n, mine in groupby(instances, key=lambda one: one.doc_id)}


def _sample(
    harness: Any, doc: Any, number: int, instances: Sequence[Any], plain: Sequence[Any]
) -> Sample:
    queries = list(_queries(harness, instances))
    if plain:
        queries = [
            query if query.role is None else dataclasses.replace(query, plain=other)
            for query, other in zip(queries, _queries(harness, plain), strict=True)
        ]
    return Sample(
        id=str(number),
        input=queries[0].text,
        targets=(str(harness.doc_to_target(doc)),),
        cluster=str(number),
        queries=tuple(queries),
    )


def _queries(harness: Any, instances: Sequence[Any]) -> Iterator[Query]:
    """Yield what a document's requests ask; neighbours on one text are one question of choice."""
    for (kind, text), mine in groupby(instances, key=lambda one: (one.request_type, one.args[0])):
        query = _query(harness, text)
        if kind == "loglikelihood":
            choices = tuple(str(one.args[1]) for one in mine)
            yield dataclasses.replace(query, continuations=choices)
        elif kind == "loglikelihood_rolling":
            yield from (dataclasses.replace(query, rolling=True) for _ in mine)
        else:
            yield from (
                dataclasses.replace(query, decoding=_decoding(one.args[1], one.repeats or 1))
                for one in mine
            )


def _query(harness: Any, text: str) -> Query:
    """Return a text as a question, and a conversation with its turns."""
    if _TALK not in text:
        return Query(text)
    before, _, talk = text.partition(_TALK)
    try:
        *turns, last = [Message(**turn) for turn in json.loads(talk)]
    except ValueError:
        before = "something"
    if before or last.role == "system":
        raise TaskError(
            f"lm-eval's {harness.config.task} writes around its conversation, which peval does "
            "not; leave out --apply-chat-template"
        )
    return Query(last.content, role=last.role, turns=tuple(turns))


def _decoding(arguments: dict[str, Any], repeats: int) -> Decoding:
    """Return a task's way of generating; what peval cannot do is refused by lm-eval's name.

    A greedy answer is the same however often it is asked for.
    """
    from lm_eval.models.utils import normalize_gen_kwargs

    given = dict(normalize_gen_kwargs(arguments, DEFAULT_MAX_TOKENS))
    decoding = Decoding(
        max_tokens=given.pop("max_gen_toks"),
        temperature=float(given.pop("temperature", 0.0)),
        stop=tuple(text for text in given.pop("until", ()) if text),
    )
    # vLLM writes "all tokens" as 0 or -1.
    top_p, top_k = float(given.pop("top_p", 1.0)), max(0, int(given.pop("top_k", 0)))
    if given.pop("do_sample", False) and decoding.temperature > 0:
        decoding = dataclasses.replace(decoding, top_p=top_p, top_k=top_k, n=repeats)
    else:
        decoding = dataclasses.replace(decoding, temperature=0.0)
    if given:
        raise TaskError(f"lm-eval asks for {', '.join(sorted(given))}, which peval has not")
    return decoding


def _version(harness: Any) -> int:
    try:
        return int(float(str(harness.VERSION)))
    except (TypeError, ValueError):
        return 0
