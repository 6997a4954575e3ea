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

from peval.bridges.lm_eval_tasks import PREFIX, load
from peval.errors import TaskError
from peval.types import Dataset, Decoding, Query, Sample, Task

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of a function that a config holds, new in each process
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
    instances = built_instances(task)
    documents = dict(harness.doc_iterator(limit=task.profile.instances_per_task))
    samples = [
        _sample(task, harness, documents[number], number, list(mine))
        for number, mine in groupby(instances, key=lambda one: one.doc_id)
    ]
    return Dataset(samples=tuple(samples), files=())


def built_instances(task: Task) -> list[Any]:
    """Return lm-eval's requests of a task in its order; documents follow one another."""
    return list(_built(harness_task(task), task.profile.instances_per_task))


@cache
def _built(harness: Any, limit: int | None) -> tuple[Any, ...]:
    """Build a task's requests once: the draw of examples goes on from wherever it stopped."""
    with contextlib.redirect_stderr(io.StringIO()):  # lm-eval's progress bar
        harness.build_all_requests(limit=limit, rank=0, world_size=1)
    return tuple(harness.instances)


def _sample(task: Task, harness: Any, doc: Any, number: int, instances: Sequence[Any]) -> Sample:
    queries = tuple(_queries(instances))
    target = harness.doc_to_target(doc)
    return Sample(
        id=str(number),
        input=queries[0].text,
        targets=(str(target),),
        cluster=str(number),
        queries=queries,
    )


def _queries(instances: Sequence[Any]) -> Iterator[Query]:
    """Yield what a document's requests ask; neighbours on one text are one question of choice."""
    for (kind, text), mine in groupby(instances, key=lambda one: (one.request_type, one.args[0])):
        if kind == "loglikelihood":
            yield Query(text, tuple(str(one.args[1]) for one in mine))
        elif kind == "loglikelihood_rolling":
            yield from (Query(text, rolling=True) for _ in mine)
        else:
            yield from (Query(text, decoding=_decoding(one.args[1])) for one in mine)


def _decoding(arguments: dict[str, Any]) -> Decoding:
    """Return a task's way of generating; what peval cannot do is refused by lm-eval's name."""
    from lm_eval.models.utils import normalize_gen_kwargs

    given = dict(normalize_gen_kwargs(arguments, DEFAULT_MAX_TOKENS))
    decoding = Decoding(
        max_tokens=given.pop("max_gen_toks"),
        temperature=float(given.pop("temperature", 0.0)),
        stop=tuple(text for text in given.pop("until", ()) if text),
    )
    sampled = given.pop("do_sample", False)
    if not sampled:
        decoding = dataclasses.replace(decoding, temperature=0.0)
        for harmless in ("top_p", "top_k"):
            given.pop(harmless, None)
    if given:
        raise TaskError(f"lm-eval asks for {', '.join(sorted(given))}, which peval has not")
    return decoding


def _version(harness: Any) -> int:
    try:
        return int(float(str(harness.VERSION)))
    except (TypeError, ValueError):
        return 0
